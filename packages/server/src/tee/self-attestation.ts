/**
 * The server judges itself as a stranger would: a fresh nonce, its own quote, the whole verification, every interval.
 * The policy pins what was seen at boot, so this shows *self-consistency and platform health*, not trust: that the
 * right code runs on the right OS is for an outsider's policy to say.
 */
import { createHash, randomBytes } from 'node:crypto';
import {
  AbatonError,
  type Evidence,
  type Policy,
  parsePolicy,
  type TrustLabel,
  type Verdict,
  VerifiedCache,
  verifyEvidence,
} from '@abaton/verify';
import type { AuditEvent, AuditTrail } from '../audit/events.ts';
import { errorOf } from '../errors.ts';
import { type Logger, placeOf } from '../log.ts';
import type { AgentInfo } from './agent-client.ts';
import type { EvidenceBinding, EvidenceSource } from './evidence.ts';
import { kindOfFailure } from './failure-kinds.ts';
import { openIncidentsFact } from './incident.ts';
import type { Latch } from './latch.ts';

export interface SelfAttestation {
  /** SHA-256 of the quote, hex; null when there was no quote. */
  id: string | null;
  /** ISO 8601, UTC */
  at: string;
  state: 'verified' | 'failed';
  /** Why it failed: codes of the failed checks, or of the error that kept it from running. */
  codes: string[];
  trust: TrustLabel;
  codeHash: string | null;
  verdict: Verdict | null;
  evidence: Evidence | null;
}

export interface SelfAttestationMonitor {
  /** Makes and judges one proof and changes nothing: the first step of the boot. Never throws. */
  prove(): Promise<SelfAttestation>;
  /** Makes and judges one proof, records it, and makes it the newest. Never throws; concurrent calls share one proof. */
  attest(): Promise<SelfAttestation>;
  /** Null before the first: pending. Also null once an incident has ended, until a proof that began after that. */
  newest(): SelfAttestation | null;
  /** The newest that verified; null when there is none, or what failed since then was more than transient. */
  verified(): SelfAttestation | null;
  /** Time since `verified` began; Infinity without one. */
  ageMs(): number;
  /** Attests once per interval, and sooner after a failure, until `stop`. */
  start(): void;
  stop(): void;
}

export interface MonitorOptions {
  evidence: EvidenceSource;
  policy: Policy;
  tlsSpkiSha256: string;
  /** Root of a software TEE that may be used for synthetic data; the label stays `simulated`. */
  simulatedRootSha256: string | null;
  intervalMs: number;
  audit: Pick<AuditTrail, 'record'>;
  /** Told of every failed proof. */
  latch: Pick<Latch, 'report' | 'open' | 'onResolved'>;
  /** Called with every recorded proof, good or bad: what is published. */
  onProof?: (proof: SelfAttestation) => void;
  logger: Logger;
  /** See clock.ts. */
  nowMs: () => number;
  clockBehind: () => boolean;
}

const RETRY_MS = 15_000; // after a failure: the door is closed, so look again soon

/** Pins what this process saw of itself at boot. `gpu`: the manifest asks for NVIDIA H100, so that their evidence must be there. */
export function selfPolicy(
  { appCompose, keyProvider, measurements }: AgentInfo,
  binding: EvidenceBinding,
  { gpu = false } = {},
): Policy {
  const { mrtd, rtmr0, rtmr1, rtmr2 } = measurements;
  return parsePolicy({
    version: 1,
    codeHashes: [`sha256:${createHash('sha256').update(appCompose).digest('hex')}`],
    osMeasurements: [{ name: 'as seen at boot: self-consistency, not trust', mrtd, rtmr0, rtmr1, rtmr2 }],
    manifestSha256: [binding.manifestSha256],
    policySha256: [binding.policySha256],
    modelRegistrySha256: [binding.modelRegistrySha256],
    keyProviders: [keyProvider],
    // whether an OCSP answer is demanded is for an outsider's policy to say: its service must not be able to close the door
    gpu: gpu ? { architectures: ['HOPPER'], ocsp: 'optional' } : null,
  });
}

