/**
 * Jobs in a table: one row per (kind, subject) that is ready, running or dead; a completed job has none. A lease is
 * known by (id, attempt): whoever leases the row next raises the attempt, and a job that begins again gets a new id.
 * For the one process that owns the database.
 */
import { randomUUID } from 'node:crypto';
import { durableStep } from '../durable-step.ts';
import type { Db, Queries } from '../vault/db.ts';
import type { Job, JobQueue } from './queue.ts';

/** Version of a row: what `subject` and the states mean. */
const VERSION = 1;

/** Also takes back the leases of the process that owned the database before: it is gone. */
export async function openSqliteQueue(db: Db, nowMs: () => number): Promise<JobQueue> {
  await db.query(`update jobs set state = 'ready' where state = 'running'`);
  return new SqliteQueue(db, nowMs);
}

class SqliteQueue implements JobQueue {
  readonly #db: Db;
  readonly #nowMs: () => number;

  constructor(db: Db, nowMs: () => number) {
    this.#db = db;
    this.#nowMs = nowMs;
  }

  async enqueue(q: Queries, job: { kind: string; subject: string; notBeforeMs: number }): Promise<void> {
    await q.query(
      `insert into jobs (id, version, kind, subject, state, attempt, not_before_ms)
       values ($1, $2, $3, $4, 'ready', 0, $5)
       on conflict (kind, subject) do update set
         id = case when jobs.state = 'dead' then excluded.id else jobs.id end,
         state = case when jobs.state = 'dead' then 'ready' else jobs.state end,
         attempt = case when jobs.state = 'dead' then 0 else jobs.attempt end,
         not_before_ms = case when jobs.state = 'running' or jobs.not_before_ms > excluded.not_before_ms
           then jobs.not_before_ms else excluded.not_before_ms end,
         again_ms = case when jobs.state = 'running' then excluded.not_before_ms else null end`,
      [randomUUID(), VERSION, job.kind, job.subject, job.notBeforeMs],
    );
  }

  async lease(kind: string, leaseMs: number): Promise<Job | null> {
    const now = this.#nowMs();
    const [row] = await this.#db.query(
      `update jobs set state = 'running', attempt = attempt + 1, lease_until_ms = $1
       where id = (
         select id from jobs
         where kind = $2 and not_before_ms <= $3 and (state = 'ready' or (state = 'running' and lease_until_ms <= $3))
         order by not_before_ms limit 1)
       returning id, subject, attempt`,
      [now + leaseMs, kind, now],
    );
    if (!row) return null;
    durableStep('job-leased');
    return { id: String(row.id), kind, subject: String(row.subject), attempt: Number(row.attempt) };
  }

  async extend(job: Job, leaseMs: number): Promise<boolean> {
    const rows = await this.#db.query(
      `update jobs set lease_until_ms = $1 where id = $2 and attempt = $3 and state = 'running' returning id`,
      [this.#nowMs() + leaseMs, job.id, job.attempt],
    );
    return rows.length > 0;
  }

  async complete(q: Queries, job: Job): Promise<boolean> {
    return (await this.#beginAgain(q, job)) || (await this.#remove(q, job));
  }

  async retry(job: Job, delayMs: number, maxAttempts: number): Promise<'again' | 'dead'> {
    return this.#db.tx(async (q) => {
      // What was asked for while it ran is new work, with all its attempts.
      if (await this.#beginAgain(q, job)) return 'again';
      const state = job.attempt >= maxAttempts ? 'dead' : 'ready';
      const rows = await q.query(
        `update jobs set state = $1, not_before_ms = $2, lease_until_ms = null
         where id = $3 and attempt = $4 and state = 'running' returning id`,
        [state, this.#nowMs() + delayMs, job.id, job.attempt],
      );
      return rows.length > 0 && state === 'dead' ? 'dead' : 'again';
    });
  }

  async state(kind: string, subject: string): Promise<'ready' | 'running' | 'dead' | null> {
    const [row] = await this.#db.query('select state from jobs where kind = $1 and subject = $2', [kind, subject]);
    return row ? (row.state as 'ready' | 'running' | 'dead') : null;
  }

  async counts(): Promise<{ ready: number; running: number; dead: number }> {
    const counts = { ready: 0, running: 0, dead: 0 };
    for (const row of await this.#db.query('select state, count(*) as jobs from jobs group by state'))
      counts[row.state as keyof typeof counts] = Number(row.jobs);
    return counts;
  }

  /** When it was enqueued again while running, the job becomes a new one; false otherwise, or when the lease was lost. */
  async #beginAgain(q: Queries, job: Job): Promise<boolean> {
    const rows = await q.query(
      `update jobs set id = $1, state = 'ready', attempt = 0, not_before_ms = again_ms, again_ms = null,
         lease_until_ms = null
       where id = $2 and attempt = $3 and state = 'running' and again_ms is not null returning id`,
      [randomUUID(), job.id, job.attempt],
    );
    return rows.length > 0;
  }

  async #remove(q: Queries, job: Job): Promise<boolean> {
    const rows = await q.query(`delete from jobs where id = $1 and attempt = $2 and state = 'running' returning id`, [
      job.id,
      job.attempt,
    ]);
    return rows.length > 0;
  }
}
