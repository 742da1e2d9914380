/**
 * TDX quotes of version 4, judged by the unmodified @phala/dcap-qvl 0.3.9, which nobody here wrote: it fetches the
 * collateral itself and verifies both under the root of the installation.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { suite, test } from 'node:test';
import type { TDReport10 } from '@phala/dcap-qvl';
import fc from 'fast-check';
import type { TdxEvent } from '../src/event-log.ts';
import type { FaultName, SoftTee } from '../src/index.ts';
import { COMPOSE, call, collateralOf, getQuote, qvl, RUNS, start } from './harness.ts';

const nowSeconds = () => Math.floor(Date.now() / 1000);
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

/** The verdict of the library: a status with its advisories, or the message of its refusal. */
async function verdict(tee: SoftTee, quote: Buffer): Promise<string> {
  const collateral = await collateralOf(tee, quote);
  try {
    const report = qvl.QuoteVerifier.newWithRootCa(tee.rootDer).verify(quote, collateral, nowSeconds());
    return [report.status, ...report.advisory_ids].join(' ');
  } catch (error) {
    return (error as Error).message;
  }
}

const reportOf = (quote: Buffer): TDReport10 => qvl.Quote.parse(quote).report.asTd10()!;

/** Registers as a verifier that trusts the listed digests computes them. */
function replayDigests(events: TdxEvent[]): string[] {
  return [0, 1, 2, 3].map((imr) =>
    events
      .filter((event) => event.imr === imr)
      .reduce(
        (rtmr, event) => createHash('sha384').update(rtmr).update(Buffer.from(event.digest, 'hex')).digest(),
        Buffer.alloc(48),
      )
      .toString('hex'),
  );
}

/** The digest of a runtime event, from its payload. */
function digestOf({ event, event_payload: payload }: TdxEvent): string {
  const digest = createHash('sha384')
    .update(Buffer.from([1, 0, 0, 8]))
    .update(`:${event}:`);
  return digest.update(Buffer.from(payload, 'hex')).digest('hex');
}

async function evidence(tee: SoftTee) {
  const answer = await call(tee, 'GetQuote', { report_data: 'ab' });
  const info = await call(tee, 'Info');
  const tcb = JSON.parse(info.tcb_info!);
  const report = reportOf(Buffer.from(answer.quote!, 'hex'));
  const events: TdxEvent[] = JSON.parse(answer.event_log!);
  const rtmrs = [report.rtMr0, report.rtMr1, report.rtMr2, report.rtMr3].map(hex);
  const composeEvent = events.find(({ event }) => event === 'compose-hash')!;
  const codeHash = `sha256:${createHash('sha256').update(tcb.app_compose).digest('hex')}`;
  return { info, tcb, report, events, rtmrs, composeEvent, codeHash };
}

suite('TDX quote v4', () => {
  test('is UpToDate under the root of the installation and refused under the root of Intel', async (t) => {
    const tee = await start(t);
    const quote = await getQuote(tee, 'ab'.repeat(64));
    assert.equal(await verdict(tee, quote), 'UpToDate');
    assert.equal(hex(reportOf(quote).reportData), 'ab'.repeat(64));
    const collateral = await collateralOf(tee, quote);
    assert.throws(() => qvl.verify(quote, collateral, nowSeconds()), /certificate chain/i);
  });

  const refusals: [FaultName, RegExp][] = [
    ['tcb-revoked', /TCB status is invalid: Revoked/],
    ['out-of-date', /^OutOfDate INTEL-SA-00000$/],
    ['pck-revoked', /Certificate is revoked/],
    ['debug', /Debug mode is enabled/],
    ['expired-collateral', /TCBInfo expired/],
    ['wrong-root', /certificate chain/],
  ];
  test('under each fault of the platform has the verdict of that fault, and is UpToDate again after it', async (t) => {
    const tee = await start(t);
    for (const [fault, expected] of refusals) {
      await tee.setFault(fault);
      assert.match(await verdict(tee, await getQuote(tee)), expected, fault);
      await tee.setFault(null);
      assert.equal(await verdict(tee, await getQuote(tee)), 'UpToDate', `after ${fault}`);
    }
  });

  test('with any signed bit flipped is refused', async (t) => {
    const tee = await start(t);
    const quote = await getQuote(tee);
    const collateral = await collateralOf(tee, quote);
    const verifier = qvl.QuoteVerifier.newWithRootCa(tee.rootDer);
    // header and report, signature, attestation key; then the QE report and its signature
    const offset = fc.oneof(
      fc.integer({ min: 0, max: 631 }),
      fc.integer({ min: 636, max: 763 }),
      fc.integer({ min: 770, max: 1217 }),
    );
    fc.assert(
      fc.property(offset, fc.integer({ min: 0, max: 7 }), (at, bit) => {
        const flipped = Buffer.from(quote);
        flipped[at]! ^= 1 << bit;
        assert.throws(() => verifier.verify(flipped, collateral, nowSeconds()));
      }),
      RUNS,
    );
  });

  test('pads report data of any length up to 64 bytes with zeros on the right', async (t) => {
    const tee = await start(t);
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 64 }), async (data) => {
        const quote = await getQuote(tee, hex(data));
        assert.equal(hex(reportOf(quote).reportData), hex(data).padEnd(128, '0'));
      }),
      RUNS,
    );
    await assert.rejects(getQuote(tee, '00'.repeat(65)), /400 Report data is too long/);
  });

  test('reaches the TDX module identity that the TCB info names', async (t) => {
    const tee = await start(t);
    const quote = await getQuote(tee);
    const { tcb_info: text } = await collateralOf(tee, quote);
    const [svn, version] = reportOf(quote).teeTcbSvn;
    const identities = JSON.parse(text).tdxModuleIdentities as {
      id: string;
      tcbLevels: { tcb: { isvsvn: number } }[];
    }[];
    const identity = identities.find(({ id }) => id === `TDX_0${version}`);
    assert.ok(version! > 0 && identity && svn! >= identity.tcbLevels[0]!.tcb.isvsvn);
  });
});

