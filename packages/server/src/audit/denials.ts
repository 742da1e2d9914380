/**
 * Refusals are events (DCM 110113), and strangers can cause as many as they like: so a few are recorded at once, then one a
 * minute, and each entry says how many were not since the one before.
 */
import type { AuditEvent, AuditTrail } from './events.ts';

export type Denial = Pick<
  AuditEvent,
  'actor' | 'object' | 'facts' | 'detail' | 'request' | 'purposeOfUse' | 'policies'
>;

export interface Denials {
  /** Returns at once: a refusal discloses nothing, so nobody waits for its entry. */
  record(denial: Denial): void;
  /** What was left out since the last entry is recorded. */
  stop(): Promise<void>;
}

const BURST = 30; // what people cause who look for the reason
const REFILL_MS = 60_000; // 1,440 entries a day at most: some megabytes

export function createDenials(
  trail: Pick<AuditTrail, 'record'>,
  nowMs: () => number = () => performance.now(),
): Denials {
  let tokens = BURST;
  let atMs = nowMs();
  let dropped = 0;
  let timer: NodeJS.Timeout | null = null;
  const running = new Set<Promise<void>>();

  const write = (denial: Denial): void => {
    const left = dropped;
    dropped = 0;
    const writing = trail
      .record({
        ...denial,
        action: 'denied',
        patient: null,
        outcome: 'failure',
        facts: { ...denial.facts, dropped: left },
      })
      .then(
        () => {},
        () => {
          dropped += left + 1; // the log is down; a later entry tells
        },
      )
      .finally(() => running.delete(writing));
    running.add(writing);
  };
  const writeLeft = (): void => {
    timer = null;
    if (dropped > 0) write({ actor: 'abaton', object: null });
  };
  return {
    record(denial) {
      const now = nowMs();
      tokens = Math.min(BURST, tokens + (now - atMs) / REFILL_MS);
      atMs = now;
      if (tokens >= 1) {
        tokens--;
        write(denial);
        return;
      }
      dropped++;
      timer ??= setTimeout(writeLeft, REFILL_MS).unref();
    },
    async stop() {
      if (timer) clearTimeout(timer);
      await Promise.all(running);
      writeLeft();
      await Promise.all(running);
    },
  };
}
