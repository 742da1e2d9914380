/**
 * Jobs in pg-boss, over the PostgreSQL of the rows. pg-boss holds what must outlive this process: that a job is there, when
 * it is due, how often it was tried. Which lease ends when, the one process that owns the database keeps itself: leases of
 * pg-boss have whole seconds, fixed when a job is made. What each state is there:
 *
 * | here | in pg-boss |
 * | --- | --- |
 * | ready | `created`, `retry` |
 * | running | `active`; attempt = retry count + 1 |
 * | asked for again while running | a `created` one beside the `active` or, once its lease ran out, `retry` one; PARKED: its data say when it is wanted |
 * | dead | `cancelled` |
 * | complete | deleted, so that nothing of pg-boss' maintenance has to run |
 *
 * Unlike the table of sqlite-queue.ts it hands out what is due in the order of making, not of due times.
 */
import { type Db as BossDb, type JobWithMetadata, PgBoss } from 'pg-boss';
import { durableStep } from '../durable-step.ts';
import type { Db, Queries, SqlValue } from '../vault/db.ts';
import type { Job, JobQueue } from './queue.ts';

/** What a job of pg-boss carries beside kind (queue) and subject (singleton key). Version of it: 1. */
interface Data {
  v: 1;
  notBeforeMs: number;
}
type Stored = JobWithMetadata<Data>;

/** When a parked job would be due by itself: never, as far as anybody is concerned. */
const PARKED = new Date('9000-01-01T00:00:00Z');
/** pg-boss would fail a job for good after so many; here `retry` decides. Any number that is never reached: int4. */
const NO_LIMIT = 2 ** 31 - 1;

/**
 * Makes or migrates the schema `pgboss`, and takes back the leases of the process that owned the database before. `kinds`:
 * all that will be enqueued. Close it before the Db.
 */
export async function openBossQueue(
  db: Db,
  nowMs: () => number,
  kinds: readonly string[],
): Promise<JobQueue & { close(): Promise<void> }> {
  const boss = new PgBoss({ db: bossDb(db), supervise: false, schedule: false });
  boss.on('error', () => undefined); // of its background reads, which it repeats; what we ask for throws
  await boss.start();
  try {
    for (const kind of kinds) await boss.createQueue(kind, { policy: 'stately', retryLimit: NO_LIMIT });
    const queue = new BossQueue(boss, db, nowMs, kinds);
    for (const kind of kinds) await queue.takeBack(kind);
    return queue;
  } catch (error) {
    await boss.stop({ graceful: false });
    throw error;
  }
}

/** pg-boss' way to ask. Its own texts without values are scripts with a transaction of their own: one that fails is ended. */
function bossDb(q: Queries): BossDb {
  return {
    async executeSql(text, values) {
      try {
        return { rows: await q.query(text, values as SqlValue[] | undefined) };
      } catch (error) {
        if (!values?.length) await q.query('rollback').catch(() => undefined);
        throw error;
      }
    },
  };
}

class BossQueue implements JobQueue {
  readonly #boss: PgBoss;
  readonly #db: Db;
  readonly #nowMs: () => number;
  readonly #kinds: readonly string[];
  /** When leases end, by kind, then id. May hold jobs that are complete: the database tells. */
  readonly #leases: ReadonlyMap<string, Map<string, number>>;
  /** Kinds for which a job may be active that nobody here holds: the answer of a lease was lost. */
  readonly #suspect = new Set<string>();

  constructor(boss: PgBoss, db: Db, nowMs: () => number, kinds: readonly string[]) {
    this.#boss = boss;
    this.#db = db;
    this.#nowMs = nowMs;
    this.#kinds = kinds;
    this.#leases = new Map(kinds.map((kind) => [kind, new Map()]));
  }

  async enqueue(q: Queries, job: { kind: string; subject: string; notBeforeMs: number }): Promise<void> {
    const { kind, subject, notBeforeMs } = job;
    const db = bossDb(q);
    const found = await this.#find(kind, { key: subject, db });
    const first = found.find(({ state }) => state === 'active' || state === 'retry');
    const second = found.find(({ state }) => state === 'created');
    const isAgain = first?.state === 'active' || (first !== undefined && second !== undefined);
    const ready = second ?? (isAgain ? undefined : first);
    if (ready) {
      const latest = isAgain ? notBeforeMs : Math.max(notBeforeMs, ready.data.notBeforeMs);
      const startAfter = isAgain ? PARKED : this.#seconds(latest);
      await this.#boss.update(kind, { v: 1, notBeforeMs: latest } satisfies Data, { id: ready.id, startAfter, db });
      return;
    }
    for (const { id, state } of found) if (state === 'cancelled') await this.#boss.deleteJob(kind, id, { db });
    const data: Data = { v: 1, notBeforeMs };
    const startAfter = isAgain ? PARKED : this.#seconds(notBeforeMs);
    const id = await this.#boss.send(kind, data, { singletonKey: subject, startAfter, db });
    if (id === null) throw new Error('pg-boss has a job of that subject which it did not show');
  }

