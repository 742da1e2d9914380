/** Which root stands behind a signature. The trust label follows from this alone (I5). */
import { sha256 } from '@noble/hashes/sha2.js';
import { refuse } from './errors.ts';
import { bytesToHex } from './formats/bytes.ts';

/**
 * SHA-256 of the DER of "Intel SGX Root CA" (2018-05-21 to 2049-12-31), the trust anchor of SGX and TDX attestation.
 * Published by Intel's Provisioning Certification Service as IntelSGXRootCA.der.
 */
export const INTEL_SGX_ROOT_CA_SHA256 = '44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3';

/** SHA-256, hex. */
export const fingerprint = (bytes: Uint8Array): string => bytesToHex(sha256(bytes));

/** Throws ROOT_UNTRUSTED unless the root is a genuine one of its maker, or a simulated one that the caller has named. */
export function verifyRoot(seen: string, genuine: readonly string[], acceptedSimulated: readonly string[]): string {
  if (!genuine.includes(seen) && !acceptedSimulated.includes(seen))
    refuse('ROOT_UNTRUSTED', `root ${acceptedSimulated.join(' or ') || genuine.join(' or ')}`, seen);
  return seen;
}
