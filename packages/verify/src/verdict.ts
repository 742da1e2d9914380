/** The answer: a list of named checks, and what follows from them. */
import type { VerificationCode } from './codes.ts';

/** In the order in which they are reported; docs/reference/checks.md explains each. */
export const CHECKS = {
  'evidence-format': 'Evidence can be read',
  'quote-format': 'Quote can be read',
  'trust-root': 'Root of trust is known',
  'certificate-chain': 'Platform certificate is valid',
  'revocation-lists': 'No certificate is revoked',
  collateral: 'Collateral is signed and in date',
  'quote-signature': 'Quote is signed by the platform',
  'qe-identity': "Quoting enclave is Intel's",
  'tdx-module': "TDX module is Intel's",
  'tcb-status': 'Platform has its security updates',
  'platform-id': 'Machine is listed',
  'td-attributes': 'Guest cannot be debugged',
  'event-log': 'Event log replays to the measurements',
  'os-measurement': 'Operating system is listed',
  'code-hash': 'Code is the expected one',
  'key-provider': 'Keys come from a listed provider',
  'report-data': 'Quote was made for these contents',
  nonce: 'Quote is fresh',
  channel: 'Channel ends inside the guest',
  manifest: 'Deployment manifest is listed',
  'access-policy': 'Access policy is listed',
  'model-registry': 'Models are listed',
  gpu: 'GPU evidence can be read',
  'gpu-root': "Root of the GPUs is NVIDIA's",
  'gpu-certificates': 'GPU certificates are valid',
  'gpu-revocation': 'No GPU certificate is revoked',
  'gpu-signature': 'Reports are signed by the GPUs',
  'gpu-firmware': 'Key of each GPU belongs to its firmware',
  'gpu-nonce': 'Reports of the GPUs are fresh',
  'gpu-rims': 'Reference measurements are signed and in date',
  'gpu-measurements': 'GPUs run the reference firmware and driver',
  'gpu-devices': 'GPUs are those that the policy demands',
  'gpu-boot': 'Guest measured its GPUs in confidential mode',
  'gpu-binding': 'GPU evidence belongs to this quote',
} as const;

export type CheckId = keyof typeof CHECKS;

export interface Check {
  id: CheckId;
  title: string;
  status: 'pass' | 'fail' | 'not-run';
  /** Present when `status` is 'fail': distinct for "revoked", "out of date", "wrong code" and so on. */
  code?: VerificationCode;
  expected?: string;
  /** What was found; for 'not-run', why, unless an earlier failure is the reason. */
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

/** Pinning these is not required of evidence that can never carry patient data. */
const PINS: readonly CheckId[] = ['manifest', 'access-policy', 'model-registry'];

/** What follows from the checks. One that did not run is not a pass, unless nobody has asked for it. */
export function conclude(
  checks: readonly Check[],
  trust: TrustLabel,
  gpuRequired: boolean,
): Pick<Verdict, 'valid' | 'send'> {
  const dispensable = (id: CheckId): boolean =>
    (id === 'gpu' && !gpuRequired) || (PINS.includes(id) && trust === 'simulated');
  const valid = checks.every(({ id, status }) => status === 'pass' || (status === 'not-run' && dispensable(id)));
  if (!valid || trust === 'none') return { valid: false, send: 'nothing' };
  return { valid, send: trust === 'simulated' ? 'synthetic-only' : 'phi' };
}

/** The one sentence for people, and the exit code of `abaton verify`. */
export function summarizeVerdict({ send, trust }: Pick<Verdict, 'send' | 'trust'>): {
  headline: string;
  exitCode: 0 | 3;
} {
  if (send === 'phi') return { headline: 'Safe to send PHI', exitCode: 0 };
  if (send === 'synthetic-only') return { headline: 'Safe to send SYNTHETIC data only', exitCode: 0 };
  return { headline: trust === 'simulated' ? 'DO NOT send PHI (simulated)' : 'DO NOT send PHI', exitCode: 3 };
}
