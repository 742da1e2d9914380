/** Whether patient data may pass, in either direction, and why not (I1). */
export type Mode = 'no-phi' | 'synthetic' | 'phi';

export interface GateState {
  open: boolean;
  mode: Mode;
  /** Stable reason codes when closed, e.g. 'attestation-pending', 'attestation-stale', 'attestation-failed', 'audit-unavailable', 'mode-no-phi'. */
  reasons: string[];
  /** Evidence that was valid when the state was computed: SHA-256 of the quote, hex; null before the first. */
  evidenceId: string | null;
  codeHash: string | null;
}

export interface Gate {
  state(): GateState;
  /** Throws GATE_CLOSED unless open. Called before PHI is taken and again before it is given out. */
  requireOpen(): GateState;
}
