/** I1: an integrity failure latches in the log. A good proof, a restart or a full disk do not open the door again. */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { AuditEntry } from '../../src/audit/audit-trail.ts';
import type { AuditLog } from '../../src/audit/log.ts';
import { keepReserve } from '../../src/audit/reserve.ts';
import { createLogger } from '../../src/log.ts';
import { createLatch } from '../../src/tee/latch.ts';
import { readLogTail } from '../../src/tee/log-tail.ts';
import type { AttestedServer } from './attested-server.ts';
import { startAttested } from './attested-server.ts';

async function entriesOf({ log }: AttestedServer): Promise<AuditEntry[]> {
  const indexes = Array.from({ length: log.size() }, (_, index) => index);
  return Promise.all(
    indexes.map(async (index) => JSON.parse(Buffer.from(await log.current().entry(index)).toString())),
  );
}

async function fail({ tee, monitor, ...server }: AttestedServer, fault: Parameters<typeof tee.setFault>[0]) {
  await tee.setFault(fault);
  server.forgetCollateral();
  return monitor.attest();
}

const untilSettled = async (isSettled: () => boolean | Promise<boolean>) => {
  while (!(await isSettled())) await new Promise((resolve) => setTimeout(resolve, 20));
};

test('a revocation latches: in the log before the proof, over good proofs and restarts', async () => {
  let server = await startAttested({ latched: true });
  await server.boot();
  const revoked = await fail(server, 'pck-revoked');
  const [incident, ...others] = server.latch.open();
  assert.deepEqual([incident!.codes, incident!.evidenceId, others], [['CERTIFICATE_REVOKED'], revoked.id, []]);
  const [, , entry, proof] = await entriesOf(server);
  assert.deepEqual(
    [entry!.action, entry!.object, entry!.facts],
    [
      'incident',
      { kind: 'incident', ref: incident!.id },
      { at: incident!.at, codes: 'CERTIFICATE_REVOKED', evidenceId: revoked.id },
    ],
  );
  assert.deepEqual([proof!.action, JSON.parse(String(proof!.facts.openIncidents))], ['attest', [incident]]);
  await server.monitor.attest();
  assert.equal(server.latch.open().length, 1, 'the same failure again is the same incident');

  for (let start = 0; start < 2; start++) {
    await server.tee.setFault(null);
    server = await server.restart();
    assert.deepEqual(server.latch.open(), [incident]);
    await server.boot();
    assert.equal(server.monitor.newest()!.state, 'verified');
    assert.deepEqual(server.gate.state().reasons, ['incident-open']);
    assert.throws(() => server.gate.requireOpen(), { code: 'GATE_CLOSED', message: /incident-open/ });
    const boot = (await entriesOf(server)).findLast(({ action }) => action === 'boot');
    assert.deepEqual(JSON.parse(String(boot!.facts.openIncidents)), [incident]);
  }

  await fail(server, 'debug');
  assert.deepEqual(
    server.latch.open().map(({ codes }) => codes),
    [['CERTIFICATE_REVOKED'], ['TD_DEBUG']],
    'another failure is another incident',
  );
  await server.close();
});

test('a failure that the first quote of a start shows latches, also when the second is good', async () => {
  const server = await startAttested({ latched: true });
  const { prove } = server.monitor;
  server.monitor.prove = async () => {
    await server.tee.setFault('tcb-revoked');
    const first = await prove();
    await server.tee.setFault(null);
    server.forgetCollateral();
    return first;
  };
  await server.boot();
  assert.deepEqual(
    server.events.map(({ action, outcome }) => [action, outcome]),
    [
      ['incident', 'failure'],
      ['boot', 'failure'],
      ['attest', 'success'],
    ],
  );
  assert.deepEqual(server.gate.state().reasons, ['incident-open']);
  await server.close();
});

