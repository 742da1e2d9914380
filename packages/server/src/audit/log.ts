/** The transparency log, as the other rooms see it: RFC 6962 tree, C2SP tlog-tiles files, signed checkpoints. */

/** A committed entry with what a stranger needs to check that it is in the log. All hashes base64, as in C2SP tlog-proof. */
export interface LogProof {
  index: number;
  /** The exact entry (JCS JSON text); its leaf hash is SHA-256(0x00 ‖ entry). */
  entry: string;
  /** Signed note of a tree that contains the entry. */
  checkpoint: string;
  /** Inclusion proof for `index` in the checkpoint's tree. */
  hashes: string[];
}

export interface AuditLog {
  /** Appends one entry (< 64 KiB). On return it is durable and under a signed, durable checkpoint. Throws AUDIT_UNAVAILABLE. */
  append(entry: Uint8Array): Promise<{ index: number }>;
  /** The newest durable checkpoint (C2SP signed note). */
  checkpoint(): string;
  /** C2SP verifier keys, newest first. */
  vkeys(): string[];
  size(): number;
  entry(index: number): Promise<Uint8Array>;
  proof(index: number): Promise<LogProof>;
  /** False once a commit has failed and not yet succeeded again. */
  healthy(): boolean;
  close(): Promise<void>;
}
