/**
 * Small sealed values: wrapped keys and row contents. AES-256-GCM (NIST SP 800-38D) under a random nonce.
 *
 * | offset | length | meaning |
 * |---:|---:|---|
 * | 0 | 1 | version, 1 |
 * | 1 | 12 | nonce, random (SP 800-38D section 8.2.2: at most 2^32 values per key, far above any patient's) |
 * | 13 | n | ciphertext |
 * | 13 + n | 16 | tag |
 *
 * Additional data: JSON of [label, version, ...context], so that a value opens only in the place it was sealed for.
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import { errorOf } from '../errors.ts';

const VERSION = 1;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const OVERHEAD_BYTES = 1 + NONCE_BYTES + TAG_BYTES;

/** All keys are AES-256 or HMAC-SHA-256 keys. */
export const KEY_BYTES = 32;

/** HKDF-SHA256 (RFC 5869) to one 32-byte key. `info` names the purpose and its version. */
export function deriveKey(secret: Uint8Array, info: string, salt: Uint8Array = new Uint8Array()): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', secret, salt, info, KEY_BYTES));
}

/** JSON of an array of strings is injective: no two contexts give the same bytes. */
const additionalData = (context: readonly string[]): Buffer =>
  Buffer.from(JSON.stringify(['abaton/envelope', VERSION, ...context]));

export function sealEnvelope(key: Uint8Array, context: readonly string[], plaintext: Uint8Array): Uint8Array {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(additionalData(context));
  return Buffer.concat([Uint8Array.of(VERSION), nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
}

/** Throws SEAL_BROKEN when anything differs from what was sealed: a bit, the length, the context or the key. */
export function openEnvelope(key: Uint8Array, context: readonly string[], sealed: Uint8Array): Uint8Array {
  const broken = () => errorOf('SEAL_BROKEN', `A sealed value of ${sealed.length} bytes does not open.`);
  if (sealed.length < OVERHEAD_BYTES || sealed[0] !== VERSION) throw broken();
  const body = sealed.subarray(1 + NONCE_BYTES, -TAG_BYTES);
  const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(1, 1 + NONCE_BYTES))
    .setAAD(additionalData(context))
    .setAuthTag(sealed.subarray(-TAG_BYTES));
  try {
    return Buffer.concat([decipher.update(body), decipher.final()]);
  } catch {
    throw broken();
  }
}
