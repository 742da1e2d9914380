/** Which root stands behind a quote. The trust label follows from this alone (I5). */
import { sha256 } from '@noble/hashes/sha2.js';
import { refuse } from './errors.ts';
import { bytesToHex } from './formats/bytes.ts';
import type { TrustLabel } from './verdict.ts';

/**
 * SHA-256 of the DER of "Intel SGX Root CA" (2018-05-21 to 2049-12-31), the trust anchor of SGX and TDX attestation.
 * Published by Intel's Provisioning Certification Service as IntelSGXRootCA.der.
 */
export const INTEL_SGX_ROOT_CA_SHA256 = '44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3';

export const fingerprint = (der: Uint8Array): string => bytesToHex(sha256(der));

/** Intel's root stands for hardware; every other root can at most stand for a simulation. */
export const trustLabelOf = (rootSha256: string): TrustLabel =>
  rootSha256 === INTEL_SGX_ROOT_CA_SHA256 ? 'intel-tdx' : 'simulated';

/** Throws ROOT_UNTRUSTED unless the root is Intel's, or the simulated one that the caller has named. */
export function verifyRoot(root: Uint8Array, acceptedSimulatedSha256?: string): string {
  const seen = fingerprint(root);
  if (seen !== INTEL_SGX_ROOT_CA_SHA256 && seen !== acceptedSimulatedSha256)
    refuse('ROOT_UNTRUSTED', `root ${acceptedSimulatedSha256 ?? INTEL_SGX_ROOT_CA_SHA256}`, seen);
  return seen;
}
