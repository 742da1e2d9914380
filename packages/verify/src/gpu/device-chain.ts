/**
 * Certificates of an NVIDIA device: leaf (key of the firmware that runs), device, provisioner, family, root. They have no
 * end, so what was stolen or recalled is known to OCSP alone (pki/ocsp.ts).
 */
import { reading, refuse } from '../errors.ts';
import { bytesToHex, equalBytes, malformed } from '../formats/bytes.ts';
import { DerFields, parseDer, parseDerList, TAG } from '../formats/der.ts';
import { parsePemChain } from '../formats/pem.ts';
import { verifySignature } from '../pki/signature.ts';
import { type Certificate, parseCertificate, verifyChain } from '../pki/x509.ts';
import { fingerprint } from '../roots.ts';
import type { SpdmReport } from './spdm-report.ts';

/**
 * SHA-256 of the DER of "NVIDIA Device Identity CA" (P-384, until 9999), the trust anchor of GPUs and switches.
 * Published with NVIDIA's local GPU verifier as verifier_device_root.pem.
 */
export const NVIDIA_DEVICE_ROOT_SHA256 = '102bf659d5419614c9d8e6aecebc80454eb26b1df6a769ac720b9a690b167b48';

export interface DeviceChain {
  /** Leaf first, root last; verified but for dates. Whether the root is trusted is another question. */
  certificates: readonly Certificate[];
  leaf: Certificate;
  rootSha256: string;
  /** Serial number of the leaf in decimal: how NVIDIA's tokens name a device. */
  ueid: string;
}

const CERTIFICATES = { min: 2, max: 8 }; // real chains have five

/** `pem`: leaf first, root last. Throws CERTIFICATE_INVALID. */
export async function authenticateDeviceChain(pem: string): Promise<DeviceChain> {
  const { ders, certificates } = reading('CERTIFICATE_INVALID', 'GPU certificate chain', () => {
    const ders = parsePemChain(pem);
    if (ders.length < CERTIFICATES.min || ders.length > CERTIFICATES.max)
      malformed(`chain has ${ders.length} certificates`);
    return { ders, certificates: ders.map(parseCertificate) };
  });
  const [leaf] = certificates as [Certificate];
  if (certificates.some(({ publicKey }) => publicKey.algorithm !== 'P-384'))
    refuse('CERTIFICATE_INVALID', 'keys on P-384', 'another key');
  await verifyChain(certificates, 'leaf');
  const ueid = BigInt(`0x${leaf.serial}`).toString();
  return { certificates, leaf, rootSha256: fingerprint(ders.at(-1)!), ueid };
}

/** Throws SIGNATURE_INVALID. */
export async function verifyReportSignature({ signed, signature }: SpdmReport, leaf: Certificate): Promise<void> {
  if (!(await verifySignature(leaf.publicKey, signature, signed)))
    refuse('SIGNATURE_INVALID', 'a report signed by the key of the device', 'a signature that does not verify');
}

// TCG DICE Certificate Profiles: Hopper writes the older extension, Blackwell DiceTcbInfo.
const COMPOSITE_DEVICE_ID = '2.23.133.5.4.1';
const DICE_TCB_INFO = '2.23.133.5.4.1.1';
/** DiceTcbInfo: optional members vendor, model, version, svn, layer, index under context tags 0 to 5, then fwids under 6. */
const BEFORE_FWIDS = [0x80, 0x81, 0x82, 0x83, 0x84, 0x85];
const FWIDS = 0xa6;

/** Throws GPU_FIRMWARE_MISMATCH unless the key was made for the firmware that the report names. */
export function verifyFirmwareId(reported: Uint8Array, leaf: Certificate): void {
  const certified = reading('GPU_FIRMWARE_MISMATCH', 'firmware id in the certificate', () => parseFirmwareIds(leaf));
  if (!certified.some((id) => equalBytes(id, reported)))
    refuse('GPU_FIRMWARE_MISMATCH', certified.map(bytesToHex).join(' or '), bytesToHex(reported));
}

function parseFirmwareIds({ extensions }: Certificate): Uint8Array[] {
  const tcbInfo = extensions.get(DICE_TCB_INFO)?.value;
  if (tcbInfo) {
    const fields = new DerFields(parseDer(tcbInfo, TAG.SEQUENCE).value);
    for (const tag of BEFORE_FWIDS) fields.optional(tag);
    return parseDerList(fields.next(FWIDS).value, TAG.SEQUENCE).map(({ value }) => parseFirmwareId(value));
  }
  const composite = extensions.get(COMPOSITE_DEVICE_ID)?.value;
  if (!composite) return malformed('certificate names no firmware');
  const fields = new DerFields(parseDer(composite, TAG.SEQUENCE).value);
  fields.next(TAG.INTEGER); // version
  fields.next(TAG.SEQUENCE); // key of the device
  const id = parseFirmwareId(fields.next(TAG.SEQUENCE).value);
  fields.end();
  return [id];
}

/** FWID ::= SEQUENCE { hashAlg OBJECT IDENTIFIER, digest OCTET STRING }. */
function parseFirmwareId(sequence: Uint8Array): Uint8Array {
  const fields = new DerFields(sequence);
  fields.next(TAG.OID);
  const digest = fields.next(TAG.OCTET_STRING).value;
  fields.end();
  return digest;
}