test('while the log takes nothing the gate is closed all the same, and the entry follows', async () => {
  let full = false;
  const server = await startAttested({
    latched: true,
    disk: (disk) => ({
      ...disk,
      write: (...args) => (full ? Promise.reject(new Error('no space left on device')) : disk.write(...args)),
    }),
  });
  await server.boot();
  full = true;
  const closed: string[][] = [];
  server.gate.onClose(() => closed.push(server.gate.state().reasons));
  const failing = fail(server, 'pck-revoked');
  await failing;
  const { reasons } = server.gate.state();
  assert.ok(reasons.includes('incident-open') && reasons.includes('audit-unavailable'), reasons.join(' '));
  assert.equal(closed.length, 1);
  assert.ok(closed[0]!.includes('incident-open'), 'closed before anybody hears of it');
  const [incident] = server.latch.open();
  await assert.rejects(server.latch.resolve(incident!.id, { facts: {} }), { code: 'AUDIT_UNAVAILABLE' });
  full = false;
  await untilSettled(async () => (await entriesOf(server)).some(({ action }) => action === 'incident'));
  const written = (await entriesOf(server)).filter(({ action }) => action === 'incident');
  assert.ok(written.length >= 1 && written.every(({ object }) => object!.ref === incident!.id));
  const again = await server.restart();
  assert.deepEqual(again.latch.open(), [incident]);
  await again.close();
});

test('the entry is in the log before anybody can see that the door closes', async () => {
  const server = await startAttested({ latched: true });
  await server.boot();
  const sizeBefore = server.log.size();
  const seen: [number, boolean][] = [];
  server.gate.onClose(() => seen.push([server.log.size(), server.gate.state().open]));
  await fail(server, 'debug');
  assert.deepEqual(seen, [[sizeBefore + 1, false]]);
  await server.close();
});

test('a full disk gives back what is kept for the entry', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'abaton-reserve-'));
  t.after(() => rmSync(dir, { recursive: true }));
  const file = join(dir, 'reserve');
  const reserve = await keepReserve(file);
  assert.equal(statSync(file).size, 2 ** 20);
  await keepReserve(file); // the next start
  const recorded: string[] = [];
  const latch = createLatch({
    open: [],
    audit: {
      async record({ action }) {
        if (existsSync(file)) throw new Error('no space left on device');
        recorded.push(action);
        return { origin: 'abaton.test/audit/2026', index: 0 };
      },
    },
    logger: createLogger(() => {}),
    nowMs: Date.now,
    makeRoom: () => reserve.release(),
  });
  await latch.report({ codes: ['TD_DEBUG'], evidenceId: null });
  assert.equal(latch.open().length, 1);
  await untilSettled(() => recorded.length > 0);
  latch.stop();
});

test('an agent that lies is not one that is late: a quote of before, of another version, or cut', async () => {
  const lies: Record<string, (quote: Uint8Array, before: Uint8Array) => Uint8Array> = {
    REPORT_DATA_MISMATCH: (_, before) => before,
    QUOTE_UNSUPPORTED: (quote) => Buffer.from(quote).fill(3, 0, 1),
    QUOTE_MALFORMED: (quote) => quote.subarray(0, 600),
  };
  let lie: ((quote: Uint8Array, before: Uint8Array) => Uint8Array) | null = null;
  let before: Uint8Array = new Uint8Array();
  const server = await startAttested({
    latched: true,
    agent: (agent) => ({
      ...agent,
      async getQuote(reportData) {
        const given = await agent.getQuote(reportData);
        const quote = lie?.(given.quote, before) ?? given.quote;
        before = given.quote;
        return { ...given, quote };
      },
    }),
  });
  await server.boot();
  for (const [code, made] of Object.entries(lies)) {
    lie = made;
    const { codes } = await server.monitor.attest();
    assert.ok(codes.includes(code), codes.join(' '));
    assert.equal(server.gate.state().open, false);
  }
  assert.deepEqual(
    server.latch.open().map(({ codes }) => codes),
    [['REPORT_DATA_MISMATCH'], ['QUOTE_MALFORMED']],
    'a version that nobody knows is no lie',
  );
  await server.close();
});

