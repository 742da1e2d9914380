/** Entries of the log, opened: frame and FHIR AuditEvent, also of entries that earlier releases wrote. */
import { TILE_WIDTH } from '@abaton/verify';
import { errorOf } from '../errors.ts';
import type { AccountingKeys } from '../vault/keys.ts';
import { buildAuditEvent, type FhirAuditEvent } from './audit-event.ts';
import type { AuditKeys } from './audit-keys.ts';
import type { AuditEntry, AuditFrame } from './audit-trail.ts';
import type { LogPosition } from './log.ts';
import type { TileLog } from './tile-log.ts';

export interface ReadEntry extends LogPosition {
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
  read(position: LogPosition): Promise<ReadEntry>;
  /** In the order of the log, as far as that reaches now; one bundle is in memory at a time. Throws as `read`. */
  readPeriod(period: Period): AsyncIterable<ReadEntry>;
}

type Tree = Pick<TileLog, 'origin' | 'size' | 'entry' | 'entriesOf'>;

export interface AuditReaderOptions {
  /** The logs of all years, newest first. */
  trees: () => readonly Tree[];
  keys: AuditKeys;
  accounting: Pick<AccountingKeys, 'find'>;
}

export function createAuditReader({ trees, keys, accounting }: AuditReaderOptions): AuditReader {
  const open = async (bytes: Uint8Array, { origin, index }: LogPosition): Promise<ReadEntry> => {
    const text = Buffer.from(bytes).toString();
    const { detail, ...frame } = parseEntry(text, index);
    const sealed = await keys.openDetail(text, accounting.find);
    const opened = sealed !== null || detail === null;
    const isEvent = sealed?.resourceType === 'AuditEvent';
    const event = isEvent
      ? (sealed as unknown as FhirAuditEvent)
      : buildAuditEvent(frame, { server: origin, ...(sealed && { detail: sealed }) });
    return { origin, index, frame, event, opened };
  };

  /** The first bundle that can hold an entry of that time: times never go back (I11). */
  const firstBundle = async (log: Tree, fromMs: number, bundles: number): Promise<number> => {
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
    async read({ origin, index }) {
      const log = trees().find((tree) => tree.origin === origin);
      if (!log) throw errorOf('LOG_CORRUPT', 'An entry of the audit log stands in a log that is gone.');
      return open(await log.entry(index), { origin, index });
    },
    async *readPeriod({ fromMs, toMs }) {
      for (const log of [...trees()].reverse()) {
        const size = log.size();
        const bundles = Math.ceil(size / TILE_WIDTH);
        for (let n = bundles && (await firstBundle(log, fromMs, bundles)); n < bundles; n++)
          for (const [at, bytes] of (await log.entriesOf(n)).entries()) {
            const index = n * TILE_WIDTH + at;
            if (index >= size) break; // committed since: as far as the log reached when it was asked
            const timeMs = Date.parse(parseEntry(Buffer.from(bytes).toString(), index).time);
            if (timeMs > toMs) return;
            if (timeMs >= fromMs) yield await open(bytes, { origin: log.origin, index });
          }
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
