/** The answer: a list of named checks, and what follows from them. */
import type { VerificationCode } from './codes.ts';
import type { GpuDevice } from './gpu/gpu-devices.ts';
import type { VerifiedGpus } from './gpu/verify-gpu.ts';
import { AMD_ROOTS_SHA256, INTEL_SGX_ROOT_CA_SHA256 } from './roots.ts';
import type { Guest } from './verify-guest.ts';

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
  'tcb-status': 'Platform is as up to date as demanded',
  'platform-id': 'Machine is listed',
  'td-attributes': 'Guest cannot be debugged',
  'event-log': 'Event log replays to the measurements',
  'mr-config': 'Identity configured by the host agrees',
  'app-compose': 'App-compose is the measured one',
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
  'gpu-root': 'Root of the GPUs is known',
  'gpu-certificates': 'GPU certificates are valid',
  'gpu-revocation': 'No GPU certificate is revoked',
  'gpu-signature': 'Reports are signed by the GPUs',
  'gpu-firmware': 'Key of each GPU belongs to its firmware',
  'gpu-nonce': 'Reports of the GPUs are fresh',
  'gpu-rims': 'Reference measurements are signed and in date',
  'gpu-measurements': 'GPUs run the reference firmware and driver',
  'gpu-devices': 'GPUs are distinct, and as demanded',
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
  /** `evidence-only`: files were checked, not a service; nothing may be sent on the strength of it. */
  scope: 'service' | 'evidence-only';
  /** Every required check passed. True for simulated evidence only when its root was pinned by the caller. */
  valid: boolean;
  /** What may be sent. 'phi' never follows from simulated evidence. */
  send: 'phi' | 'synthetic-only' | 'nothing';
  teeType: 'intel-tdx' | 'amd-sev-snp' | null;
  /** `valid`, and the evidence names GPUs of this guest, of which every check passed that the policy does not leave out. */
  gpuTeeEnabled: boolean;
  /** From a signed compliance statement; null without one. Never affects `valid`. */
  compliance: {
    hipaa: { profile: string; pass: number; fail: number; notRun: number; stale: number; at: string } | null;
  };
  /** What the manifest asks for; proves nothing. Null: no evidence document was read. */
  requested: { hipaa: boolean; baaSigned: boolean; attestationPublic: boolean } | null;
  trust: TrustLabel;
  /** SHA-256 of the root certificate (DER) that verified the quote, hex; null when none did. */
  trustRootSha256: string | null;
  /** SHA-256 of the quote or report, hex: of these bytes, zeros that may follow a quote included. */
  evidenceId: string | null;
  /** `sha256:` + hex of the raw app_compose as attested; null when it could not be established. */
  codeHash: string | null;
  tcbStatus: string | null;
  advisories: string[];
  gpus: GpuDevice[];
  checks: Check[];
}

/**
 * What follows from the checks: none has failed, and each that is required (required-checks.ts) has passed. One that did not
 * run is not a pass.
 */
export function conclude(
  scope: Verdict['scope'],
  checks: Check[],
  guest: Pick<Guest, 'teeType' | 'rootSha256' | 'level' | 'codeHash'> | null,
  gpus: VerifiedGpus | null,
  requiredUnder: (trust: TrustLabel) => readonly CheckId[],
): Omit<Verdict, 'requested' | 'evidenceId'> {
  const trust = trustLabelOf(guest, gpus);
  const required = requiredUnder(trust);
  const passed = new Set(checks.flatMap(({ id, status }) => (status === 'pass' ? [id] : [])));
  const valid =
    required.length > 0 && required.every((id) => passed.has(id)) && checks.every(({ status }) => status !== 'fail');
  const gpusRequired = required.includes('gpu');
  return {
    scope,
    valid,
    send:
      !valid || trust === 'none' || scope !== 'service' ? 'nothing' : trust === 'simulated' ? 'synthetic-only' : 'phi',
    teeType: passed.has('quote-format') && guest ? guest.teeType : null,
    gpuTeeEnabled:
      scope === 'service' &&
      valid &&
      Boolean(gpus?.shown) &&
      checks.every(({ id }) => !id.startsWith('gpu') || passed.has(id) || gpusRequired),
    compliance: { hipaa: null }, // no signed statement exists yet
    trust,
    trustRootSha256: guest?.rootSha256 ?? null,
    codeHash: guest?.codeHash ?? null,
    tcbStatus: guest?.level?.status ?? null,
    advisories: guest?.level?.advisories ?? [],
    gpus: gpus?.shown?.devices ?? [],
    checks,
  };
}

/** The makers' roots stand for hardware; every other root, also of a single GPU, can at most stand for a simulation. */
function trustLabelOf(guest: Pick<Guest, 'rootSha256'> | null, gpus: VerifiedGpus | null): TrustLabel {
  if (gpus?.simulated) return 'simulated';
  const root = guest?.rootSha256;
  if (!root) return 'none';
  if (root === INTEL_SGX_ROOT_CA_SHA256) return 'intel-tdx';
  return AMD_ROOTS_SHA256.includes(root) ? 'amd-sev-snp' : 'simulated';
}

/** The one sentence for people, and the exit code of `abaton verify`. */
export function summarizeVerdict({
  scope,
  valid,
  send,
  trust,
  checks,
}: Pick<Verdict, 'scope' | 'valid' | 'send' | 'trust' | 'checks'>): { headline: string; exitCode: 0 | 3 } {
  if (scope === 'evidence-only') {
    const ran = `${checks.filter(({ status }) => status !== 'not-run').length} of ${checks.length} checks ran`;
    return valid
      ? { headline: `Evidence holds, ${ran}; it says nothing of a service, and nothing may be sent on it`, exitCode: 0 }
      : { headline: `Evidence does NOT hold, ${ran}`, exitCode: 3 };
  }
  if (send === 'phi') return { headline: 'Safe to send PHI', exitCode: 0 };
  if (send === 'synthetic-only') return { headline: 'Safe to send SYNTHETIC data only', exitCode: 0 };
  return { headline: trust === 'simulated' ? 'DO NOT send PHI (simulated)' : 'DO NOT send PHI', exitCode: 3 };
}