export function createSelfAttestation(options: MonitorOptions): SelfAttestationMonitor {
  const { evidence, policy, tlsSpkiSha256, simulatedRootSha256, intervalMs, audit, latch, logger } = options;
  const { nowMs, clockBehind, onProof } = options;
  const cache = new VerifiedCache();
  let newest: SelfAttestation | null = null;
  let verified: { proof: SelfAttestation; wall: number; monotonic: number } | null = null;
  let running: Promise<SelfAttestation> | null = null;
  /** Counts ended incidents: a proof that began before the newest of them opens nothing. */
  let life = 0;
  let timer: NodeJS.Timeout | null = null;

  const prove = async (): Promise<SelfAttestation> => {
    const at = new Date(nowMs()).toISOString();
    const nonce = randomBytes(32).toString('hex');
    try {
      if (clockBehind())
        throw errorOf('CLOCK_BEHIND_LOG', 'The clock of the host is behind the newest entry of the log.');
      const made = await evidence.evidenceFor(nonce, { own: true });
      const verdict = await verifyEvidence({
        evidence: made,
        policy,
        nowMs: nowMs(),
        expect: { nonce, tlsSpkiSha256 },
        cache,
        ...(simulatedRootSha256 ? { acceptedRootsSha256: [simulatedRootSha256] } : {}),
      });
      const { evidenceId: id, trust, codeHash } = verdict;
      const state = verdict.valid && verdict.send !== 'nothing' ? 'verified' : 'failed';
      return { id, at, state, codes: failedCodes(verdict), trust, codeHash, verdict, evidence: made };
    } catch (error) {
      return { id: null, at, ...failureOf(error), trust: 'none', codeHash: null, verdict: null, evidence: null };
    }
  };

  /** The cause of a failure that no check names. A defect is logged with its place, and closes the door like any other. */
  const failureOf = (error: unknown): Pick<SelfAttestation, 'state' | 'codes'> => {
    if (error instanceof AbatonError) return { state: 'failed', codes: [error.code] };
    logger.error('self-attestation-defect', { at: placeOf(error) });
    return { state: 'failed', codes: ['INTERNAL'] };
  };

  const attestOnce = async (): Promise<SelfAttestation> => {
    const began = { life, wall: nowMs(), monotonic: performance.now() };
    const keep = (proof: SelfAttestation): void => {
      if (began.life === life) {
        newest = proof;
        if (proof.state === 'verified') verified = { proof, ...began };
        else if (kindOfFailure(proof.codes) !== 'transient') verified = null;
      }
    };
    let proof = await prove();
    if (proof.state === 'failed') {
      // an incident is in the log before anybody can see that the door closes (latch.ts); what opens has to be durable, too
      await latch.report({ codes: proof.codes, evidenceId: proof.id });
      keep(proof);
    }
    try {
      await audit.record(attestEvent(proof, latch));
    } catch (error) {
      // its own codes stay: a failure of the log must not pass for the whole cause
      const { state, codes } = failureOf(error);
      proof = { ...proof, state, codes: [...proof.codes, ...codes] };
    }
    keep(proof);
    const { state, codes, trust, id } = proof;
    logger[state === 'verified' ? 'info' : 'error']('self-attestation', { state, codes, trust, evidenceId: id });
    onProof?.(proof);
    return proof;
  };

  const attest = (): Promise<SelfAttestation> => {
    running ??= attestOnce().finally(() => {
      running = null;
    });
    return running;
  };

  latch.onResolved(() => {
    life++;
    newest = null;
    verified = null;
  });

  const schedule = (): void => {
    const delay = newest?.state === 'verified' ? intervalMs : Math.min(intervalMs, RETRY_MS);
    timer = setTimeout(async () => {
      await attest();
      if (timer) schedule();
    }, delay).unref();
  };

  return {
    prove,
    attest,
    newest: () => newest,
    verified: () => verified?.proof ?? null,
    ageMs: () =>
      // the host owns the wall clock and may stop the other with the machine: the older answer counts
      verified ? Math.max(nowMs() - verified.wall, performance.now() - verified.monotonic) : Number.POSITIVE_INFINITY,
    start: () => {
      if (!timer) schedule();
    },
    stop: () => {
      if (timer) clearTimeout(timer);
      timer = null;
    },
  };
}

/** Codes of what failed. A required check that did not run has none, and is named by its id. */
function failedCodes({ valid, checks }: Verdict): string[] {
  const failed = checks.filter(({ status }) => status === 'fail').map(({ code, id }) => code ?? id);
  if (failed.length || valid) return failed;
  return checks.filter(({ status }) => status === 'not-run').map(({ id }) => `not-run:${id}`);
}

const attestEvent = (
  { id, state, codes, trust, codeHash, verdict }: SelfAttestation,
  latch: Pick<Latch, 'open'>,
): AuditEvent => ({
  action: 'attest',
  actor: 'abaton',
  patient: null,
  object: id ? { kind: 'evidence', ref: id } : null,
  outcome: state === 'verified' ? 'success' : 'failure',
  facts: {
    trust,
    codeHash,
    tcbStatus: verdict?.tcbStatus ?? null,
    codes: codes.join(' '),
    ...openIncidentsFact(latch.open()),
  },
});
