/** X.509 certificates and chains (RFC 5280), as far as Intel, AMD, NVIDIA and RA-TLS use them. */
import { refuse } from '../errors.ts';
import { equalBytes, malformed } from '../formats/bytes.ts';
import {
  bitStringBytes,
  DerFields,
  defaultFalse,
  integerOf,
  oidOf,
  parseDer,
  parseDerList,
  serialOf,
  TAG,
  timeOf,
} from '../formats/der.ts';
import {
  type KeyAlgorithm,
  type PublicKey,
  parsePublicKey,
  parseSignature,
  parseSignatureAlgorithm,
  verifySignature,
} from './signature.ts';

/** The outer form of certificates and lists: what was signed, and the signature in the form of WebCrypto. */
export interface Signed {
  tbs: Uint8Array;
  /** What key its algorithm asks for. */
  algorithm: KeyAlgorithm;
  signature: Uint8Array;
}

export interface Certificate extends Signed {
  /** Lower-case hex. */
  serial: string;
  /** Names as encoded: compared byte by byte. */
  issuer: Uint8Array;
  subject: Uint8Array;
  notBeforeMs: number;
  notAfterMs: number;
  /** SubjectPublicKeyInfo, and the key in it. */
  spki: Uint8Array;
  publicKey: PublicKey;
  ca: boolean;
  /** How many CAs may stand below this one. */
  maxPathLength: number;
  /** Null: it does not say, which restricts nothing (section 4.2.1.3). */
  keyUsage: ReadonlySet<KeyUsage> | null;
  extensions: ReadonlyMap<string, Extension>;
}

export type KeyUsage = keyof typeof KEY_USAGE_BIT;

export interface Extension {
  critical: boolean;
  value: Uint8Array;
}

const BASIC_CONSTRAINTS = '2.5.29.19';
const KEY_USAGE = '2.5.29.15';
const KEY_USAGE_BIT = { digitalSignature: 0x80, keyCertSign: 0x04, cRLSign: 0x02 } as const; // first octet, RFC 5280 section 4.2.1.3
const V3 = 2;

/** SEQUENCE { to be signed, algorithm, signature }. `fields` reads what was signed; its algorithm must be the outer one. */
export function parseSigned(der: Uint8Array): { signed: Signed; fields: DerFields } {
  const outer = new DerFields(parseDer(der, TAG.SEQUENCE).value);
  const tbs = outer.next(TAG.SEQUENCE);
  const algorithm = parseSignatureAlgorithm(outer);
  const signature = parseSignature(algorithm, bitStringBytes(outer.next(TAG.BIT_STRING)));
  outer.end();
  return { signed: { tbs: tbs.raw, algorithm, signature }, fields: new DerFields(tbs.value) };
}

/** The algorithm inside what was signed (section 4.1.2.3). */
export function parseInnerAlgorithm(fields: DerFields, { algorithm }: Signed): void {
  if (parseSignatureAlgorithm(fields) !== algorithm) malformed('the two signature algorithms differ');
}

/** False unless `issuer` has signed, with the algorithm of its key. */
export const isSignedBy = async ({ algorithm, signature, tbs }: Signed, issuer: PublicKey): Promise<boolean> =>
  algorithm === issuer.algorithm && verifySignature(issuer, signature, tbs);

/** Throws MalformedError. Judges nothing but the form. */
export function parseCertificate(der: Uint8Array): Certificate {
  const { signed, fields } = parseSigned(der);
  const version = integerOf(parseDer(fields.next(TAG.CONTEXT_0).value, TAG.INTEGER));
  if (version !== V3) malformed('certificate is not X.509 v3');
  const serial = serialOf(fields.next(TAG.INTEGER));
  parseInnerAlgorithm(fields, signed);
  const issuer = fields.next(TAG.SEQUENCE).raw;
  const validity = new DerFields(fields.next(TAG.SEQUENCE).value);
  const notBeforeMs = timeOf(validity);
  const notAfterMs = timeOf(validity);
  validity.end();
  const subject = fields.next(TAG.SEQUENCE).raw;
  const spki = fields.next(TAG.SEQUENCE).raw;
  const extensions = parseExtensions(parseDer(fields.next(TAG.CONTEXT_3).value, TAG.SEQUENCE).value);
  fields.end();
  return {
    ...signed,
    ...{ serial, issuer, subject, notBeforeMs, notAfterMs, spki, extensions },
    publicKey: parsePublicKey(spki),
    ...parseBasicConstraints(extensions.get(BASIC_CONSTRAINTS)?.value),
    keyUsage: parseKeyUsage(extensions.get(KEY_USAGE)?.value),
  };
}

