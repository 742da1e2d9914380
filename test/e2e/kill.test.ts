/**
 * I6: `kill -9` of the server at random moments under load and at each named durable step. Acknowledgements are recorded
 * by a separate client process; afterwards every acknowledged study is there, has one result, and the log verifies.
 * `npm run soak` runs 100 random moments and every step; the sample here prints its seed.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { awaitAnalysis, connectVerified } from '@abaton/client';
import { DURABLE_STEPS, type DurableStep } from '../../packages/server/src/durable-step.ts';
import { readYears } from '../../packages/server/test/audit/support.ts';
import { startLoad } from './load.ts';
import { type Stack, startStack } from './stack.ts';

const RANDOM_KILLS = Number(process.env.SOAK_KILLS ?? 4);
const SEED = Number(process.env.SEED ?? Date.now() % 2 ** 31);

/** A study that dies with the process too often is given up (ABATON_JOB_ATTEMPTS): here the process dies more often than that. */
const PATIENT = { ABATON_JOB_ATTEMPTS: '1000' };

/** mulberry32: a seeded generator, so that a failure can be run again. */
function random(seed: number): () => number {
  let a = seed;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Every acknowledged study is there, analysed, with exactly one result that its log entry proves. */
async function verifyNothingLost(stack: Stack, acknowledged: string[]): Promise<void> {
  const server = await stack.startServer(PATIENT);
  const connection = await connectVerified(stack.trust());
  for (const study of acknowledged) {
    const { state, results } = await awaitAnalysis(connection, study);
    assert.equal(state, 'complete', `study ${study}`);
    assert.deepEqual(
      results.map(({ result }) => result.outcome),
      ['scored'],
      `study ${study} has one result`,
    );
  }
  const vkeys = connection.evidence.reportData.auditLogVkeys;
  connection.close();
  await server.stop();
  const log = await readYears(`${stack.dataDir}/audit`, vkeys);
  const entries = log.map((entry) => JSON.parse(Buffer.from(entry).toString()) as { action: string });
  assert.ok(
    entries.filter(({ action }) => action === 'create').length >= acknowledged.length,
    'each acknowledged study was recorded',
  );
}

test(`kill -9 at ${RANDOM_KILLS} random moments under load (SEED=${SEED})`, { timeout: 3_600_000 }, async () => {
  const next = random(SEED);
  const stack = await startStack();
  const load = startLoad(stack);
  try {
    for (let kill = 0; kill < RANDOM_KILLS; kill++) {
      const server = await stack.startServer(PATIENT);
      await new Promise((resolve) => setTimeout(resolve, 100 + next() * 1500));
      server.kill('SIGKILL');
      await server.exited;
    }
    await load.stop();
    assert.ok(load.acknowledged.length > 0, 'something was acknowledged: an idle run proves nothing');
    await verifyNothingLost(stack, load.acknowledged);
    console.log(`${RANDOM_KILLS} kills, ${load.acknowledged.length} acknowledged studies, none lost`);
  } finally {
    await load.stop();
    await stack.close();
  }
});

/** Passed once in the life of a data directory, or of a patient. */
const ONCE: readonly DurableStep[] = [
  'migration-committed',
  'epoch-created',
  'audit-segment-created',
  'patient-key-committed',
  'accounting-key-committed',
];
/** Not on the path of a study: reached by thousands of entries, by erasure, or by what a crash left; see the rooms' own tests. */
const ELSEWHERE: readonly DurableStep[] = [
  'audit-tiles-synced',
  'audit-segment-removed',
  'blob-deleted',
  'accounting-key-destroyed',
  'epoch-rotated',
];

/** Starts the server with that kill point, and returns when the kill has come: before it was ready, or under load. */
async function startUntilKilled(stack: Stack, killAt: string): Promise<void> {
  const server = await stack.startServer({ ...PATIENT, ABATON_KILL_AT: killAt }).catch((error) => {
    assert.match(String(error), /SIGKILL/);
    return null;
  });
  const late = setTimeout(() => server?.kill('SIGTERM'), 60_000); // the step is never passed: red, not endless
  assert.equal((await server?.exited) ?? 'SIGKILL', 'SIGKILL', killAt);
  clearTimeout(late);
}

/** All of them in `npm run soak`; else a sample, by the seed. */
function sampled<T>(all: readonly T[], count: number): T[] {
  if (process.env.SOAK_KILLS) return [...all];
  const next = random(SEED);
  return all
    .map((each) => ({ each, at: next() }))
    .sort((a, b) => a.at - b.at)
    .slice(0, count)
    .map(({ each }) => each);
}

test(`kill -9 at named durable steps (SEED=${SEED})`, { timeout: 3_600_000 }, async (t) => {
  for (const step of sampled(ONCE, 3))
    await t.test(step, async () => {
      const stack = await startStack();
      const load = startLoad(stack);
      try {
        await startUntilKilled(stack, step);
        const server = await stack.startServer(PATIENT);
        while (load.acknowledged.length === 0) await new Promise((resolve) => setTimeout(resolve, 50));
        await load.stop();
        await server.stop();
        await verifyNothingLost(stack, load.acknowledged);
      } finally {
        await load.stop();
        await stack.close();
      }
    });

  const stack = await startStack();
  await (await stack.startServer(PATIENT)).stop(); // the first start is over
  const load = startLoad(stack);
  try {
    // the fifth pass: the log's steps are passed by the start itself, and only then under load
    const steps = DURABLE_STEPS.filter((name) => !ONCE.includes(name) && !ELSEWHERE.includes(name));
    for (const step of sampled(steps, 8)) await t.test(step, () => startUntilKilled(stack, `${step}:5`));
    await load.stop();
    assert.ok(load.acknowledged.length > 0, 'something was acknowledged: an idle run proves nothing');
    await verifyNothingLost(stack, load.acknowledged);
    console.log(`${load.acknowledged.length} acknowledged studies, none lost`);
  } finally {
    await load.stop();
    await stack.close();
  }
});
