import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { startAnalysisWorker, type WorkerOptions } from '../../src/imaging/analysis-worker.ts';
import { openSqliteQueue } from '../../src/jobs/sqlite-queue.ts';
import { createLogger } from '../../src/log.ts';
import { migrate } from '../../src/vault/migrations.ts';
import { openSqlite } from '../../src/vault/sqlite.ts';

const MAX_ATTEMPTS = 3;

async function openQueue(t: TestContext) {
  const dir = mkdtempSync(join(tmpdir(), 'abaton-worker-'));
  const db = openSqlite(join(dir, 'abaton.db'));
  t.after(async () => {
    await db.close();
    rmSync(dir, { recursive: true });
  });
  await migrate(db, Date.now);
  const clock = { ms: 1_000_000 };
  const queue = await openSqliteQueue(db, () => clock.ms);
  await db.tx((q) => queue.enqueue(q, { kind: 'analyze-study', subject: 'study', notBeforeMs: 0 }));
  const start = (run: WorkerOptions['run'], ready = () => true) =>
    startAnalysisWorker({
      queue,
      maxAttempts: MAX_ATTEMPTS,
      concurrency: 2,
      changed: () => new Promise((resolve) => setTimeout(resolve, 1)),
      logger: createLogger(() => {}),
      ready,
      run,
    });
  const until = async (state: 'ready' | 'running' | 'dead' | null) => {
    while ((await queue.state('analyze-study', 'study')) !== state) {
      clock.ms += 10_000; // past every delay
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  };
  return { db, queue, start, until, clock };
}

test('a job that throws is tried the number of times that the setting says, and is then dead', {
  timeout: 20_000,
}, async (t) => {
  const { start, until } = await openQueue(t);
  const last: boolean[] = [];
  const worker = start(async (_, lastAttempt) => {
    last.push(lastAttempt);
    throw new Error('defect');
  });
  await until('dead');
  await worker.stop();
  assert.deepEqual(last, [false, false, true]);
});

test('a job whose attempts all died with the process is dead without being run again', {
  timeout: 20_000,
}, async (t) => {
  const { queue, start, until, clock } = await openQueue(t);
  for (let crash = 0; crash < MAX_ATTEMPTS; crash++) {
    assert.ok(await queue.lease('analyze-study', 1));
    clock.ms += 10; // nobody was left to give it back
  }
  let runs = 0;
  const worker = start(async () => {
    runs++;
    return 'again';
  });
  await until('dead');
  await worker.stop();
  assert.equal(runs, 0);
});

test('while nothing may be processed a job waits, and loses no attempt', { timeout: 20_000 }, async (t) => {
  const { db, queue, start, until } = await openQueue(t);
  let open = false;
  const attempts: number[] = [];
  const worker = start(
    async (job) => {
      attempts.push(job.attempt);
      await db.tx((q) => queue.complete(q, job));
      return 'done';
    },
    () => open,
  );
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.deepEqual(attempts, []);
  open = true;
  await until(null);
  await worker.stop();
  assert.deepEqual(attempts, [1]);
});
