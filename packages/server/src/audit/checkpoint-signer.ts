/** Signs checkpoints as C2SP signed notes. A log may have several signers; each adds its line. */
import { createPrivateKey, createPublicKey, sign } from 'node:crypto';
import { ED25519_TYPE, formatSignatureLine, formatVkey, parseVkey } from '@abaton/verify';
import { errorOf } from '../errors.ts';

export interface CheckpointSigner {
  /** C2SP verifier key. */
  readonly vkey: string;
  /** The signature line (with its newline) for a checkpoint text. */
  sign(text: string): string;
}

/** PrivateKeyInfo of an Ed25519 seed without the seed (RFC 8410 §7). */
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');
const SEED_BYTES = 32;

/** Ed25519 (RFC 8032) from a 32-byte seed. `name` is the log's origin. Throws SETTING_INVALID for another length. */
export function createEd25519Signer(name: string, seed: Uint8Array): CheckpointSigner {
  if (seed.length !== SEED_BYTES) throw errorOf('SETTING_INVALID', `An Ed25519 seed has ${SEED_BYTES} bytes.`);
  const key = createPrivateKey({ key: Buffer.concat([PKCS8_PREFIX, seed]), format: 'der', type: 'pkcs8' });
  // SubjectPublicKeyInfo ends with the 32 bytes of the key (RFC 8410 §4).
  const publicKey = createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(-32);
  const vkey = formatVkey(name, ED25519_TYPE, publicKey);
  const parsed = parseVkey(vkey);
  return { vkey, sign: (text) => formatSignatureLine(parsed, sign(null, Buffer.from(text), key)) };
}
