/**
 * Certificates of AMD (VCEK Certificate and KDS Interface Specification, 57230): the key of one chip at one firmware level
 * (VCEK, under the ASK), or of one cloud provider at one firmware level (VLEK, under the ASVK), up to the product's root
 * (ARK). P-384 keys, signed with RSASSA-PSS.
 */
import { reading, refuse } from '../errors.ts';
import { bytesToHex, equalBytes, malformed } from '../formats/bytes.ts';
import { integerOf, parseDer } from '../formats/der.ts';
import { parsePemChain } from '../formats/pem.ts';
import { verifySignature } from '../pki/signature.ts';
import { type Certificate, parseCertificate, verifyChain } from '../pki/x509.ts';
import { SNP_PRODUCTS, type SnpProduct } from '../policy.ts';
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
  /** Null in a VLEK, which stands for a provider and not for a chip. */
  hwId: Uint8Array | null;
}

const AMD = '1.3.6.1.4.1.3704.1'; // section 3, "VCEK X.509 extensions"
const IA5_STRING = 0x16;
const INTEGER = 0x02;
const SPL = { bootLoader: '3.1', tee: '3.2', snp: '3.3', microcode: '3.8' } as const;
const FMC_SPL = '3.9'; // Turin
const HW_ID = '4';
const HW_ID_BYTES = [64, 8]; // Turin has 8

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
  const extension = (arc: string) => extensions.get(`${AMD}.${arc}`)?.value ?? malformed(`extension ${arc} is absent`);
  const svn = (arc: string): number => {
    const value = integerOf(parseDer(extension(arc), INTEGER));
    return value <= 0xff ? value : malformed(`extension ${arc} is above 255`);
  };
  const name = String.fromCharCode(...parseDer(extension('2'), IA5_STRING).value); // "Milan-B0"
  const product =
    SNP_PRODUCTS.find((each) => name === each || name.startsWith(`${each}-`)) ?? malformed('another product');
  const hwId = extensions.get(`${AMD}.${HW_ID}`)?.value ?? null; // the bytes themselves, no DER
  if (hwId && !HW_ID_BYTES.includes(hwId.length)) malformed(`hardware id of ${hwId.length} bytes`);
  const [bootLoader, tee, snp, microcode] = Object.values(SPL).map(svn) as [number, number, number, number];
  const fmc = product === 'Turin' ? svn(FMC_SPL) : 0;
  return { kind: hwId ? 'VCEK' : 'VLEK', product, hwId, tcb: { fmc, bootLoader, tee, snp, microcode } };
}

/**
 * The report is signed by this key, and speaks of the chip, product and firmware that the key was certified for. Returns
 * it, now authenticated. Throws SIGNATURE_INVALID or PLATFORM_MISMATCH.
 */
export async function verifySnpSignature(report: SnpReport, chain: SnpChain): Promise<SnpReport> {
  if (!(await verifySignature(chain.leaf.publicKey, report.signature, report.signed)))
    refuse('SIGNATURE_INVALID', `a report signed by the ${chain.kind}`, 'a signature that does not verify');
  const equal = (expected: string, seen: string): void => {
    if (expected !== seen) refuse('PLATFORM_MISMATCH', expected, seen);
  };
  equal(`signed by ${chain.kind}`, `signed by ${report.signingKey}`);
  equal(chain.product, report.product ?? chain.product);
  equal(writeSnpTcb(chain.tcb), writeSnpTcb(parseSnpTcb(report.reportedTcb, chain.product)));
  // A host can mask the chip id; a report without it cannot be told from one of another chip of the same level.
  if (chain.hwId && !equalBytes(report.chipId, padded(chain.hwId)))
    refuse('PLATFORM_MISMATCH', `chip ${bytesToHex(chain.hwId)}`, `chip ${bytesToHex(report.chipId)}`);
  return report;
}

function padded(hwId: Uint8Array): Uint8Array {
  const chipId = new Uint8Array(64);
  chipId.set(hwId);
  return chipId;
}
