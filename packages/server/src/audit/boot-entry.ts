/** The entry of each start, before anything is served; only an incident that the start itself found stands before it. */
import { createHash, randomBytes } from 'node:crypto';
import type { AuditEvent, AuditTrail } from './events.ts';
import type { AuditLog, LogPosition } from './log.ts';

/** The nonce makes the checkpoint over this entry new: nobody can have cosigned it before. */
const NONCE_BYTES = 32;

export interface BootEntry extends LogPosition {
  /** 32 random bytes, hex. */
  nonce: string;
  /** SHA-256 of the signed checkpoint that this boot found, hex. */
  previousCheckpointSha256: string;
}

/**
 * Records the start: a fresh nonce, the checkpoint found on disk, and the digest of the first quote (SHA-256 hex; null
 * when there is none). `facts` says more about the boot: release, mode, digests, open incidents. On return the entry is durable; the
 * quote that opens the gate is requested after it. Throws AUDIT_UNAVAILABLE.
 */
export async function recordBoot(options: {
  log: Pick<AuditLog, 'checkpoint' | 'size'>;
  trail: Pick<AuditTrail, 'record'>;
  quoteSha256: string | null;
  outcome?: AuditEvent['outcome'];
  facts?: NonNullable<AuditEvent['facts']>;
}): Promise<BootEntry> {
  const { log, trail, quoteSha256, outcome = 'success', facts = {} } = options;
  const nonce = randomBytes(NONCE_BYTES).toString('hex');
  const previousCheckpointSha256 = createHash('sha256').update(log.checkpoint()).digest('hex');
  const position = await trail.record({
    action: 'boot',
    actor: 'abaton',
    patient: null,
    object: quoteSha256 === null ? null : { kind: 'evidence', ref: quoteSha256 },
    outcome,
    facts: { ...facts, nonce, previousCheckpointSha256, previousSize: log.size() },
  });
  return { ...position, nonce, previousCheckpointSha256 };
}
