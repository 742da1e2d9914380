/** Decides whether patient data may pass (I1), from what is known at the moment of the question. */
import type { TrustLabel } from '@abaton/verify';
import type { AuditTrail } from '../audit/events.ts';
import { errorOf } from '../errors.ts';
import type { Logger } from '../log.ts';
import type { Gate, GateState, Mode } from './gate.ts';
import type { SelfAttestationMonitor } from './self-attestation.ts';

export interface GateKeeperOptions {
  /** What the configuration asks for. It narrows; it never grants. */
  requested: Mode;
  monitor: Pick<SelfAttestationMonitor, 'newest' | 'ageMs'>;
  auditHealthy: () => boolean;
  attestationIntervalMs: number;
  /** Whether compliance grants `phi` (signed BAA, named officer, green controls). Absent: never. */
  phiGranted?: () => boolean;
}

/**
 * A failed self-attestation closes the door by itself, within one interval (I1). The age limit is for the monitor that
 * no longer runs: one interval until the next proof is due, one more for it to be made, and as long as a slow guest
 * agent and PCCS may take together.
 */
const GRACE_MS = 20_000;
const maxAgeMs = (intervalMs: number): number => 2 * intervalMs + GRACE_MS;

const HARDWARE: readonly TrustLabel[] = ['intel-tdx', 'amd-sev-snp'];

/** Throws MODE_REFUSED when `phi` is requested and nothing here can grant it. */
export function createGateKeeper(options: GateKeeperOptions): Gate {
  const { requested, monitor, auditHealthy, attestationIntervalMs, phiGranted } = options;
  if (requested === 'phi' && !phiGranted?.())
    throw errorOf(
      'MODE_REFUSED',
      'Mode phi is not granted: no compliance record allows it. Use ABATON_MODE=synthetic.',
    );

  const state = (): GateState => {
    const newest = monitor.newest();
    const reasons: string[] = [];
    if (!newest) reasons.push('attestation-pending');
    else if (newest.state === 'failed') reasons.push('attestation-failed', ...newest.codes);
    else if (monitor.ageMs() > maxAgeMs(attestationIntervalMs)) reasons.push('attestation-stale');
    if (!auditHealthy()) reasons.push('audit-unavailable');
    // I5: which root verified the quote decides, and a simulated one never carries patient data
    const hardware = newest !== null && HARDWARE.includes(newest.trust);
    if (requested === 'no-phi') reasons.push('mode-no-phi');
    if (requested === 'phi' && newest && !hardware) reasons.push('mode-exceeds-trust');
    if (requested === 'phi' && !phiGranted?.()) reasons.push('mode-not-granted');
    return {
      open: reasons.length === 0,
      mode: requested === 'phi' && !hardware ? 'synthetic' : requested,
      reasons,
      evidenceId: newest?.id ?? null,
      codeHash: newest?.codeHash ?? null,
    };
  };

  return {
    state,
    requireOpen() {
      const now = state();
      if (!now.open) throw errorOf('GATE_CLOSED', `The gate is closed: ${now.reasons.join(', ')}.`);
      return now;
    },
  };
}

const WATCH_MS = 1_000; // how late the log may name a change; the gate itself is computed at each question

/** Records each change of the gate. A change that cannot be recorded (the log is down) is recorded once it can. */
export function watchGate(gate: Gate, audit: Pick<AuditTrail, 'record'>, logger: Logger): { stop(): void } {
  let recorded = '';
  let logged = '';
  let busy = false;
  const look = async (): Promise<void> => {
    const { open, mode, reasons } = gate.state();
    const now = `${open} ${mode} ${reasons.join(' ')}`;
    if (now !== logged) logger[open ? 'info' : 'warn']('gate', { open, mode, reasons });
    logged = now;
    if (now === recorded || busy) return;
    busy = true;
    try {
      await audit.record({
        action: 'gate',
        actor: 'abaton',
        patient: null,
        object: null,
        outcome: open ? 'success' : 'failure',
        facts: { open, mode, reasons: reasons.join(' ') },
      });
      recorded = now;
    } catch {
      // the reason 'audit-unavailable' is in the next state; retried at the next look
    } finally {
      busy = false;
    }
  };
  void look();
  const timer = setInterval(look, WATCH_MS).unref();
  return { stop: () => clearInterval(timer) };
}
