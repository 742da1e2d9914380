/**
 * Certificates of an NVIDIA device: leaf (key of the firmware that runs, certified by the device itself), device,
 * provisioner, family, root. They have no end, so what was stolen or recalled is known to OCSP alone (pki/ocsp.ts).
 */
import { reading, refuse } from '../errors.ts';
import { decodeUtf8, malformed } from '../formats/bytes.ts';
import { DerFields, oidOf, parseDer, parseDerList, TAG } from '../formats/der.ts';
import { parsePemChain } from '../formats/pem.ts';
import { verifySignature } from '../pki/signature.ts';
import { type Certificate, parseCertificate, verifyChain } from '../pki/x509.ts';
import type { GpuArchitecture } from '../policy.ts';
import { fingerprint } from '../roots.ts';
import type { SpdmReport } from './spdm-report.ts';

export interface DeviceChain {
  /** Leaf first, root last; verified but for dates. Whether the root is trusted is another question. */
  certificates: readonly Certificate[];
  leaf: Certificate;
  rootSha256: string;
  /** Serial number of the leaf in decimal: how NVIDIA's tokens name a device. It changes with the firmware. */
  ueid: string;
  /** SHA-256 of the public key that was burnt into the device, hex: the same whatever firmware runs. */
  deviceKeySha256: string;
  /** Common name of the device certificate, "GH100 A01 GSP BROM". */
  model: string;
}

const CERTIFICATES = { min: 3, max: 8 }; // leaf, device and root; real chains have five

/** `pem`: leaf first, root last. Throws CERTIFICATE_INVALID. */
export async function authenticateDeviceChain(pem: string): Promise<DeviceChain> {
  const { ders, certificates, model, issuers } = reading('CERTIFICATE_INVALID', 'GPU certificate chain', () => {
    const ders = parsePemChain(pem.endsWith('\n\n') ? pem.slice(0, -1) : pem); // so end some of NVIDIA's own
    if (ders.length < CERTIFICATES.min || ders.length > CERTIFICATES.max)
      malformed(`chain has ${ders.length} certificates`);
    const certificates = ders.map(parseCertificate);
    const [, model, ...issuers] = certificates.map(({ subject }) => commonNameOf(subject));
    return { ders, certificates, model: model!, issuers };
  });
  const [leaf, device] = certificates as [Certificate, Certificate];
  if (certificates.some(({ publicKey }) => publicKey.algorithm !== 'P-384'))
    refuse('CERTIFICATE_INVALID', 'keys on P-384', 'another key');
  // Its certificate lets a device certify without bound: whoever has one device's key could make many of it.
  const above = issuers.find(isDevice);
  if (above) refuse('CERTIFICATE_INVALID', 'a device certified by NVIDIA', `one certified by ${above}`);
  await verifyChain(certificates, 'leaf');
  const ueid = BigInt(`0x${leaf.serial}`).toString();
  const rootSha256 = fingerprint(ders.at(-1)!);
  return { certificates, leaf, rootSha256, ueid, deviceKeySha256: fingerprint(device.spki), model };
}

/** Chips in the names of device certificates: GH100; GB100, GB110, GB202; LS_10. */
const CHIPS: Record<GpuArchitecture, string> = { HOPPER: 'GH', BLACKWELL: 'GB', LS10: 'LS_10' };

const isDevice = (commonName: string): boolean => Object.values(CHIPS).some((chip) => commonName.startsWith(chip));

/** Throws CERTIFICATE_INVALID when the device is of another architecture than the evidence says, which nobody has signed. */
export function verifyArchitecture({ model }: DeviceChain, arch: GpuArchitecture): void {
  if (!model.startsWith(CHIPS[arch])) refuse('CERTIFICATE_INVALID', `a ${arch} device (${CHIPS[arch]}…)`, model);
}

/** Throws SIGNATURE_INVALID. */
export async function verifyReportSignature({ signed, signature }: SpdmReport, leaf: Certificate): Promise<void> {
  if (!(await verifySignature(leaf.publicKey, signature, signed)))
    refuse('SIGNATURE_INVALID', 'a report signed by the key of the device', 'a signature that does not verify');
}

const COMMON_NAME = '2.5.4.3';
const SET = 0x31;
const UTF8_STRING = 0x0c;
const PRINTABLE_STRING = 0x13;

/** Name (RFC 5280 section 4.1.2.4) → its common name. Throws MalformedError. */
function commonNameOf(name: Uint8Array): string {
  for (const { value: set } of parseDerList(parseDer(name, TAG.SEQUENCE).value, SET))
    for (const { value } of parseDerList(set, TAG.SEQUENCE)) {
      const fields = new DerFields(value);
      if (oidOf(fields.next(TAG.OID)) === COMMON_NAME)
        return decodeUtf8((fields.optional(UTF8_STRING) ?? fields.next(PRINTABLE_STRING)).value);
    }
  return malformed('certificate has no common name');
}
