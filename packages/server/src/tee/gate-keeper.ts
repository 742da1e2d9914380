/** Decides whether patient data may pass (I1), from what is known at the moment of the question. */
import type { TrustLabel } from '@abaton/verify';
import type { AuditTrail } from '../audit/events.ts';
import type { WitnessState } from '../audit/witnessing/witnessing.ts';
import { errorOf } from '../errors.ts';
import type { Logger } from '../log.ts';
import { judgeProofs, type Proofs } from './attestation-state.ts';
import type { Gate, GateState, Mode } from './gate.ts';
import type { Latch } from './latch.ts';

export interface GateKeeperOptions {
  /** What the configuration asks for. It narrows; it never grants. */
  requested: Mode;
  monitor: Proofs;
  latch: Pick<Latch, 'open' | 'onOpen'>;
  auditHealthy: () => boolean;
  /** See clock.ts. */
  clockBehind: () => boolean;
  attestationIntervalMs: number;
  /** Whether the keys of the vault are complete. */
  keyholder: () => 'none' | 'pending' | 'held';
  /** How far the log is cosigned. */
  witnesses: () => Pick<WitnessState, 'label'>;
  /** Whether compliance grants `phi` (signed BAA, named officer, green controls). Absent: never. */
  phiGranted?: () => boolean;
}

const HARDWARE: readonly TrustLabel[] = ['intel-tdx', 'amd-sev-snp'];

/** Throws MODE_REFUSED when `phi` is requested and nothing here can grant it. */
export function createGateKeeper(options: GateKeeperOptions): Gate {
  const { requested, monitor, latch, auditHealthy, clockBehind, attestationIntervalMs, phiGranted } = options;
  const { witnesses, keyholder } = options;
  if (requested === 'phi' && !phiGranted?.())
    throw errorOf(
      'MODE_REFUSED',
      'Mode phi is not granted: no compliance record allows it. Use ABATON_MODE=synthetic.',
    );

  const state = (): GateState => {
    const { state, reasons: failures, warnings, proof } = judgeProofs(monitor, attestationIntervalMs);
    const latched = latch.open().length > 0;
    const reasons = latched ? ['incident-open', ...failures] : failures;
    if (!auditHealthy()) reasons.push('audit-unavailable');
    if (clockBehind()) reasons.push('clock-behind-log');
    // I5: which root verified the quote decides, and a simulated one never carries patient data
    const hardware = proof !== null && HARDWARE.includes(proof.trust);
    if (requested === 'no-phi') reasons.push('mode-no-phi');
    if (requested === 'phi' && proof && !hardware) reasons.push('mode-exceeds-trust');
    if (requested === 'phi' && !phiGranted?.()) reasons.push('mode-not-granted');
    if (keyholder() === 'pending') reasons.push('keyholder-pending');
    const { label } = witnesses();
    if (label === 'pending') reasons.push('witness-pending');
    if (label === 'late') reasons.push('witness-late');
    if (label === 'unwitnessed' && requested === 'phi') reasons.push('unwitnessed');
    return {
      open: reasons.length === 0,
      mode: requested === 'phi' && !hardware ? 'synthetic' : requested,
      state: latched ? 'untrusted' : state,
      reasons,
      warnings,
      evidenceId: proof?.id ?? null,
      codeHash: proof?.codeHash ?? null,
    };
  };

  const requireOpen = (): GateState => {
    const now = state();
    const remedy = now.reasons.includes('incident-open') ? ' An officer has to end the incident.' : '';
    if (!now.open) throw errorOf('GATE_CLOSED', `The gate is closed: ${now.reasons.join(', ')}.${remedy}`);
    return now;
  };

  const onClose: Gate['onClose'] = (listener) => latch.onOpen(() => listener());
  return { state, requireOpen, onClose };
}

const WATCH_MS = 1_000; // how late the log may name a change; the gate itself is computed at each question

/** What follows a change. Incidents have their own alarm (latch.ts), and cut in the turn in which they open (Gate.onClose). */
export interface GateHooks {
  /** What people should hear of: the gate degrades or closes, or is found closed, though its mode does not ask for that. */
  alarm?(kind: 'gate-degraded' | 'gate-closed', codes: string[]): void;
  /** No proof stands any more, for another reason than an incident. */
  untrusted?(): void;
}

export interface GateWatch {
  /** After a last look, so that the log tells how the gate was left. */
  stop(): Promise<void>;
}

/**
 * Records each change of the gate, with what was before. A change that cannot be recorded (the log is down) is recorded once
 * it can.
 */
export function watchGate(
  gate: Pick<Gate, 'state'>,
  audit: Pick<AuditTrail, 'record'>,
  logger: Logger,
  hooks: GateHooks = {},
): GateWatch {
  const describe = ({ open, mode, state, reasons, warnings }: GateState): string =>
    [open ? 'open' : 'closed', mode, state, ...reasons, ...warnings].join(' ');
  let recorded = '';
  let seen: GateState | null = null;
  let recording: Promise<void> | null = null;
  const look = async (): Promise<void> => {
    const now = gate.state();
    const { open, mode, state, reasons, warnings } = now;
    const before = seen;
    seen = now;
    if (!before || describe(now) !== describe(before)) {
      logger[open && state === 'trusted' ? 'info' : 'warn']('gate', {
        open,
        mode,
        state,
        reasons,
        warnings,
      });
      const latched = reasons.includes('incident-open');
      const asked = latched || reasons.every((reason) => reason.startsWith('mode-'));
      if (before?.open !== false && !open && !asked) hooks.alarm?.('gate-closed', reasons);
      if (before?.state === 'trusted' && state === 'degraded') hooks.alarm?.('gate-degraded', warnings);
      if (state === 'untrusted' && before?.state !== 'untrusted' && !latched) hooks.untrusted?.();
    }
    if (describe(now) === recorded || recording) return;
    recording = record(now).finally(() => {
      recording = null;
    });
    await recording;
  };
  const record = async (now: GateState): Promise<void> => {
    const { open, mode, state, reasons, warnings } = now;
    const facts = { open, mode, state, reasons: reasons.join(' '), warnings: warnings.join(' '), before: recorded };
    const outcome = open ? 'success' : 'failure';
    try {
      await audit.record({ action: 'gate', actor: 'abaton', patient: null, object: null, outcome, facts });
      recorded = describe(now);
    } catch {
      // the reason 'audit-unavailable' is in the next state; retried at the next look
    }
  };
  void look();
  const timer = setInterval(look, WATCH_MS).unref();
  return {
    async stop() {
      clearInterval(timer);
      await recording;
      await look();
    },
  };
}
