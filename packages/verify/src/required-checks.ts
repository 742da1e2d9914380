/**
 * Which checks have to pass. A failure is always a failure; but one that did not run, or was never begun, is no pass either:
 * a service has to show everything, and files what was given and what the policy names.
 */
import type { Policy } from './policy.ts';
import { CHECKS, type CheckId, type TrustLabel } from './verdict.ts';
import type { EvidenceFiles } from './verify-files.ts';

const ALL = Object.keys(CHECKS) as CheckId[];
const isOfGpu = (id: CheckId): boolean => id.startsWith('gpu');
/** AMD signs no collateral and has one key for each chip; dstack extends no register there (verify-guest.ts). */
const NOT_OF_SNP: readonly CheckId[] = ['collateral', 'qe-identity', 'tdx-module', 'event-log'];
/** Pinning these is not required of evidence that can never carry patient data. */
const PINS: readonly CheckId[] = ['key-provider', 'manifest', 'access-policy', 'model-registry'];

/** Of a service: every check, but those that do not exist on its platform, and those that the policy leaves open. */
export function requiredOfService(
  { platformIds, gpu }: Pick<Policy, 'platformIds' | 'gpu'>,
  teeType: 'intel-tdx' | 'amd-sev-snp',
  trust: TrustLabel,
): CheckId[] {
  const leftOpen = (id: CheckId): boolean =>
    (teeType === 'amd-sev-snp' && NOT_OF_SNP.includes(id)) ||
    (id === 'platform-id' && platformIds === null) ||
    (PINS.includes(id) && trust === 'simulated') ||
    (isOfGpu(id) && gpu === null) ||
    (id === 'gpu-revocation' && gpu?.ocsp === 'optional');
  return ALL.filter((id) => !leftOpen(id));
}

/** The check that uses a file. */
const USED_BY: Record<keyof EvidenceFiles, CheckId> = {
  quote: 'quote-signature',
  collateral: 'collateral',
  eventLog: 'event-log',
  appCompose: 'app-compose',
  snpReport: 'quote-signature',
  certificates: 'certificate-chain',
  crl: 'revocation-lists',
  mrConfig: 'mr-config',
  gpuEvidence: 'gpu-signature',
  gpuNonce: 'gpu-nonce',
  rims: 'gpu-rims',
  ocspResponses: 'gpu-revocation',
};
/** What of GPUs only a guest or a service can show. */
const NOT_OF_GPU_FILES: readonly CheckId[] = ['gpu-nonce', 'gpu-boot', 'gpu-binding'];

/** Of files: that each was used, for one that no check could use proves nothing, and what the policy names. */
export function requiredOfFiles(given: readonly (keyof EvidenceFiles)[], policy: Policy): CheckId[] {
  const { codeHashes, osMeasurements, keyProviders, platformIds, gpu } = policy;
  const named: Partial<Record<CheckId, boolean>> = {
    'code-hash': codeHashes.length > 0,
    'os-measurement': osMeasurements.length > 0,
    'key-provider': keyProviders !== null,
    'platform-id': platformIds !== null,
    collateral: policy.minTcbEvaluationDataNumber > 0 || policy.maxCollateralAgeDays !== null,
  };
  const isNamed = (id: CheckId): boolean =>
    named[id] ||
    (gpu !== null &&
      isOfGpu(id) &&
      !NOT_OF_GPU_FILES.includes(id) &&
      !(id === 'gpu-revocation' && gpu.ocsp === 'optional'));
  const used = given.map((name) => USED_BY[name]);
  return ALL.filter((id) => used.includes(id) || isNamed(id));
}
