/**
 * The four trust anchors, and which of them stands behind a signature. The trust label follows from this alone: no flag,
 * variable or file can make another root stand for hardware (invariant I5, ARCHITECTURE.md).
 */
import { sha256 } from '@noble/hashes/sha2.js';
import { refuse } from './errors.ts';
import { bytesToHex } from './formats/bytes.ts';

/**
 * SHA-256 of the DER of "Intel SGX Root CA" (P-256, 2018-05-21 to 2049-12-31), which stands behind SGX and TDX. Published by
 * Intel's Provisioning Certification Service as IntelSGXRootCA.der.
 */
export const INTEL_SGX_ROOT_CA_SHA256 = '44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3';

/**
 * SHA-256 of the DER of AMD's root keys, from its key distribution service (kdsintf.amd.com, /vcek/v1/{product}/cert_chain).
 * Milan: "ARK-Milan" (RSA-4096, until 2045-10-22). The roots of Genoa and Turin are to be added by somebody who can compare
 * them with AMD's; until then their chains are untrusted, and are tested on synthetic ones.
 */
export const AMD_ROOTS_SHA256: readonly string[] = ['69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd'];

/**
 * SHA-256 of the DER of "NVIDIA Device Identity CA" (P-384, until 9999), which stands behind GPUs and switches. Published
 * with NVIDIA's local GPU verifier as verifier_device_root.pem.
 */
export const NVIDIA_DEVICE_ROOT_SHA256 = '102bf659d5419614c9d8e6aecebc80454eb26b1df6a769ac720b9a690b167b48';

/**
 * SHA-256 of the DER of "NVIDIA CoRIM signing Root CA" (P-384, until 2053-03-08), which stands behind reference
 * measurements. Published with NVIDIA's local GPU verifier as verifier_RIM_root.pem.
 */
export const NVIDIA_RIM_ROOT_SHA256 = '12977b5115acb0381179279fffeb5a8c4d264971ebb32298023a465fa41df5d1';

/** SHA-256, hex. */
export const fingerprint = (bytes: Uint8Array): string => bytesToHex(sha256(bytes));

/** Throws ROOT_UNTRUSTED unless the root is a genuine one of its maker, or a simulated one that the caller has named. */
export function verifyRoot(seen: string, genuine: readonly string[], acceptedSimulated: readonly string[]): string {
  if (!genuine.includes(seen) && !acceptedSimulated.includes(seen))
    refuse('ROOT_UNTRUSTED', `root ${acceptedSimulated.join(' or ') || genuine.join(' or ')}`, seen);
  return seen;
}
