/** Entries of the log, opened: frame and FHIR AuditEvent, also of entries that earlier releases wrote. */
import { parseVkey, TILE_WIDTH } from '@abaton/verify';
import { errorOf } from '../errors.ts';
import type { AccountingKeys } from '../vault/keys.ts';
import { buildAuditEvent, type FhirAuditEvent } from './audit-event.ts';
import type { AuditKeys } from './audit-keys.ts';
import type { AuditEntry, AuditFrame } from './audit-trail.ts';
import type { AuditLog } from './log.ts';

export interface ReadEntry {
  index: number;
  frame: AuditFrame;
  /** From the frame alone when the rest does not open any more. */
  event: FhirAuditEvent;
  /** False: the accounting key of the patient was destroyed. */
  opened: boolean;
}

/** Milliseconds since 1970, both included. */
export interface Period {
  fromMs: number;
  toMs: number;
}

export interface AuditReader {
  /** Throws LOG_CORRUPT, AUDIT_UNAVAILABLE, SEAL_BROKEN. */
  read(index: number): Promise<ReadEntry>;
  /** In the order of the log, as far as that reaches now; one bundle is in memory at a time. Throws as `read`. */
  readPeriod(period: Period): AsyncIterable<ReadEntry>;
}

export interface AuditReaderOptions {
  log: Pick<AuditLog, 'size' | 'entry' | 'entriesOf' | 'vkeys'>;
  keys: AuditKeys;
  accounting: Pick<AccountingKeys, 'find'>;
}

export function createAuditReader({ log, keys, accounting }: AuditReaderOptions): AuditReader {
  const server = parseVkey(log.vkeys()[0]!).name;
  const open = async (bytes: Uint8Array, index: number): Promise<ReadEntry> => {
    const text = Buffer.from(bytes).toString();
    const { detail, ...frame } = parseEntry(text, index);
    const sealed = await keys.openDetail(text, accounting.find);
    const opened = sealed !== null || detail === null;
    const isEvent = sealed?.resourceType === 'AuditEvent';
    const event = isEvent
      ? (sealed as unknown as FhirAuditEvent)
      : buildAuditEvent(frame, { server, ...(sealed && { detail: sealed }) });
    return { index, frame, event, opened };
  };

  /** The first bundle that can hold an entry of that time: times never go back (I11). */
  const firstBundle = async (fromMs: number, bundles: number): Promise<number> => {
    let [low, high] = [0, bundles - 1];
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      const { time } = parseEntry(Buffer.from(await log.entry(middle * TILE_WIDTH)).toString(), middle * TILE_WIDTH);
      if (Date.parse(time) < fromMs) low = middle;
      else high = middle - 1;
    }
    return low;
  };

  return {
    read: async (index) => open(await log.entry(index), index),
    async *readPeriod({ fromMs, toMs }) {
      const size = log.size();
      const bundles = Math.ceil(size / TILE_WIDTH);
      for (let n = bundles && (await firstBundle(fromMs, bundles)); n < bundles; n++)
        for (const [at, bytes] of (await log.entriesOf(n)).entries()) {
          const index = n * TILE_WIDTH + at;
          if (index >= size) return;
          const timeMs = Date.parse(parseEntry(Buffer.from(bytes).toString(), index).time);
          if (timeMs > toMs) return;
          if (timeMs >= fromMs) yield await open(bytes, index);
        }
    },
  };
}

/** The log has proven the entry to be ours; this only finds out what it is. */
export function parseEntry(text: string, index: number): AuditEntry {
  try {
    const entry = JSON.parse(text) as AuditEntry;
    if (Number.isFinite(Date.parse(entry.time)) && typeof entry.facts === 'object') return entry;
  } catch {}
  throw errorOf('LOG_CORRUPT', `Entry ${index} of the audit log is no audit entry.`);
}
