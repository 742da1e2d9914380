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
import { type Logger, placeOf } from '../log.ts';
import type { AgentInfo } from './agent-client.ts';
import type { EvidenceBinding, EvidenceSource } from './evidence.ts';

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
  /** Null before the first: pending. */
  newest(): SelfAttestation | null;
  /** Time since the newest began; Infinity before the first. */
  ageMs(): number;
  /** One of the last 100, by id. */
  find(id: string): SelfAttestation | null;
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
  logger: Logger;
  /** Wall clock; for tests. */
  nowMs?: () => number;
}

const KEPT = 100; // about eight hours of proofs, 30 kB each
const RETRY_MS = 15_000; // after a failure: the door is closed, so look again soon

/** Pins what this process saw of itself at boot. */
export function selfPolicy({ appCompose, keyProvider, measurements }: AgentInfo, binding: EvidenceBinding): Policy {
  const { mrtd, rtmr0, rtmr1, rtmr2 } = measurements;
  return parsePolicy({
    version: 1,
    codeHashes: [`sha256:${createHash('sha256').update(appCompose).digest('hex')}`],
    osMeasurements: [{ name: 'as seen at boot: self-consistency, not trust', mrtd, rtmr0, rtmr1, rtmr2 }],
    manifestSha256: [binding.manifestSha256],
    policySha256: [binding.policySha256],
    modelRegistrySha256: [binding.modelRegistrySha256],
    keyProviders: [keyProvider],
  });
}

export function createSelfAttestation(options: MonitorOptions): SelfAttestationMonitor {
  const { evidence, policy, tlsSpkiSha256, simulatedRootSha256, intervalMs, audit, logger, nowMs = Date.now } = options;
  const cache = new VerifiedCache();
  const kept = new Map<string, SelfAttestation>();
  let newest: SelfAttestation | null = null;
  let began = { wall: 0, monotonic: 0 };
  let running: Promise<SelfAttestation> | null = null;
  let timer: NodeJS.Timeout | null = null;

  const prove = async (): Promise<SelfAttestation> => {
    const at = new Date(nowMs()).toISOString();
    const nonce = randomBytes(32).toString('hex');
    try {
      const made = await evidence.evidenceFor(nonce);
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

  const keep = (proof: SelfAttestation, since: typeof began): void => {
    newest = proof;
    began = since;
    if (!proof.id) return;
    kept.set(proof.id, proof);
    for (const oldest of kept.keys()) if (kept.size > KEPT) kept.delete(oldest);
  };

  const attestOnce = async (): Promise<SelfAttestation> => {
    const since = { wall: nowMs(), monotonic: performance.now() };
    let proof = await prove();
    if (proof.state === 'failed') keep(proof, since); // closes at once; what opens must first be durable in the log
    try {
      await audit.record(attestEvent(proof));
    } catch (error) {
      proof = { ...proof, ...failureOf(error) };
    }
    keep(proof, since);
    const { state, codes, trust, id } = proof;
    logger[state === 'verified' ? 'info' : 'error']('self-attestation', { state, codes, trust, evidenceId: id });
    return proof;
  };

  const attest = (): Promise<SelfAttestation> => {
    running ??= attestOnce().finally(() => {
      running = null;
    });
    return running;
  };

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
    ageMs: () =>
      // the host owns the wall clock and may stop the other with the machine: the older answer counts
      newest ? Math.max(nowMs() - began.wall, performance.now() - began.monotonic) : Number.POSITIVE_INFINITY,
    find: (id) => kept.get(id) ?? null,
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

const attestEvent = ({ id, state, codes, trust, codeHash, verdict }: SelfAttestation): AuditEvent => ({
  action: 'attest',
  actor: 'abaton',
  patient: null,
  object: id ? { kind: 'evidence', ref: id } : null,
  outcome: state === 'verified' ? 'success' : 'failure',
  facts: { trust, codeHash, tcbStatus: verdict?.tcbStatus ?? null, codes: codes.join(' ') },
});