  async lease(kind: string, leaseMs: number): Promise<Job | null> {
    const leases = this.#leasesOf(kind);
    const now = this.#nowMs();
    for (const [id, untilMs] of leases)
      if (untilMs <= now) {
        await this.#boss.fail(kind, id); // does nothing when it is complete
        leases.delete(id);
      }
    if (this.#suspect.has(kind)) await this.takeBack(kind);
    this.#suspect.add(kind);
    const [stored] = await this.#boss.fetch<Data>(kind, { includeMetadata: true, priority: false });
    this.#suspect.delete(kind);
    if (!stored) return null;
    leases.set(stored.id, now + leaseMs);
    durableStep('job-leased');
    return { id: stored.id, kind, subject: String(stored.singletonKey), attempt: stored.retryCount + 1 };
  }

  async extend(job: Job, leaseMs: number): Promise<boolean> {
    if (!(await this.#isHeld(job))) return false;
    this.#leasesOf(job.kind).set(job.id, this.#nowMs() + leaseMs);
    return true;
  }

  async complete(q: Queries, job: Job): Promise<boolean> {
    const db = bossDb(q);
    if (!(await this.#isHeld(job, db))) return false;
    await this.#boss.deleteJob(job.kind, job.id, { db });
    await this.#release(job, db);
    return true;
  }

  async retry(job: Job, delayMs: number, maxAttempts: number): Promise<'again' | 'dead'> {
    const { kind, id } = job;
    return this.#db.tx(async (q) => {
      const db = bossDb(q);
      if (!(await this.#isHeld(job, db))) return 'again';
      // What was asked for while it ran is new work, with all its attempts.
      if (await this.#release(job, db)) {
        await this.#boss.deleteJob(kind, id, { db });
        return 'again';
      }
      if (job.attempt >= maxAttempts) {
        await this.#boss.cancel(kind, id, { db });
        return 'dead';
      }
      const notBeforeMs = this.#nowMs() + delayMs;
      await this.#boss.fail(kind, id, null, { db });
      await this.#boss.update(kind, { v: 1, notBeforeMs } satisfies Data, { id, startAfter: delayMs / 1000, db });
      return 'again';
    });
  }

  async state(kind: string, subject: string): Promise<'ready' | 'running' | 'dead' | null> {
    const states = (await this.#find(kind, { key: subject })).map(({ state }) => stateOf(state));
    return (['running', 'ready', 'dead'] as const).find((state) => states.includes(state)) ?? null;
  }

  async counts(): Promise<{ ready: number; running: number; dead: number }> {
    const counts = { ready: 0, running: 0, dead: 0 };
    for (const kind of this.#kinds)
      for (const { state, startAfter } of await this.#find(kind, {}))
        if (startAfter.getTime() !== PARKED.getTime()) counts[stateOf(state)]++;
    return counts;
  }

  /** Makes ready what is active and leased by nobody. */
  async takeBack(kind: string): Promise<void> {
    const leases = this.#leasesOf(kind);
    for (const { id, state } of await this.#find(kind, {}))
      if (state === 'active' && !leases.has(id)) await this.#boss.fail(kind, id);
  }

  async close(): Promise<void> {
    await this.#boss.stop({ graceful: false });
  }

  #find(kind: string, options: { id?: string; key?: string; db?: BossDb }): Promise<Stored[]> {
    return this.#boss.findJobs<Data>(kind, options);
  }

  #leasesOf(kind: string): Map<string, number> {
    const leases = this.#leases.get(kind);
    if (!leases) throw new Error(`no queue was opened for jobs of kind ${kind}`);
    return leases;
  }

  async #isHeld(job: Job, db?: BossDb): Promise<boolean> {
    const [stored] = await this.#find(job.kind, db ? { id: job.id, db } : { id: job.id });
    return stored?.state === 'active' && stored.retryCount + 1 === job.attempt;
  }

  /** Lets the parked job of the same subject go; false when there is none. */
  async #release(job: Job, db: BossDb): Promise<boolean> {
    const parked = (await this.#find(job.kind, { key: job.subject, db })).find(({ state }) => state === 'created');
    if (!parked) return false;
    const startAfter = this.#seconds(parked.data.notBeforeMs);
    await this.#boss.update(job.kind, undefined, { id: parked.id, startAfter, db });
    return true;
  }

  /** From now on: so that the clock of the database's host does not matter. */
  #seconds(notBeforeMs: number): number {
    return Math.max(0, notBeforeMs - this.#nowMs()) / 1000;
  }
}

const stateOf = (state: Stored['state']): 'ready' | 'running' | 'dead' =>
  state === 'active' ? 'running' : state === 'created' || state === 'retry' ? 'ready' : 'dead';
