/**
 * What a signature in a note is a signature of, by the type byte of its key: Ed25519 over the text (C2SP signed-note, type
 * 0x01), and the two timestamped cosignatures of checkpoints (C2SP tlog-cosignature, types 0x04 and 0x06). Both logs and
 * witnesses sign with ML-DSA-44 (FIPS 204) in the form of 0x06; a log leaves the time at zero.
 */
import { ed25519 } from '@noble/curves/ed25519.js';
import { ml_dsa44 } from '@noble/post-quantum/ml-dsa.js';
import { concatBytes, utf8ToBytes } from '../formats/bytes.ts';
import { parseCheckpoint } from './checkpoint.ts';

export const ED25519_TYPE = 0x01;
export const ED25519_COSIGNATURE_TYPE = 0x04;
export const ML_DSA_44_TYPE = 0x06;

/** Bytes of public keys and signatures: RFC 8032 section 5.1, FIPS 204 table 2. */
const ED25519 = { publicKeyBytes: 32, signatureBytes: 64 };
const ML_DSA_44 = { publicKeyBytes: 1312, signatureBytes: 2420 };
const TIMESTAMP_BYTES = 8;
const LABEL = utf8ToBytes('subtree/v1\n\0');

/** Whether such a key may be trusted at all. Engines differ on Ed25519 keys of small order, so those are refused. */
export function isUsableKey(type: number, publicKey: Uint8Array): boolean {
  if (type === ML_DSA_44_TYPE) return publicKey.length === ML_DSA_44.publicKeyBytes;
  if (type !== ED25519_TYPE && type !== ED25519_COSIGNATURE_TYPE) return false;
  try {
    return publicKey.length === ED25519.publicKeyBytes && !ed25519.Point.fromBytes(publicKey).isSmallOrder();
  } catch {
    return false;
  }
}

/**
 * The bytes that a key of that name and type signs for a note's `text`; `timestampS` is POSIX time, and counts for
 * cosignatures alone. Throws CHECKPOINT_MALFORMED when a cosignature is asked for what is no checkpoint.
 */
export function signedMessage(key: { name: string; type: number }, text: string, timestampS: number): Uint8Array {
  if (key.type === ED25519_TYPE) return utf8ToBytes(text);
  const { origin, size, root } = parseCheckpoint(text);
  if (key.type === ED25519_COSIGNATURE_TYPE) return utf8ToBytes(`cosignature/v1\ntime ${timestampS}\n${text}`);
  return concatBytes(LABEL, opaque(key.name), uint64(timestampS), opaque(origin), uint64(0), uint64(size), root);
}

/** The signature as it stands in a note: a cosignature begins with its time. */
export const encodeSignature = (type: number, signature: Uint8Array, timestampS: number): Uint8Array =>
  type === ED25519_TYPE ? signature : concatBytes(uint64(timestampS), signature);

/** Null when it does not verify; else its time (POSIX seconds), which is null for signatures without one. */
export function verifySignature(
  key: { name: string; type: number; publicKey: Uint8Array },
  text: string,
  encoded: Uint8Array,
): { timestampS: number | null } | null {
  if (key.type === ED25519_TYPE)
    return isEd25519(encoded, utf8ToBytes(text), key.publicKey) ? { timestampS: null } : null;
  if (encoded.length < TIMESTAMP_BYTES) return null;
  const time = new DataView(encoded.buffer, encoded.byteOffset).getBigUint64(0);
  if (time > BigInt(Number.MAX_SAFE_INTEGER)) return null; // the year 285 million; the format ends at 2^63 - 1
  const timestampS = Number(time);
  const signature = encoded.subarray(TIMESTAMP_BYTES);
  try {
    const message = signedMessage(key, text, timestampS);
    const isValid = key.type === ML_DSA_44_TYPE ? isMlDsa44 : isEd25519;
    return isValid(signature, message, key.publicKey) ? { timestampS: timestampS || null } : null;
  } catch {
    return null; // the text is no checkpoint: nobody can have cosigned it
  }
}

/** RFC 8032 §5.1.7, strict: no small-order key, no non-canonical encoding. */
const isEd25519 = (signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean =>
  signature.length === ED25519.signatureBytes && ed25519.verify(signature, message, publicKey, { zip215: false });

const isMlDsa44 = (signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean =>
  signature.length === ML_DSA_44.signatureBytes && ml_dsa44.verify(signature, message, publicKey);

/** opaque<1..2^8-1> of RFC 8446 section 3.4: longer names cannot be signed. */
function opaque(text: string): Uint8Array {
  const bytes = utf8ToBytes(text);
  if (bytes.length === 0 || bytes.length > 255) throw new RangeError('a name of 1 to 255 bytes');
  return concatBytes(Uint8Array.of(bytes.length), bytes);
}

function uint64(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value));
  return bytes;
}
