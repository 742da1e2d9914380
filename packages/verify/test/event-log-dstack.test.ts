/** dstack event logs of four real guests replay to the registers of their quotes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { verifyAppCompose } from '../src/dstack/app-compose.ts';
import { verifyEventLog } from '../src/dstack/event-log.ts';
import { verifyMrConfigId } from '../src/dstack/mr-config.ts';
import { parseEventLog, type TdxEvent, VerificationError } from '../src/index.ts';
import { parseTdxQuote, type TdReport } from '../src/tdx/tdx-quote.ts';
import * as data from './support/shared-data.ts';
import { replay, runtimeEvent } from './support/simulated-platform.ts';

const { skip } = data;

const real = (): Record<string, { events: TdxEvent[]; report: TdReport }> => {
  const simulator = data.simulatorAttestation();
  const gpu = data.readJson('dstack/verifier-fixtures/quote-report.json');
  return {
    near: { events: parseEventLog(data.nearTcbInfo().event_log), report: parseTdxQuote(data.nearQuote()).report },
    simulator: { events: simulator.eventLog, report: parseTdxQuote(simulator.quote).report },
    gpu: {
      events: parseEventLog(JSON.parse(gpu.event_log)),
      report: parseTdxQuote(Buffer.from(gpu.quote, 'hex')).report,
    },
  };
};

test('RTMR0 to RTMR3 replay, and the identity is found', { skip }, () => {
  for (const [name, { events, report }] of Object.entries(real())) {
    const { composeHash } = verifyEventLog(events, report);
    assert.match(composeHash, /^[0-9a-f]{64}$/, name);
    const marked = report.mrConfigId[0] === 1;
    if (marked) assert.equal(Buffer.from(report.mrConfigId.subarray(1, 33)).toString('hex'), composeHash, name);
  }
});

test('the code hash is that of the raw app_compose, not of the same JSON written again', { skip }, () => {
  const { events, report } = real().near!;
  const identity = verifyEventLog(events, report);
  const { app_compose, compose_hash } = data.nearTcbInfo();
  assert.equal(verifyAppCompose(app_compose, identity.composeHash), compose_hash);
  assert.equal(verifyMrConfigId(report.mrConfigId, identity), 'MRCONFIGID of form V1');
  for (const other of [JSON.stringify(JSON.parse(app_compose)), `${app_compose}\n`])
    assert.throws(
      () => verifyAppCompose(other, identity.composeHash),
      (error: VerificationError) => error.code === 'APP_COMPOSE_MISMATCH',
    );
});

test('two more logs replay to the RTMR3 that their documents give', { skip }, () => {
  for (const path of ['near-mpc/mpc-attestation__tcb_info.json', 'near-mpc/mpc-attestation__tcb_info_dev.json']) {
    const { event_log, rtmr3 } = data.readJson(path);
    assert.equal(replay(parseEventLog(event_log), 3).toString('hex'), rtmr3);
  }
});

test('any one event changed, left out, doubled or moved is refused', { skip }, () => {
  const { events, report } = real().near!;
  const refused = (bent: TdxEvent[], what: string) =>
    assert.throws(
      () => verifyEventLog(bent, report),
      (error: unknown) => error instanceof VerificationError && error.code === 'EVENT_LOG_MISMATCH',
      what,
    );
  for (const [i, event] of events.entries()) {
    refused(events.toSpliced(i, 1), `without ${i}`);
    refused(events.toSpliced(i, 0, event), `twice ${i}`);
    refused(
      events.with(i, { ...event, digest: event.digest.replace(/^./, (c) => (c === '0' ? '1' : '0')) }),
      `digest ${i}`,
    );
    if (event.imr === 3)
      refused(events.with(i, { ...event, event_payload: `${event.event_payload}00` }), `payload ${i}`);
    if (event.imr === 3) refused(events.with(i, { ...event, event: `${event.event}x` }), `name ${i}`);
  }
});

test('digests are those of a real log', { skip }, () => {
  for (const { imr, event, event_payload, digest } of data.nearTcbInfo().event_log)
    if (imr === 3) assert.equal(runtimeEvent(event, Buffer.from(event_payload, 'hex')).digest, digest);
});
