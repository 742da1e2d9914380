/** What every JobQueue does; run once per driver. `clock.ms` is the queue's time. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import type { Job, JobQueue } from '../../packages/server/src/jobs/queue.ts';
import type { Db } from '../../packages/server/src/vault/db.ts';
import { runs } from '../../packages/server/test/vault/support.ts';

export interface QueueUnderTest {
  db: Db;
  queue: JobQueue;
  clock: { ms: number };
}

const KIND = 'work';
const LEASE_MS = 1000;

export function jobQueueSuite(driver: string, setUp: (t: TestContext) => Promise<QueueUnderTest>): void {
  const add = ({ db, queue }: QueueUnderTest, subject: string, notBeforeMs = 0, kind = KIND) =>
    db.tx((q) => queue.enqueue(q, { kind, subject, notBeforeMs }));
  const complete = ({ db, queue }: QueueUnderTest, job: Job) => db.tx((q) => queue.complete(q, job));
  const leaseOne = async ({ queue }: QueueUnderTest): Promise<Job> => {
    const job = await queue.lease(KIND, LEASE_MS);
    assert.ok(job);
    return job;
  };

  test(`${driver}: a job is leased once, completed, and gone`, async (t) => {
    const it = await setUp(t);
    assert.equal(await it.queue.lease(KIND, LEASE_MS), null);
    await add(it, 'a');
    assert.equal(await it.queue.state(KIND, 'a'), 'ready');
    const job = await leaseOne(it);
    assert.deepEqual({ ...job, id: '' }, { id: '', kind: KIND, subject: 'a', attempt: 1 });
    assert.equal(await it.queue.state(KIND, 'a'), 'running');
    assert.equal(await it.queue.lease(KIND, LEASE_MS), null);
    assert.equal(await complete(it, job), true);
    assert.equal(await it.queue.state(KIND, 'a'), null);
    assert.equal(await complete(it, job), false);
    assert.deepEqual(await it.queue.counts(), { ready: 0, running: 0, dead: 0 });
  });

  test(`${driver}: a job exists exactly when its transaction commits, and is complete exactly then`, async (t) => {
    const it = await setUp(t);
    const rolledBack = new Error('rolled back');
    const failing = (work: (q: Parameters<Parameters<Db['tx']>[0]>[0]) => Promise<unknown>) =>
      assert.rejects(
        it.db.tx(async (q) => {
          await work(q);
          throw rolledBack;
        }),
        rolledBack,
      );
    await failing((q) => it.queue.enqueue(q, { kind: KIND, subject: 'a', notBeforeMs: 0 }));
    assert.equal(await it.queue.lease(KIND, LEASE_MS), null);
    await add(it, 'a');
    const job = await leaseOne(it);
    await failing((q) => it.queue.complete(q, job));
    assert.equal(await it.queue.state(KIND, 'a'), 'running');
    assert.equal(await complete(it, job), true);
  });

  test(`${driver}: a job waits for its time, and an open one for the latest that was asked for`, async (t) => {
    const it = await setUp(t);
    await add(it, 'a', it.clock.ms + 100);
    assert.equal(await it.queue.lease(KIND, LEASE_MS), null);
    it.clock.ms += 90;
    await add(it, 'a', it.clock.ms + 100);
    it.clock.ms += 99;
    assert.equal(await it.queue.lease(KIND, LEASE_MS), null);
    assert.deepEqual(await it.queue.counts(), { ready: 1, running: 0, dead: 0 });
    it.clock.ms += 1;
    await leaseOne(it);
    assert.equal(await it.queue.lease(KIND, LEASE_MS), null);
  });

  test(`${driver}: kinds are apart, also for the same subject`, async (t) => {
    const it = await setUp(t);
    await add(it, 'a', 0, 'other');
    assert.equal(await it.queue.lease(KIND, LEASE_MS), null);
    await add(it, 'a');
    assert.equal((await leaseOne(it)).subject, 'a');
    assert.equal((await it.queue.lease('other', LEASE_MS))?.kind, 'other');
  });

  test(`${driver}: two callers never get the same job`, async (t) => {
    const it = await setUp(t);
    for (let i = 0; i < 25; i++) await add(it, `s${i}`);
    const leases = await Promise.all(Array.from({ length: 40 }, () => it.queue.lease(KIND, LEASE_MS)));
    const subjects = leases.flatMap((job) => (job ? [job.subject] : []));
    assert.equal(subjects.length, 25);
    assert.equal(new Set(subjects).size, 25);
  });

  test(`${driver}: a lease that ran out goes to the next caller, and the first can no longer do anything`, async (t) => {
    const it = await setUp(t);
    await add(it, 'a');
    const first = await leaseOne(it);
    it.clock.ms += LEASE_MS - 1;
    assert.equal(await it.queue.lease(KIND, LEASE_MS), null);
    it.clock.ms += 1;
    const second = await leaseOne(it);
    assert.equal(second.subject, 'a');
    assert.equal(second.attempt, 2);
    assert.equal(await it.queue.extend(first, LEASE_MS), false);
    assert.equal(await complete(it, first), false);
    await it.queue.retry(first, 0, 1);
    assert.equal(await it.queue.state(KIND, 'a'), 'running');
    assert.equal(await complete(it, second), true);
  });

  test(`${driver}: an extended lease holds longer`, async (t) => {
    const it = await setUp(t);
    await add(it, 'a');
    const job = await leaseOne(it);
    for (let i = 0; i < 3; i++) {
      it.clock.ms += LEASE_MS - 1;
      assert.equal(await it.queue.extend(job, LEASE_MS), true);
      assert.equal(await it.queue.lease(KIND, LEASE_MS), null);
    }
    assert.equal(await complete(it, job), true);
    assert.equal(await it.queue.extend(job, LEASE_MS), false);
  });

  test(`${driver}: retry waits, counts attempts, and ends dead; a dead job begins again when asked for`, async (t) => {
    const it = await setUp(t);
    await add(it, 'a');
    for (const attempt of [1, 2, 3]) {
      const job = await leaseOne(it);
      assert.equal(job.attempt, attempt);
      assert.equal(await it.queue.retry(job, 500, 3), attempt < 3 ? 'again' : 'dead');
      assert.equal(await it.queue.lease(KIND, LEASE_MS), null);
      it.clock.ms += 500;
    }
    assert.equal(await it.queue.lease(KIND, LEASE_MS), null);
    assert.equal(await it.queue.state(KIND, 'a'), 'dead');
    assert.deepEqual(await it.queue.counts(), { ready: 0, running: 0, dead: 1 });
    await add(it, 'a');
    assert.equal((await leaseOne(it)).attempt, 1);
  });

  test(`${driver}: asked for while it runs, a job runs once more afterwards`, async (t) => {
    const it = await setUp(t);
    await add(it, 'a');
    const first = await leaseOne(it);
    await add(it, 'a');
    await add(it, 'a', it.clock.ms + 50);
    assert.equal(await it.queue.lease(KIND, LEASE_MS), null);
    assert.equal(await complete(it, first), true);
    assert.equal(await it.queue.lease(KIND, LEASE_MS), null);
    it.clock.ms += 50;
    const second = await leaseOne(it);
    assert.equal(second.attempt, 1);
    assert.equal(await complete(it, first), false);
    assert.equal(await complete(it, second), true);
    assert.equal(await it.queue.state(KIND, 'a'), null);
  });

  test(`${driver}: asked for while its last attempt fails, a job is not dead`, async (t) => {
    const it = await setUp(t);
    await add(it, 'a');
    const job = await leaseOne(it);
    await add(it, 'a');
    assert.equal(await it.queue.retry(job, 0, 1), 'again');
    assert.equal((await leaseOne(it)).attempt, 1);
  });

  test(`${driver}: asked for again, before and after its lease ran out, a job runs twice and not three times`, async (t) => {
    const it = await setUp(t);
    await add(it, 'a');
    await leaseOne(it);
    await add(it, 'a');
    it.clock.ms += LEASE_MS;
    await add(it, 'a');
    const second = await leaseOne(it);
    assert.equal(second.attempt, 2);
    assert.equal(await it.queue.lease(KIND, LEASE_MS), null);
    assert.equal(await complete(it, second), true);
    const again = await leaseOne(it);
    assert.equal(again.attempt, 1);
    assert.equal(await it.queue.lease(KIND, LEASE_MS), null);
    assert.equal(await complete(it, again), true);
    assert.equal(await it.queue.state(KIND, 'a'), null);
  });

  test(`${driver}: a job that waits for its own end keeps no other one waiting`, async (t) => {
    const it = await setUp(t);
    await add(it, 'a');
    await leaseOne(it);
    for (const subject of ['a', 'a', 'b']) await add(it, subject);
    assert.equal((await leaseOne(it)).subject, 'b');
    assert.equal(await it.queue.lease(KIND, LEASE_MS), null);
  });

  test(`${driver}: in any order of calls, work asked for is done after it was asked for`, async (t) => {
    const step = fc.record({
      call: fc.constantFrom('enqueue', 'lease', 'complete', 'retry', 'extend', 'wait'),
      pick: fc.nat(3),
    });
    const property = fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const it = await setUp(t);
      const owed = new Map<string, boolean>();
      const held: Job[] = [];
      for (const { call, pick } of steps) {
        const job = held[pick % (held.length || 1)];
        if (call === 'enqueue') {
          await add(it, `s${pick}`);
          owed.set(`s${pick}`, true);
        } else if (call === 'wait') it.clock.ms += LEASE_MS;
        else if (call === 'lease') {
          const leased = await it.queue.lease(KIND, LEASE_MS);
          if (leased) {
            owed.set(leased.subject, false);
            held.push(leased);
          }
        } else if (job && call === 'extend') await it.queue.extend(job, LEASE_MS);
        else if (job && call === 'retry') await it.queue.retry(job, 0, 1000);
        else if (job && call === 'complete') await complete(it, job);
      }
      for (const [subject, owing] of owed) if (owing) assert.notEqual(await it.queue.state(KIND, subject), null);
    });
    await fc.assert(property, runs());
  });
}