test('expired collateral and an agent that is down close the gate and open it by themselves, with the cause in the log', async () => {
  const server = await startAttested({ latched: true });
  await server.boot();
  for (const [fault, code] of [
    ['expired-collateral', 'COLLATERAL_EXPIRED'],
    ['agent-down', 'AGENT_UNAVAILABLE'],
  ] as const) {
    await fail(server, fault);
    assert.equal(server.gate.state().state, 'degraded');
    server.clock.aheadMs += 600_001; // two intervals
    assert.equal(server.gate.state().open, false);
    await fail(server, null);
    assert.deepEqual([server.gate.state().open, server.latch.open()], [true, []]);
    const proofs = (await entriesOf(server)).filter(({ action }) => action === 'attest');
    assert.deepEqual(
      proofs.slice(-2).map(({ outcome, facts }) => [outcome, facts.codes]),
      [
        ['failure', code],
        ['success', ''],
      ],
    );
  }
  await server.close();
});

test('reading back ends at the newest entry that names the open incidents, and what follows it counts', async () => {
  const incident = (id: string) => ({ id, at: '2026-01-01T00:00:00.000Z', codes: ['TD_DEBUG'], evidenceId: null });
  const entry = (action: string, facts: object = {}, ref = '') => ({
    time: '2026-01-02T00:00:00.000Z',
    action,
    object: ref ? { kind: 'incident', ref } : null,
    facts,
  });
  const facts = { at: incident('').at, codes: 'TD_DEBUG', evidenceId: null };
  const opens = (...ids: string[]) => ({ openIncidents: JSON.stringify(ids.map(incident)) });
  const read = (...entries: object[]): ReturnType<typeof readLogTail> => {
    const log: Pick<AuditLog, 'backward'> = {
      async *backward() {
        const texts = entries.map((entry) => Buffer.from(JSON.stringify(entry)));
        if (texts.length > 0) yield { origin: 'abaton.test/audit/2026', first: 0, entries: texts };
      },
    };
    return readLogTail(log);
  };
  const ids = async (...entries: object[]) => (await read(...entries)).openIncidents.map(({ id }) => id);
  const bad = entry('incident', facts, 'x');
  assert.deepEqual(await ids(), []);
  assert.deepEqual(await ids(entry('incident', facts, 'a'), entry('boot', opens())), []);
  assert.deepEqual(await ids(bad, entry('boot', opens('a')), entry('read'), entry('incident', facts, 'b')), ['a', 'b']);
  assert.deepEqual(
    await ids(entry('boot', opens('a', 'b')), entry('incident-resolved', {}, 'a'), entry('incident', facts, 'c')),
    ['b', 'c'],
  );
  assert.deepEqual(await ids(entry('incident', facts, 'a'), entry('attest', opens('a')), entry('read')), ['a']);
  assert.deepEqual(
    await ids(entry('incident', facts, 'a'), entry('boot'), entry('incident', facts, 'b')),
    ['a', 'b'],
    'a boot of a release that knew no incidents ends none',
  );
  assert.deepEqual(
    await ids(entry('boot', opens('a')), entry('incident-resolved', {}, 'a'), entry('attest', opens('a'))),
    [],
    'resolved while the proof was being recorded',
  );
  assert.deepEqual(
    await ids(bad, bad, entry('boot', opens('a')), entry('incident', facts, 'b'), entry('incident', facts, 'b')),
    ['a', 'b'],
  );
  assert.deepEqual((await read(entry('boot'))).lastEntryMs, Date.parse('2026-01-02T00:00:00.000Z'));
  for (const strange of [{ time: 'yesterday' }, {}, null, 'text'] as object[])
    await assert.rejects(read(strange), { code: 'LOG_CORRUPT' });
});
