/** Work that was promised. Payloads hold ids only (opaque references), never patient data. */
import type { Queries } from '../vault/db.ts';

export interface Job {
  id: string;
  kind: string;
  /** What the job is about, e.g. a study reference. One open job per (kind, subject). */
  subject: string;
  /**
   * 1 for the first lease. A lease that ran out, or a server that died, counts too: a worker that is handed a job with
   * an attempt past its limit calls `retry` at once, which marks the job dead.
   */
  attempt: number;
}

export interface JobQueue {
  /**
   * Adds the job inside the caller's transaction, so that it exists exactly when the work it stands for does.
   * An open job of the same kind and subject is reused, no earlier than `notBeforeMs`; if it is already running it runs
   * once more afterwards; if it is dead it begins again.
   */
  enqueue(q: Queries, job: { kind: string; subject: string; notBeforeMs: number }): Promise<void>;
  /** Leases one job that is due, or returns null. A lease that runs out gives the job to the next caller (at least once). */
  lease(kind: string, leaseMs: number): Promise<Job | null>;
  /** Extends a running lease; false when it was lost, and the work must be dropped. */
  extend(job: Job, leaseMs: number): Promise<boolean>;
  /** Completes it inside the caller's transaction; false when the lease was lost (the transaction must then roll back). */
  complete(q: Queries, job: Job): Promise<boolean>;
  /** Gives it back for a later attempt, or, after `maxAttempts`, marks it dead and returns 'dead'. */
  retry(job: Job, delayMs: number, maxAttempts: number): Promise<'again' | 'dead'>;
  /** Where the job about that subject is; null when there is none, or it was completed. */
  state(kind: string, subject: string): Promise<'ready' | 'running' | 'dead' | null>;
  counts(): Promise<{ ready: number; running: number; dead: number }>;
}
