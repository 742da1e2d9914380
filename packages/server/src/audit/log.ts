/** The transparency log, as the other rooms see it: RFC 6962 trees, C2SP tlog-tiles files, signed checkpoints. One tree a year. */

import type { LogProof } from '@abaton/verify';

/** A committed entry with what a stranger needs to check that it is in the log. */
export type { LogProof };

/** Where an entry stands. */
export interface LogPosition {
  /** Name of the year's log. */
  origin: string;
  index: number;
}

/** Where a year's log ended: what the first entry of the next one says. */
export interface LogEnd {
  origin: string;
  size: number;
  /** Base64, as the checkpoint has it. */
  root: string;
}

export interface AuditLog {
  /** Appends one entry (< 64 KiB). On return it is durable and under a signed, durable checkpoint. Throws AUDIT_UNAVAILABLE. */
  append(entry: Uint8Array): Promise<LogPosition>;
  /** Year of the log that is written to. */
  year(): number;
  /**
   * Ends that log and begins the one of `year`, whose first entry is what `firstEntry` says of the end. What was appended
   * before goes into the old log, what comes after into the new one, or is refused when it cannot be begun: then the next
   * call tries again.
   */
  begin(year: number, firstEntry: (end: LogEnd) => Uint8Array): void;
  /** The newest durable checkpoint (C2SP signed note) of the log that is written to. */
  checkpoint(): string;
  /** C2SP verifier keys of all years that are kept, newest first. */
  vkeys(): string[];
  /** Entries of the log that is written to. */
  size(): number;
  /**
   * Verified against the checkpoint. An entry beyond the tree was committed and is gone: throws LOG_CORRUPT then, or
   * AUDIT_UNAVAILABLE.
   */
  proof(position: LogPosition): Promise<LogProof>;
  /**
   * What a stranger may read of that year's log (default: the one that is written to): `checkpoint` and hash tiles, full or
   * partial, named as in tlog-tiles. Null for everything else.
   */
  readPublic(path: string, year?: number): Promise<Uint8Array | null>;
  /** All entries, verified, from the newest back, across the years: at most 256 at a time, each batch in the order of the log. */
  backward(): AsyncIterable<{ origin: string; first: number; entries: Uint8Array[] }>;
  /** False once a commit has failed and not yet succeeded again; it is tried again every second. */
  healthy(): boolean;
  close(): Promise<void>;
}
