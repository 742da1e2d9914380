/**
 * The signatures of the three PKIs behind evidence, by WebCrypto. Which algorithm is used follows from the key, so that
 * nobody can ask for a weaker one:
 *
 *   P-256  ECDSA with SHA-256 (FIPS 186-5)                               Intel SGX and TDX
 *   P-384  ECDSA with SHA-384                                            NVIDIA; reports of AMD SEV-SNP
 *   RSA    RSASSA-PSS with SHA-384, MGF1 with SHA-384, salt of 48 bytes  certificates of AMD (RFC 8017 section 8.1)
 */
import { bytesToHex, concatBytes, encodeBase64, malformed } from '../formats/bytes.ts';
import { bitStringBytes, DerFields, integerBytes, parseDer, TAG } from '../formats/der.ts';

export type KeyAlgorithm = 'P-256' | 'P-384' | 'RSA';

export interface PublicKey {
  algorithm: KeyAlgorithm;
  /** The uncompressed point (65 or 97 bytes); for RSA the modulus. */
  bytes: Uint8Array;
}

const HASH = { 'P-256': 'SHA-256', 'P-384': 'SHA-384', RSA: 'SHA-384' } as const;
const COORDINATE_BYTES = { 'P-256': 32, 'P-384': 48 } as const;
const SALT_BYTES = 48;
const RSA_EXPONENT = '010001'; // 65537
const RSA_BYTES = { min: 384, max: 512 }; // AMD's keys have 4096 bits; NIST SP 800-57 asks for 3072 beyond 2030

/** `signature` is r‖s, or the number of RSA. False for a key that is none. Never throws on hostile input. */
export async function verifySignature(
  { algorithm, bytes }: PublicKey,
  signature: Uint8Array,
  message: Uint8Array,
): Promise<boolean> {
  const { subtle } = globalThis.crypto;
  const hash = HASH[algorithm];
  const [signed, said] = [new Uint8Array(message), new Uint8Array(signature)];
  try {
    if (algorithm === 'RSA') {
      const jwk = { kty: 'RSA', n: base64Url(bytes), e: base64Url(Uint8Array.of(1, 0, 1)) };
      const key = await subtle.importKey('jwk', jwk, { name: 'RSA-PSS', hash }, false, ['verify']);
      return await subtle.verify({ name: 'RSA-PSS', saltLength: SALT_BYTES }, key, said, signed);
    }
    const curve = { name: 'ECDSA', namedCurve: algorithm };
    const key = await subtle.importKey('raw', new Uint8Array(bytes), curve, false, ['verify']);
    return await subtle.verify({ name: 'ECDSA', hash }, key, said, signed);
  } catch (error) {
    if (error instanceof DOMException) return false; // not a point of the curve, not a modulus
    throw error;
  }
}

const base64Url = (bytes: Uint8Array): string =>
  encodeBase64(bytes).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');

/** DER of AlgorithmIdentifiers (RFC 5758 section 3.2, RFC 4055 section 3.1). AMD writes the default trailer field, or not. */
const SIGNATURE_ALGORITHMS = new Map<string, KeyAlgorithm>([
  ['300a06082a8648ce3d040302', 'P-256'],
  ['300a06082a8648ce3d040303', 'P-384'],
  [
    '304106092a864886f70d01010a3034a00f300d06096086480165030402020500a11c301a06092a864886f70d010108300d06096086480165030402020500a203020130',
    'RSA',
  ],
  [
    '304606092a864886f70d01010a3039a00f300d06096086480165030402020500a11c301a06092a864886f70d010108300d06096086480165030402020500a203020130a303020101',
    'RSA',
  ],
]);

/** Which key can have signed. Throws MalformedError for every other algorithm. */
export const parseSignatureAlgorithm = (fields: DerFields): KeyAlgorithm =>
  SIGNATURE_ALGORITHMS.get(bytesToHex(fields.next(TAG.SEQUENCE).raw)) ?? malformed('signature algorithm is unknown');

/** The signature of a certificate in the form that WebCrypto takes; it would take a DER signature for a wrong one. */
export const parseSignature = (algorithm: KeyAlgorithm, bits: Uint8Array): Uint8Array =>
  algorithm === 'RSA' ? bits : parseEcdsaSignature(bits, COORDINATE_BYTES[algorithm]);

/** `Ecdsa-Sig-Value` (RFC 3279 section 2.2.3) to r‖s. */
function parseEcdsaSignature(der: Uint8Array, coordinateBytes: number): Uint8Array {
  const fields = new DerFields(parseDer(der, TAG.SEQUENCE).value);
  const parts = [fields.next(TAG.INTEGER), fields.next(TAG.INTEGER)].map((integer) => {
    const bytes = integerBytes(integer);
    if (bytes.length > coordinateBytes) malformed('signature: number above the order of the curve');
    return concatBytes(new Uint8Array(coordinateBytes - bytes.length), bytes);
  });
  fields.end();
  return concatBytes(...parts);
}

// AlgorithmIdentifiers of SubjectPublicKeyInfo: RFC 5480 section 2.1, RFC 3279 section 2.3.1.
const KEY_ALGORITHMS = new Map<string, KeyAlgorithm>([
  ['301306072a8648ce3d020106082a8648ce3d030107', 'P-256'],
  ['301006072a8648ce3d020106052b81040022', 'P-384'],
  ['300d06092a864886f70d0101010500', 'RSA'],
]);
/** id-RSASSA-PSS, with or without parameters (RFC 4055 section 3.1): WebCrypto refuses such a key, so its numbers are given. */
const RSASSA_PSS = '06092a864886f70d01010a';
const UNCOMPRESSED = 4; // SEC 1 section 2.3.3

/** Throws MalformedError. */
export function parsePublicKey(spki: Uint8Array): PublicKey {
  const fields = new DerFields(parseDer(spki, TAG.SEQUENCE).value);
  const identifier = fields.next(TAG.SEQUENCE);
  const bits = bitStringBytes(fields.next(TAG.BIT_STRING));
  fields.end();
  const algorithm =
    KEY_ALGORITHMS.get(bytesToHex(identifier.raw)) ??
    (bytesToHex(identifier.value).startsWith(RSASSA_PSS) ? 'RSA' : malformed('public key algorithm is unknown'));
  if (algorithm === 'RSA') return { algorithm, bytes: parseRsaModulus(bits) };
  if (bits[0] !== UNCOMPRESSED || bits.length !== 1 + 2 * COORDINATE_BYTES[algorithm])
    malformed(`public key is not an uncompressed ${algorithm} point`);
  return { algorithm, bytes: bits };
}

/** RSAPublicKey (RFC 8017 appendix A.1.1). */
function parseRsaModulus(der: Uint8Array): Uint8Array {
  const fields = new DerFields(parseDer(der, TAG.SEQUENCE).value);
  const modulus = integerBytes(fields.next(TAG.INTEGER));
  const exponent = bytesToHex(integerBytes(fields.next(TAG.INTEGER)));
  fields.end();
  if (modulus.length < RSA_BYTES.min || modulus.length > RSA_BYTES.max || exponent !== RSA_EXPONENT)
    malformed('RSA key is not of 3072 to 4096 bits with exponent 65537');
  return modulus;
}

/** A bare P-256 or P-384 point, x‖y, as quotes carry it. */
export const ecPoint = (algorithm: 'P-256' | 'P-384', xy: Uint8Array): PublicKey => ({
  algorithm,
  bytes: concatBytes(Uint8Array.of(UNCOMPRESSED), xy),
});
