/** From the proofs of this process to its state: what stands, for how long, and why not (attestation-tdx.md section 17). */
import type { AttestationState } from './gate.ts';
import type { SelfAttestation, SelfAttestationMonitor } from './self-attestation.ts';

export interface Judgement {
  state: AttestationState;
  /** Why the gate is closed. */
  reasons: string[];
  /** Why it will close. */
  warnings: string[];
  /** The proof that stands; the newest when none does. */
  proof: SelfAttestation | null;
}

/**
 * A failed proof closes the door by itself, within one interval (I1). The age limit is for the monitor that no longer
 * runs: one interval until the next proof is due, one more for it to be made, and as long as a slow guest agent and PCCS may
 * take together.
 */
export const GRACE_MS = 20_000;

export type Proofs = Pick<SelfAttestationMonitor, 'newest' | 'verified' | 'ageMs'>;

export function judgeProofs(proofs: Proofs, intervalMs: number): Judgement {
  const newest = proofs.newest();
  const untrusted = (...reasons: string[]): Judgement => ({ state: 'untrusted', reasons, warnings: [], proof: newest });
  if (!newest) return { state: 'pending', reasons: ['attestation-pending'], warnings: [], proof: null };
  if (newest.state === 'verified') {
    if (proofs.ageMs() > 2 * intervalMs + GRACE_MS) return untrusted('attestation-stale');
    return { state: 'trusted', reasons: [], warnings: [], proof: newest };
  }
  const verified = proofs.verified();
  // the next proof was due one interval after it: so it stands, failures or not, for one interval at most
  if (verified && proofs.ageMs() <= 2 * intervalMs)
    return { state: 'degraded', reasons: [], warnings: newest.codes, proof: verified };
  return untrusted('attestation-failed', ...newest.codes);
}
