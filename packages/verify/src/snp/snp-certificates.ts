/**
 * Certificates of AMD (VCEK Certificate and KDS Interface Specification, 57230): the key of one chip at one firmware level
 * (VCEK, under the ASK), or of one cloud provider at one firmware level (VLEK, under the ASVK), up to the product's root
 * (ARK). P-384 keys, signed with RSASSA-PSS.
 */
import { reading, refuse } from '../errors.ts';
import { bytesToHex, equalBytes, isZero, malformed } from '../formats/bytes.ts';
import { integerOf, parseDer, TAG } from '../formats/der.ts';
import { parsePemChain } from '../formats/pem.ts';
import { verifySignature } from '../pki/signature.ts';
import { type Certificate, parseCertificate, verifyChain } from '../pki/x509.ts';
import { SNP_PRODUCTS, type SnpProduct, verifyListed } from '../policy.ts';
import { fingerprint } from '../roots.ts';
import type { SnpReport } from './snp-report.ts';
import { parseSnpTcb, type SnpTcb, writeSnpTcb } from './snp-tcb.ts';

export interface SnpChain {
  leaf: Certificate;
  ca: Certificate;
  root: Certificate;
  rootSha256: string;
  kind: 'VCEK' | 'VLEK';
  product: SnpProduct;
  tcb: SnpTcb;
  /** Of the chip, as reports write it: 64 bytes. Null in a VLEK, which stands for a provider and not for a chip. */
  hwId: Uint8Array | null;
}

const AMD = '1.3.6.1.4.1.3704.1'; // 57230, tables of the VCEK and VLEK extensions
const STRUCT_VERSION = '1';
const PRODUCT_NAME = '2';
const SPL = { bootLoader: '3.1', tee: '3.2', snp: '3.3', microcode: '3.8' } as const;
const FMC_SPL = '3.9'; // Turin
const HW_ID = '4'; // VCEK
const CSP_ID = '5'; // VLEK
const IA5_STRING = 0x16;
const CHIP_ID_BYTES = 64;

/** What changed with Turin: the layout of the TCB, and chips are numbered in 8 bytes. */
const layoutOf = (product: SnpProduct) =>
  product === 'Turin' ? { structVersion: 1, hwIdBytes: 8 } : { structVersion: 0, hwIdBytes: CHIP_ID_BYTES };

/** "Milan-B0" or "Genoa" (a stepping is not always named); Siena has the keys of Genoa (57230). */
const PRODUCTS = new Map<string, SnpProduct>([
  ...SNP_PRODUCTS.map((each) => [each, each] as const),
  ['Siena', 'Genoa'],
]);

/** `pem`: VCEK or VLEK, its CA, the root. Dates are not judged here. Throws CERTIFICATE_INVALID. */
export async function authenticateSnpChain(pem: string): Promise<SnpChain> {
  const code = 'CERTIFICATE_INVALID';
  const { ders, certificates } = reading(code, 'certificate chain of AMD', () => {
    const ders = parsePemChain(pem);
    return ders.length === 3
      ? { ders, certificates: ders.map(parseCertificate) }
      : malformed(`${ders.length} certificates`);
  });
  const [leaf, ca, root] = certificates as [Certificate, Certificate, Certificate];
  const named = reading(code, 'VCEK or VLEK', () => parseLeaf(leaf));
  await verifyChain(certificates, 'leaf');
  if (leaf.publicKey.algorithm !== 'P-384') refuse(code, 'a key on P-384', leaf.publicKey.algorithm);
  return { leaf, ca, root, rootSha256: fingerprint(ders[2]!), ...named };
}

function parseLeaf({ extensions }: Certificate): Pick<SnpChain, 'kind' | 'product' | 'tcb' | 'hwId'> {
  const find = (arc: string) => extensions.get(`${AMD}.${arc}`)?.value;
  const extension = (arc: string) => find(arc) ?? malformed(`extension ${arc} is absent`);
  const byte = (arc: string): number => {
    const value = integerOf(parseDer(extension(arc), TAG.INTEGER));
    return value <= 0xff ? value : malformed(`extension ${arc} is above 255`);
  };
  const [line] = String.fromCharCode(...parseDer(extension(PRODUCT_NAME), IA5_STRING).value.subarray(0, 32)).split('-');
  const product = PRODUCTS.get(line!) ?? malformed('another product');
  const { structVersion, hwIdBytes } = layoutOf(product);
  if (byte(STRUCT_VERSION) !== structVersion) malformed(`structure of ${product} is not version ${structVersion}`);
  const hwId = find(HW_ID);
  if ((hwId === undefined) === (find(CSP_ID) === undefined)) malformed('neither of a chip nor of a provider, or both');
  const [bootLoader, tee, snp, microcode] = Object.values(SPL).map(byte) as [number, number, number, number];
  const tcb = { fmc: product === 'Turin' ? byte(FMC_SPL) : 0, bootLoader, tee, snp, microcode };
  return { kind: hwId ? 'VCEK' : 'VLEK', product, tcb, hwId: hwId ? parseHwId(hwId, hwIdBytes) : null };
}

/** AMD's service has written the bytes themselves, and at times a DER OCTET STRING of them; the length tells. */
function parseHwId(value: Uint8Array, bytes: number): Uint8Array {
  const hwId = value.length === bytes ? value : parseDer(value, TAG.OCTET_STRING).value;
  if (hwId.length !== bytes) malformed(`hardware id of ${hwId.length} bytes instead of ${bytes}`);
  const chipId = new Uint8Array(CHIP_ID_BYTES);
  chipId.set(hwId);
  return chipId;
}

/**
 * The report speaks of the chip, product and firmware that the key was certified for, and is signed by this key. Returns
 * it, now authenticated. Throws PLATFORM_MISMATCH or SIGNATURE_INVALID: in this order, for a key belongs to one chip at one
 * firmware level, so that with the certificate of another no signature verifies, and nobody would learn why.
 */
export async function verifySnpSignature(report: SnpReport, chain: SnpChain): Promise<SnpReport> {
  const equal = (expected: string, seen: string): void => {
    if (expected !== seen) refuse('PLATFORM_MISMATCH', expected, seen);
  };
  equal(`signed by ${chain.kind}`, `signed by ${report.signingKey}`);
  equal(chain.product, report.product ?? chain.product);
  equal(writeSnpTcb(chain.tcb), writeSnpTcb(parseSnpTcb(report.reportedTcb, chain.product)));
  // A host may mask the chip id (MASK_CHIP_ID): then the VCEK alone says which chip it is, and nobody else has its key.
  if (chain.hwId && !isZero(report.chipId) && !equalBytes(report.chipId, chain.hwId))
    refuse('PLATFORM_MISMATCH', `chip ${bytesToHex(chain.hwId)}`, `chip ${bytesToHex(report.chipId)}`);
  if (!(await verifySignature(chain.leaf.publicKey, report.signature, report.signed)))
    refuse('SIGNATURE_INVALID', `a report signed by the ${chain.kind}`, 'a signature that does not verify');
  return report;
}

/** Which machine: throws PLATFORM_UNLISTED unless its chip id (128 hex digits) is listed. A masked one is none. */
export function verifySnpChip({ chipId }: SnpReport, { hwId }: SnpChain, listed: readonly string[]): string {
  const seen = hwId ?? chipId;
  if (isZero(seen)) refuse('PLATFORM_UNLISTED', listed.join(' or ') || 'none', 'a masked chip id');
  return verifyListed('PLATFORM_UNLISTED', bytesToHex(seen), listed);
}
