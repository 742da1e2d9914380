/** The transparency log, as the other rooms see it: RFC 6962 tree, C2SP tlog-tiles files, signed checkpoints. */

import type { LogProof } from '@abaton/verify';

/** A committed entry with what a stranger needs to check that it is in the log. */
export type { LogProof };

export interface AuditLog {
  /** Appends one entry (< 64 KiB). On return it is durable and under a signed, durable checkpoint. Throws AUDIT_UNAVAILABLE. */
  append(entry: Uint8Array): Promise<{ index: number }>;
  /** The newest durable checkpoint (C2SP signed note). */
  checkpoint(): string;
  /** C2SP verifier keys, newest first. */
  vkeys(): string[];
  size(): number;
  /**
   * Verified against the checkpoint, as is a proof. An entry beyond the tree was committed and is gone: both throw
   * LOG_CORRUPT then, or AUDIT_UNAVAILABLE.
   */
  entry(index: number): Promise<Uint8Array>;
  proof(index: number): Promise<LogProof>;
  /** The entries of bundle `n`: up to 256, from index 256 · n on. Verified, and refused, as one entry is. */
  entriesOf(n: number): Promise<Uint8Array[]>;
  /** False once a commit has failed and not yet succeeded again; it is tried again every second. */
  healthy(): boolean;
  close(): Promise<void>;
}
