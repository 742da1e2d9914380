/** I11: time never precedes the last log entry; a host that sets its clock back closes the gate instead of being believed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createClock } from '../../src/tee/clock.ts';
import { INTERVAL_MS, startAttested } from './attested-server.ts';

const YEAR_MS = 365 * 86_400_000;

test('time never goes back, and runs on while the clock of the host stands behind', () => {
  const host = { wall: 1_000_000, monotonic: 0 };
  const clock = createClock({ lastEntryMs: 999_000, wallMs: () => host.wall, monotonicMs: () => host.monotonic });
  assert.deepEqual([clock.nowMs(), clock.behind()], [1_000_000, false]);
  host.wall -= 60_000; // a correction
  host.monotonic += 500;
  assert.deepEqual([clock.nowMs(), clock.behind()], [1_000_500, false]);
  host.wall -= YEAR_MS;
  host.monotonic += 500;
  assert.deepEqual([clock.nowMs(), clock.behind()], [1_001_000, true]);
  host.wall = 2_000_000;
  assert.deepEqual([clock.nowMs(), clock.behind()], [2_000_000, false]);
});

test('a machine that starts behind its own log says so; an empty log says nothing', () => {
  const clock = createClock({ lastEntryMs: 5_000_000_000, wallMs: () => 4_000_000_000, monotonicMs: () => 7 });
  assert.deepEqual([clock.nowMs(), clock.behind()], [5_000_000_000, true]);
  const first = createClock({ lastEntryMs: Number.NEGATIVE_INFINITY, wallMs: () => 42, monotonicMs: () => 7 });
  assert.deepEqual([first.behind(), first.nowMs()], [false, 42]);
});

test('set back by a year, the clock opens nothing: neither at once, nor by a proof, nor after a restart', async () => {
  let server = await startAttested({ latched: true });
  await server.boot();
  assert.equal(server.gate.state().open, true);
  server.clock.aheadMs -= YEAR_MS;
  assert.deepEqual(server.gate.state().reasons, ['clock-behind-log'], 'at once');
  await server.tee.setFault('expired-collateral'); // what an old date would make good again
  server.forgetCollateral();
  await server.monitor.attest();
  assert.deepEqual(server.gate.state().reasons, ['attestation-failed', 'CLOCK_BEHIND_LOG', 'clock-behind-log']);
  assert.equal(server.events.at(-1)!.facts!.codes, 'CLOCK_BEHIND_LOG');
  server = await server.restart();
  await server.boot();
  assert.ok(server.gate.state().reasons.includes('clock-behind-log'));
  assert.ok(Date.now() - server.time.nowMs() < INTERVAL_MS, 'what is recorded keeps its order');
  await server.tee.setFault(null);
  server.clock.aheadMs = 0;
  await server.monitor.attest();
  assert.deepEqual(server.gate.state().reasons, [], 'opens by itself');
  await server.close();
});
