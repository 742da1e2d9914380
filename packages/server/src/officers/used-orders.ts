/**
 * Each order is carried out once. Within this boot its id is remembered; before that, the log is asked: whoever was
 * carried out stands there, and no earlier than the note could be accepted.
 */
import { parseEntry } from '../audit/audit-reader.ts';
import type { AuditLog } from '../audit/log.ts';
import { MAX_AGE_MS, MAX_AHEAD_MS } from './officer-note.ts';

export interface UsedOrders {
  /**
   * True once for an id whose note is fresh. It is taken from the moment of the call, whatever becomes of the order. Throws
   * LOG_CORRUPT, AUDIT_UNAVAILABLE.
   */
  take(id: string, signedMs: number): Promise<boolean>;
}

export function createUsedOrders(log: Pick<AuditLog, 'backward'>, nowMs: () => number): UsedOrders {
  const openedMs = nowMs();
  /** Id → when it may be forgotten: from then on the note is stale. */
  const taken = new Map<string, number>();
  return {
    async take(id, signedMs) {
      const now = nowMs();
      for (const [old, untilMs] of taken) if (untilMs < now) taken.delete(old);
      if (taken.has(id)) return false;
      taken.set(id, signedMs + MAX_AGE_MS);
      const earliestMs = signedMs - MAX_AHEAD_MS;
      return earliestMs > openedMs || !(await isRecorded(log, id, earliestMs));
    },
  };
}

/** Backward, one bundle at a time, to the first entry that is older than the order can be. */
async function isRecorded(log: Pick<AuditLog, 'backward'>, id: string, earliestMs: number): Promise<boolean> {
  for await (const bundle of log.backward()) {
    const entries = bundle.entries.map((bytes, at) => parseEntry(Buffer.from(bytes).toString(), bundle.first + at));
    if (entries.some(({ action, facts }) => action === 'order' && facts.orderId === id)) return true;
    if (entries.some(({ time }) => Date.parse(time) < earliestMs)) return false;
  }
  return false;
}
