/** I1: the gate is open only under a verified, fresh self-attestation and a log that commits; I5: simulated stays synthetic. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { FaultName } from '@abaton/soft-tee';
import { createLogger } from '../../src/log.ts';
import { kindOfCode } from '../../src/tee/failure-kinds.ts';
import { createGateKeeper, watchGate } from '../../src/tee/gate-keeper.ts';
import { createSelfAttestation, type SelfAttestation, selfPolicy } from '../../src/tee/self-attestation.ts';
import { HOST_CLOCK, NO_KEYHOLDER, NO_LATCH, NO_WITNESSES } from './absent.ts';
import { type AttestedServer, INTERVAL_MS, startAttested } from './attested-server.ts';

let server: AttestedServer;
before(async () => {
  server = await startAttested({ latched: true });
});
after(() => server.close());

test('boot: pending, then a boot entry between two quotes, then open', async () => {
  const { gate, events, monitor, log } = server;
  assert.deepEqual(gate.state().reasons, ['attestation-pending']);
  assert.throws(() => gate.requireOpen(), { code: 'GATE_CLOSED', message: /attestation-pending/ });
  await server.boot();
  assert.deepEqual(
    events.map(({ action, outcome }) => [action, outcome]),
    [
      ['boot', 'success'],
      ['attest', 'success'],
    ],
  );
  const newest = monitor.newest()!;
  assert.notEqual(events[0]!.object!.ref, newest.id, 'the quote that opens is not the one before the boot entry');
  assert.equal(events[1]!.object!.ref, newest.id);
  // its checkpoint holds the boot entry, and not yet the proof itself
  assert.equal(newest.evidence!.reportData.checkpoint.split('\n')[1], '1');
  assert.equal(log.size(), 2);
  const { open, mode, evidenceId, codeHash } = gate.requireOpen();
  assert.deepEqual(
    { open, mode, evidenceId, codeHash },
    { open: true, mode: 'synthetic', evidenceId: newest.id, codeHash: server.tee.codeHash },
  );
  assert.equal(newest.trust, 'simulated');
});

const EXPECTED: Record<FaultName, string> = {
  'tcb-revoked': 'TCB_REVOKED',
  'out-of-date': 'TCB_OUT_OF_DATE',
  'pck-revoked': 'CERTIFICATE_REVOKED',
  debug: 'TD_DEBUG',
  'wrong-compose': 'CODE_HASH_MISMATCH',
  'unlisted-rtmr2': 'OS_MEASUREMENT_UNLISTED',
  'forged-log': 'EVENT_LOG_MISMATCH',
  'expired-collateral': 'COLLATERAL_EXPIRED',
  'crl-expired': 'CRL_EXPIRED',
  'wrong-root': 'ROOT_UNTRUSTED',
  'agent-down': 'AGENT_UNAVAILABLE',
};

async function resolveAll({ latch }: AttestedServer): Promise<void> {
  for (const { id } of [...latch.open()]) await latch.resolve(id, { facts: {} });
}

for (const [fault, code] of Object.entries(EXPECTED) as [FaultName, string][]) {
  const kind = kindOfCode(code);
  test(`${fault} (${kind}) closes the gate with ${code} and is recorded`, async () => {
    const { tee, monitor, gate, events, clock } = server;
    await tee.setFault(fault);
    server.forgetCollateral();
    await monitor.attest();
    if (kind === 'transient') {
      const { open, state, reasons, warnings, evidenceId } = gate.state();
      assert.deepEqual([open, state, reasons], [true, 'degraded', []]);
      assert.ok(warnings.includes(code), warnings.join(' '));
      assert.equal(evidenceId, monitor.verified()!.id, 'what is done meanwhile names the proof that stands');
      clock.aheadMs += 2 * INTERVAL_MS;
    }
    const { open, state, reasons } = gate.state();
    assert.deepEqual([open, state], [false, 'untrusted']);
    assert.ok(reasons.includes('attestation-failed') && reasons.includes(code), reasons.join(' '));
    assert.equal(reasons.includes('incident-open'), kind === 'integrity');
    assert.equal(events.at(-1)!.outcome, 'failure');
    assert.match(String(events.at(-1)!.facts!.codes), new RegExp(code));
    await tee.setFault(null);
    await monitor.attest();
    assert.deepEqual(gate.state().reasons, kind === 'integrity' ? ['incident-open'] : []);
    await resolveAll(server);
    await monitor.attest();
    assert.deepEqual([gate.state().open, gate.state().state], [true, 'trusted']);
  });
}

test('what stood while something was late falls with the first graver failure', async () => {
  const { tee, monitor, gate } = server;
  await tee.setFault('tcb-revoked');
  server.forgetCollateral();
  await monitor.attest();
  await resolveAll(server);
  await tee.setFault('agent-down');
  await monitor.attest();
  assert.deepEqual(gate.state().reasons, ['attestation-failed', 'AGENT_UNAVAILABLE']);
  await tee.setFault(null);
  await monitor.attest();
  assert.equal(gate.state().open, true);
});

test('a service that answers with expired collateral does not close the gate while better is kept', async () => {
  const { tee, monitor, gate } = server;
  for (const fault of ['expired-collateral', 'crl-expired'] as const) {
    await tee.setFault(fault);
    await monitor.attest();
    assert.equal(gate.state().open, true);
    await tee.setFault(null);
  }
});

test('a proof ages: after two intervals and the grace the gate closes by itself', async () => {
  const { gate, clock, monitor } = server;
  await monitor.attest();
  clock.aheadMs += 2 * INTERVAL_MS;
  assert.equal(gate.state().open, true);
  clock.aheadMs += 60_000;
  assert.deepEqual(gate.state().reasons, ['attestation-stale']);
  await monitor.attest();
  assert.equal(gate.state().open, true);
});

test('a log that cannot commit closes the gate, and a verified proof that cannot be recorded does not open it', async () => {
  const { monitor } = server;
  const gate = createGateKeeper({
    requested: 'synthetic',
    monitor,
    latch: NO_LATCH,
    clockBehind: HOST_CLOCK.clockBehind,
    auditHealthy: () => false,
    witnesses: NO_WITNESSES,
    keyholder: NO_KEYHOLDER,
    attestationIntervalMs: INTERVAL_MS,
  });
  assert.deepEqual(gate.state().reasons, ['audit-unavailable']);

  const other = await startAttested();
  await other.log.close();
  const proof = await other.monitor.attest();
  assert.equal(proof.state, 'failed');
  assert.equal(proof.verdict?.valid, true);
  assert.equal(other.gate.state().open, false);
  await other.close();
});

test('without the pinned root the software TEE opens nothing', async () => {
  const other = await startAttested({ pinRoot: false });
  await other.boot();
  assert.equal(other.events[0]!.outcome, 'failure');
  assert.ok(other.gate.state().reasons.includes('ROOT_UNTRUSTED'));
  await other.close();
});

test('no-phi is closed; phi is refused at the start; granted phi is not opened by simulated trust', () => {
  const { monitor } = server;
  const keeper = (options: Partial<Parameters<typeof createGateKeeper>[0]>) =>
    createGateKeeper({
      requested: 'phi',
      monitor,
      latch: NO_LATCH,
      clockBehind: HOST_CLOCK.clockBehind,
      auditHealthy: () => true,
      witnesses: () => ({ label: 'witnessed' }),
      keyholder: NO_KEYHOLDER,
      attestationIntervalMs: INTERVAL_MS,
      ...options,
    });
  assert.deepEqual(keeper({ requested: 'no-phi' }).state().reasons, ['mode-no-phi']);
  assert.throws(() => keeper({}), { code: 'MODE_REFUSED', name: 'ConfigurationError' });
  const simulated = keeper({ phiGranted: () => true }).state();
  assert.deepEqual([simulated.open, simulated.mode, simulated.reasons], [false, 'synthetic', ['mode-exceeds-trust']]);
  // the same proof under Intel's root
  const newest = () => ({ ...monitor.newest(), trust: 'intel-tdx' }) as SelfAttestation;
  let granted = true;
  const hardware = keeper({ phiGranted: () => granted, monitor: { newest, verified: newest, ageMs: () => 0 } });
  assert.deepEqual([hardware.state().open, hardware.state().mode], [true, 'phi']);
  granted = false;
  assert.deepEqual(hardware.state().reasons, ['mode-not-granted']);
});

test('changes of the gate are recorded', async () => {
  const { tee, monitor, gate, trail, events } = server;
  const alarms: string[] = [];
  const watch = watchGate(
    gate,
    trail,
    createLogger(() => {}),
    { alarm: (kind) => alarms.push(kind) },
  );
  const recorded = async (open: boolean) => {
    while (events.at(-1)?.action !== 'gate' || events.at(-1)?.facts?.open !== open)
      await new Promise((r) => setTimeout(r, 50));
  };
  await recorded(true);
  await tee.setFault('tcb-revoked');
  await monitor.attest();
  await recorded(false);
  assert.match(String(events.at(-1)!.facts!.reasons), /incident-open attestation-failed TCB_REVOKED/);
  await tee.setFault(null);
  await resolveAll(server);
  await monitor.attest();
  await recorded(true);
  assert.match(String(events.at(-1)!.facts!.before), /^closed synthetic untrusted incident-open/);
  await watch.stop();
  assert.deepEqual(alarms, [], 'an incident has its own alarm');
});

test('concurrent calls share one proof, which carries its evidence', async () => {
  const { monitor } = server;
  const [one, two] = await Promise.all([monitor.attest(), monitor.attest()]);
  assert.equal(one, two);
  assert.ok(one.evidence);
});

test('the monitor proves once per interval, and stops', async () => {
  const { evidence, tee, binding, agent, trail } = server;
  const options = { evidence, tlsSpkiSha256: binding.tlsSpkiSha256, simulatedRootSha256: tee.rootSha256, audit: trail };
  const policy = selfPolicy(await agent.info(), binding);
  const often = createSelfAttestation({
    ...{ ...options, ...HOST_CLOCK, latch: NO_LATCH, policy, intervalMs: 20, logger: createLogger(() => {}) },
  });
  often.start();
  const ids = new Set<string>();
  while (ids.size < 3) {
    const id = often.newest()?.id;
    if (id) ids.add(id);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  often.stop();
  await often.attest();
  const { id } = often.newest()!;
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.equal(often.newest()!.id, id);
});

test('the operator sees codes and digests of all this, and no other text', () => {
  for (const line of server.lines) {
    for (const value of Object.values(JSON.parse(line)).flat()) assert.match(String(value), /^[\w.:/{}*-]*$/);
  }
  assert.ok(server.lines.some((line) => line.includes('TCB_REVOKED')));
});
