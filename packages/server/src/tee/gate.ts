/** Whether patient data may pass, in either direction, and why not (I1). */
export type Mode = 'no-phi' | 'synthetic' | 'phi';

/**
 * What the proofs of this process say of it (attestation-tdx.md section 17): none yet; the newest verified; the newest
 * failed for something that is late, and the last that verified stands for one interval more; nothing stands.
 */
export type AttestationState = 'pending' | 'trusted' | 'degraded' | 'untrusted';

export interface GateState {
  open: boolean;
  mode: Mode;
  state: AttestationState;
  /**
   * Stable reason codes when closed: 'incident-open', 'attestation-pending', 'attestation-stale', 'attestation-failed' and
   * the codes of the proof, 'audit-unavailable', 'clock-behind-log', 'mode-no-phi', 'mode-exceeds-trust', 'mode-not-granted',
   * 'witness-pending' (no quorum has cosigned this start yet), 'witness-late' (the log has run ahead of them), 'unwitnessed',
   * 'keyholder-pending' (the keyholder has not brought his share yet).
   */
  reasons: string[];
  /** While degraded: the codes that will close the gate unless a proof verifies. */
  warnings: string[];
  /** The proof that stands, or the newest when none does: SHA-256 of its quote, hex; null when there was none. */
  evidenceId: string | null;
  codeHash: string | null;
}

export interface Gate {
  state(): GateState;
  /** Throws GATE_CLOSED unless open. Called before PHI is taken and again before it is given out. */
  requireOpen(): GateState;
  /**
   * `listener` is called whenever an integrity failure opens an incident, in the turn in which that is seen: to cut what
   * runs and to drop opened keys. Returns how to stop that.
   */
  onClose(listener: () => void): () => void;
}
