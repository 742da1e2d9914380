/** Takes analysis jobs until it is stopped. */

import { AbatonError } from '@abaton/verify';
import type { Job, JobQueue } from '../jobs/queue.ts';
import { type Logger, placeOf } from '../log.ts';
import type { AttemptOutcome } from './analyze-study.ts';

export interface WorkerOptions {
  queue: JobQueue;
  maxAttempts: number;
  /** Jobs at once: more than model processes, so that some are stored while others are scored. */
  concurrency: number;
  /** Resolves when a job may have become due, or after so many ms. */
  changed: (timeoutMs: number) => Promise<void>;
  logger: Logger;
  /** False while nothing may be processed (gate closed): jobs then wait, and lose no attempt. */
  ready: () => boolean;
  /** Runs one job. May throw: that counts as 'again'. */
  run: (job: Job, lastAttempt: boolean) => Promise<AttemptOutcome>;
}

export interface Worker {
  /** Resolves when the job under way has ended; no new one is taken. */
  stop(): Promise<void>;
}

const POLL_MS = 50; // a due job waits at most this long; one indexed query each time costs about 0.02 ms
const LEASE_MS = 30_000; // renewed while the work runs; after a crash the study waits this long at most
const RETRY_DELAY_MS = 2_000; // enough for a child to be replaced or a gate to reopen

export function startAnalysisWorker({
  queue,
  maxAttempts,
  concurrency,
  changed,
  logger,
  ready,
  run,
}: WorkerOptions): Worker {
  let stopping = false;
  const work = async (job: Job) => {
    if (job.attempt > maxAttempts) {
      // Its last attempts died with the process: nobody was left to call it failed.
      await queue.retry(job, 0, maxAttempts);
      logger.error('job-dead', { kind: job.kind, attempt: job.attempt });
      return;
    }
    const renewal = setInterval(() => void queue.extend(job, LEASE_MS).catch(() => {}), LEASE_MS / 3);
    try {
      const lastAttempt = job.attempt >= maxAttempts;
      const outcome = await run(job, lastAttempt).catch((error) => {
        logger.error('job-failed', {
          kind: job.kind,
          attempt: job.attempt,
          ...(error instanceof AbatonError ? { code: error.code } : { code: 'INTERNAL', at: placeOf(error) }),
        });
        return 'again' as const;
      });
      // After the last attempt the job is dead and its study reads `failed`: visible, and never negative.
      if (outcome === 'again' && (await queue.retry(job, RETRY_DELAY_MS, maxAttempts)) === 'dead')
        logger.error('job-dead', { kind: job.kind, attempt: job.attempt });
    } finally {
      clearInterval(renewal);
    }
  };
  const loop = async () => {
    while (!stopping) {
      const job = ready() ? await queue.lease('analyze-study', LEASE_MS).catch(() => null) : null;
      if (job) await work(job).catch(() => {});
      else await changed(POLL_MS);
    }
  };
  const done = Promise.all(Array.from({ length: concurrency }, loop));
  return {
    async stop() {
      stopping = true;
      await done;
    },
  };
}