/** By object identifier. An extension that occurs twice is malformed (RFC 5280 section 4.2). */
export function parseExtensions(list: Uint8Array): Map<string, Extension> {
  const extensions = new Map<string, Extension>();
  for (const { value } of parseDerList(list, TAG.SEQUENCE)) {
    const fields = new DerFields(value);
    const oid = oidOf(fields.next(TAG.OID));
    const critical = defaultFalse(fields.optional(TAG.BOOLEAN));
    if (extensions.has(oid)) malformed(`extension ${oid} occurs twice`);
    extensions.set(oid, { critical, value: fields.next(TAG.OCTET_STRING).value });
    fields.end();
  }
  return extensions;
}

/**
 * Verifies a chain up to and including its root, except for dates: names, signatures, critical extensions, basic
 * constraints, path length, key usage (RFC 5280 section 6.1). `first` is what the chain starts with. Whether the root
 * is trusted is not asked here. Throws CERTIFICATE_INVALID.
 */
export async function verifyChain(chain: readonly Certificate[], first: 'leaf' | 'ca'): Promise<void> {
  for (const [index, certificate] of chain.entries()) {
    const issuer = chain[index + 1] ?? certificate; // the root signs itself
    const where = `certificate ${index} of the chain`;
    if (!equalBytes(certificate.issuer, issuer.subject))
      refuse('CERTIFICATE_INVALID', `${where} issued by the next one`, 'another issuer name');
    for (const [oid, { critical }] of certificate.extensions)
      if (critical && oid !== BASIC_CONSTRAINTS && oid !== KEY_USAGE)
        refuse('CERTIFICATE_INVALID', `${where} with known critical extensions`, oid);
    const isLeaf = index === 0 && first === 'leaf';
    const { ca, maxPathLength, keyUsage } = certificate;
    if (ca === isLeaf) refuse('CERTIFICATE_INVALID', `${where} ${isLeaf ? 'not a CA' : 'a CA'}`, `CA ${ca}`);
    const casBelow = first === 'leaf' ? index - 1 : index;
    if (casBelow > maxPathLength)
      refuse('CERTIFICATE_INVALID', `at most ${maxPathLength} CAs below ${where}`, `${casBelow}`);
    const use = isLeaf ? 'digitalSignature' : 'keyCertSign';
    if (isLeaf ? keyUsage?.has(use) === false : !keyUsage?.has(use))
      refuse('CERTIFICATE_INVALID', `${where} with key usage ${use}`, 'none');
    if (!(await isSignedBy(certificate, issuer.publicKey)))
      refuse('CERTIFICATE_INVALID', `${where} signed by its issuer`, 'a signature that does not verify');
  }
}

/** Throws CERTIFICATE_INVALID outside the validity of any of the chain. */
export function verifyDates(chain: readonly Certificate[], nowMs: number): void {
  for (const { notBeforeMs, notAfterMs } of chain)
    if (!isWithin(nowMs, notBeforeMs, notAfterMs))
      refuse(
        'CERTIFICATE_INVALID',
        `a certificate valid at ${isoOf(nowMs)}`,
        `${isoOf(notBeforeMs)} to ${isoOf(notAfterMs)}`,
      );
}

/** Also false for a time that is not a number. */
export const isWithin = (nowMs: number, fromMs: number, untilMs: number): boolean =>
  nowMs >= fromMs && nowMs <= untilMs;

export const isoOf = (ms: number): string => new Date(ms).toISOString();

function parseBasicConstraints(value: Uint8Array | undefined): Pick<Certificate, 'ca' | 'maxPathLength'> {
  if (!value) return { ca: false, maxPathLength: Number.POSITIVE_INFINITY };
  const fields = new DerFields(parseDer(value, TAG.SEQUENCE).value);
  const ca = defaultFalse(fields.optional(TAG.BOOLEAN));
  const pathLength = fields.optional(TAG.INTEGER);
  fields.end();
  return { ca, maxPathLength: pathLength ? integerOf(pathLength) : Number.POSITIVE_INFINITY };
}

function parseKeyUsage(value: Uint8Array | undefined): Set<KeyUsage> | null {
  if (!value) return null;
  const octet = parseDer(value, TAG.BIT_STRING).value[1] ?? 0;
  const uses = Object.keys(KEY_USAGE_BIT) as KeyUsage[];
  return new Set(uses.filter((use) => octet & KEY_USAGE_BIT[use]));
}
