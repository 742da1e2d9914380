/**
 * Sends what is queued, oldest first, one at a time, while the door is open.
 *
 * | the service says | what follows |
 * |---|---|
 * | 200 | forwarded; the upload is deleted |
 * | 408, 429, 503, 507, no answer | tried again, for as long as it takes |
 * | another 5xx | tried 8 times while others go, then kept as refused |
 * | its file cannot be read | tried again, for as long as it takes, while others go |
 * | anything else | kept as refused: 409, 400 … and 202, which says that some instances were not stored |
 */
import { AbatonError } from '@abaton/verify';
import { backoffMs } from '../backoff.ts';
import type { Link } from '../link.ts';
import { type Logger, traceOf } from '../log.ts';
import { createSignal } from '../signal.ts';
import { isDiskError } from './durable.ts';
import type { Answer } from './folder.ts';
import type { Queue } from './queue.ts';

const LOOK_MS = 1_000;
const SILENCE_MS = 120_000; // as the service's idle limit: after so long without a byte taken or an answer, it hangs
const MAX_ANSWER_BYTES = 16 * 2 ** 20; // 20 000 instances, the most that one request may hold, take 8 MB
const TRY_AGAIN = [408, 429, 503, 507];
const ATTEMPTS = 8; // about two minutes of backoff

export interface Drain {
  /** Ends after the attempt that runs; close the link first to end that too. */
  stop(): Promise<void>;
}

/** `pauseMs`: how long to wait after so many failures in a row. */
export function startDrain(queue: Queue, link: Link, logger: Logger, pauseMs = backoffMs): Drain {
  const stopping = createSignal();
  let stopped = false;

  /** Uploads that have failed by themselves: they wait while others go. */
  const resting = new Map<string, Tries>();
  const isDue = (id: string) => (resting.get(id)?.againMs ?? 0) <= performance.now();
  const loop = async (): Promise<void> => {
    let failures = 0;
    while (!stopped) {
      const id = queue.next(isDue);
      if (id === null) await Promise.race([queue.changed(LOOK_MS), stopping.wait(LOOK_MS)]);
      else if (!link.state().open) await Promise.race([link.changed(LOOK_MS), stopping.wait(LOOK_MS)]);
      else {
        const tries = resting.get(id) ?? { failures: 0, serverErrors: 0, againMs: 0 };
        const outcome = await forwardOne(queue, link, logger, id, tries);
        if (outcome === 'settled') resting.delete(id);
        else resting.set(id, tries);
        failures = outcome === 'wait' ? failures + 1 : 0;
        if (outcome === 'wait') await stopping.wait(pauseMs(failures));
        if (outcome === 'later') tries.againMs = performance.now() + pauseMs(++tries.failures);
      }
    }
  };
  const running = loop();
  return {
    async stop() {
      stopped = true;
      stopping.notify();
      await running;
    },
  };
}

interface Tries {
  failures: number;
  /** Answers of 5xx that are not for all uploads alike. */
  serverErrors: number;
  againMs: number;
}

/** `wait`: nothing can go now. `later`: this one cannot. */
async function forwardOne(
  queue: Queue,
  link: Link,
  logger: Logger,
  id: string,
  tries: Tries,
): Promise<'settled' | 'wait' | 'later'> {
  try {
    const answer = await send(queue, link, id);
    const { status } = answer;
    if (status !== null && TRY_AGAIN.includes(status)) {
      logger.warn('queue-waits', { ref: id, status });
      return 'wait';
    }
    if (status !== null && status >= 500 && ++tries.serverErrors < ATTEMPTS) {
      logger.warn('queue-waits', { ref: id, status, attempt: tries.serverErrors });
      return 'later';
    }
    await queue.settle(id, answer);
    logger[answer.state === 'forwarded' ? 'info' : 'warn'](`queue-${answer.state}`, { ref: id, status });
    return 'settled';
  } catch (error) {
    const ours = error instanceof AbatonError;
    logger[ours || isDiskError(error) ? 'warn' : 'error']('queue-waits', { ref: id, ...traceOf(error) });
    return ours ? 'wait' : 'later'; // what is not ours is this file, or its disk
  }
}

/** Throws what a lost connection throws. */
async function send(queue: Queue, link: Link, id: string): Promise<Answer> {
  const at = () => new Date().toISOString();
  try {
    const { request, body } = await queue.read(id);
    return await link.run(async (connection, cut) => {
      const silence = watchSilence();
      try {
        const response = await connection.request({
          method: 'POST',
          path: request.path,
          headers: request.headers,
          body: silence.watch(body),
          signal: AbortSignal.any([cut, silence.signal]),
        });
        const bytes = await response.bytes(MAX_ANSWER_BYTES);
        return {
          state: response.status === 200 ? 'forwarded' : 'refused',
          status: response.status,
          contentType: response.headers['content-type'] ?? null,
          body: Buffer.from(bytes).toString('utf8'),
          at: at(),
        };
      } finally {
        silence.end();
      }
    });
  } catch (error) {
    if (!(error instanceof AbatonError) || error.code !== 'OBJECT_DAMAGED') throw error;
    return { state: 'refused', status: null, contentType: null, body: error.message, at: at() };
  }
}

/** Aborts when nothing was taken of the body for so long. */
function watchSilence() {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), SILENCE_MS);
  return {
    signal: controller.signal,
    async *watch(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
      for await (const chunk of body) {
        timer.refresh();
        yield chunk;
      }
    },
    end: () => clearTimeout(timer),
  };
}