suite('dstack event log', () => {
  test('replays to the registers, by digest and by payload, in the order of a real boot', async (t) => {
    const tee = await start(t);
    const { events, rtmrs, report, tcb, info, composeEvent, codeHash } = await evidence(tee);
    assert.deepEqual(replayDigests(events), rtmrs);
    assert.deepEqual([tcb.mrtd, tcb.rtmr0, tcb.rtmr1, tcb.rtmr2, tcb.rtmr3], [hex(report.mrTd), ...rtmrs]);
    const runtime = events.filter(({ imr }) => imr === 3);
    assert.deepEqual(
      runtime.map(({ event }) => event),
      [
        'system-preparing',
        'app-id',
        'compose-hash',
        'instance-id',
        'boot-mr-done',
        'key-provider',
        'storage-fs',
        'system-ready',
      ],
    );
    for (const event of runtime) assert.equal(event.digest, digestOf(event), event.event);
    assert.ok(events.every(({ imr, event_payload: payload }) => imr === 3 || payload === ''));
    assert.equal(tcb.app_compose, COMPOSE);
    assert.equal(codeHash, tee.codeHash);
    assert.equal(composeEvent.event_payload, info.compose_hash);
    assert.equal(hex(report.mrConfigId), `01${info.compose_hash}`.padEnd(96, '0'));
    const os = tee.policy.osMeasurements[0]!;
    assert.deepEqual([os.mrtd, os.rtmr0, os.rtmr1, os.rtmr2], [hex(report.mrTd), ...rtmrs.slice(0, 3)]);
    assert.deepEqual(tee.policy.codeHashes, [codeHash]);
  });

  test('wrong-compose: another code hash, measured and shown alike', async (t) => {
    const tee = await start(t, { fault: 'wrong-compose' });
    const { events, rtmrs, composeEvent, codeHash } = await evidence(tee);
    assert.notEqual(codeHash, tee.codeHash);
    assert.equal(`sha256:${composeEvent.event_payload}`, codeHash);
    assert.equal(composeEvent.digest, digestOf(composeEvent));
    assert.deepEqual(replayDigests(events), rtmrs);
  });

  test('unlisted-rtmr2: the right code, a consistent log, an unlisted RTMR2 alone', async (t) => {
    const tee = await start(t, { fault: 'unlisted-rtmr2' });
    const { events, rtmrs, codeHash } = await evidence(tee);
    const os = tee.policy.osMeasurements[0]!;
    assert.equal(codeHash, tee.codeHash);
    assert.deepEqual(replayDigests(events), rtmrs);
    assert.deepEqual(rtmrs.slice(0, 2), [os.rtmr0, os.rtmr1]);
    assert.notEqual(rtmrs[2], os.rtmr2);
  });

  test('forged-log: deceives who trusts the digests, not who recomputes them from the payloads', async (t) => {
    const tee = await start(t, { fault: 'forged-log' });
    const { events, rtmrs, report, composeEvent, codeHash } = await evidence(tee);
    assert.equal(codeHash, tee.codeHash);
    assert.equal(`sha256:${composeEvent.event_payload}`, tee.codeHash);
    assert.equal(hex(report.mrConfigId).slice(2, 66), composeEvent.event_payload);
    assert.deepEqual(replayDigests(events), rtmrs);
    assert.notEqual(composeEvent.digest, digestOf(composeEvent));
  });
});
