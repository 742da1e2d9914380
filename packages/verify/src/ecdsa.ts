/** ECDSA on NIST P-256 with SHA-256 (FIPS 186-5), by WebCrypto: the only signature algorithm of Intel DCAP. */
import { bytesToHex, concatBytes, malformed } from './bytes.ts';
import { DerFields, integerBytes, parseDer, TAG } from './der.ts';

const P256 = { name: 'ECDSA', namedCurve: 'P-256' };
const COORDINATE_BYTES = 32;

/** `publicKey` is the uncompressed point (65 bytes), `signature` is r‖s (64 bytes). Never throws on hostile input. */
export async function verifyP256(publicKey: Uint8Array, signature: Uint8Array, message: Uint8Array): Promise<boolean> {
  const { subtle } = globalThis.crypto;
  let key: CryptoKey;
  try {
    key = await subtle.importKey('raw', new Uint8Array(publicKey), P256, false, ['verify']);
  } catch {
    return false; // not a point of the curve
  }
  const algorithm = { name: 'ECDSA', hash: 'SHA-256' };
  return subtle.verify(algorithm, key, new Uint8Array(signature), new Uint8Array(message));
}

/** `Ecdsa-Sig-Value` (RFC 3279 section 2.2.3) to r‖s, the form of WebCrypto, which takes a DER signature for a wrong one. */
export function parseEcdsaSignature(der: Uint8Array): Uint8Array {
  const fields = new DerFields(parseDer(der, TAG.SEQUENCE).value);
  const parts = [fields.next(TAG.INTEGER), fields.next(TAG.INTEGER)].map((integer) => {
    const bytes = integerBytes(integer);
    if (bytes.length > COORDINATE_BYTES) malformed('signature: number above the order of P-256');
    return concatBytes(new Uint8Array(COORDINATE_BYTES - bytes.length), bytes);
  });
  fields.end();
  return concatBytes(...parts);
}

/** SubjectPublicKeyInfo of an uncompressed P-256 key up to the point (RFC 5480): 26 fixed bytes. */
const P256_SPKI_PREFIX = '3059301306072a8648ce3d020106082a8648ce3d030107034200';

export function parseP256Spki(spki: Uint8Array): Uint8Array {
  const [prefix, point] = [spki.subarray(0, 26), spki.subarray(26)];
  if (bytesToHex(prefix) !== P256_SPKI_PREFIX) malformed('public key is not an uncompressed P-256 point');
  return point;
}
