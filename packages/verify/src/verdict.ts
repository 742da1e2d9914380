/** The answer: a list of named checks, and what follows from them. */
import type { VerificationCode } from './codes.ts';

/** In the order in which they run; docs/reference/checks.md explains each. */
export type CheckId =
  | 'evidence-format'
  | 'quote-format'
  | 'trust-root'
  | 'certificate-chain'
  | 'revocation-lists'
  | 'collateral'
  | 'quote-signature'
  | 'qe-identity'
  | 'tdx-module'
  | 'tcb-status'
  | 'td-attributes'
  | 'event-log'
  | 'os-measurement'
  | 'code-hash'
  | 'report-data'
  | 'nonce'
  | 'channel'
  | 'manifest'
  | 'access-policy'
  | 'model-registry'
  | 'gpu';

export interface Check {
  id: CheckId;
  title: string;
  status: 'pass' | 'fail' | 'not-run';
  /** Present when `status` is 'fail': distinct for "revoked", "out of date", "wrong code" and so on. */
  code?: VerificationCode;
  expected?: string;
  seen?: string;
}

/** Follows from which root verified the quote (I5), never from a flag. 'none': no root did. */
export type TrustLabel = 'intel-tdx' | 'amd-sev-snp' | 'simulated' | 'none';

export interface Verdict {
  /** Every required check passed. True for simulated evidence only when its root was pinned by the caller. */
  valid: boolean;
  /** What may be sent. 'phi' never follows from simulated evidence. */
  send: 'phi' | 'synthetic-only' | 'nothing';
  teeType: 'intel-tdx' | null;
  gpuTeeEnabled: boolean;
  /** From a signed compliance statement; null without one. Never affects `valid`. */
  compliance: {
    hipaa: { profile: string; pass: number; fail: number; notRun: number; stale: number; at: string } | null;
  };
  /** What the manifest asks for; proves nothing. */
  requested: { hipaa: boolean; baaSigned: boolean; attestationPublic: boolean };
  trust: TrustLabel;
  /** SHA-256 of the root certificate (DER) that verified the quote, hex; null when none did. */
  trustRootSha256: string | null;
  /** SHA-256 of the quote bytes, hex. */
  evidenceId: string | null;
  /** `sha256:` + hex of the raw app_compose as attested; null when it could not be established. */
  codeHash: string | null;
  tcbStatus: string | null;
  advisories: string[];
  checks: Check[];
}
