/** Signs C2SP notes in Node: checkpoints of a log, cosignatures of a witness. Which bytes: verify, tlog/signature-types.ts. */
import { createPrivateKey, createPublicKey, type KeyObject, sign } from 'node:crypto';
import {
  encodeSignature,
  formatSignatureLine,
  formatVkey,
  ML_DSA_44_TYPE,
  parseVkey,
  signedMessage,
} from '@abaton/verify';

export interface NoteSigner {
  /** C2SP verifier key. */
  readonly vkey: string;
  /** The signature line (with its newline). `timestampS`: POSIX time of a cosignature; 0 says nothing about time. */
  sign(text: string, timestampS?: number): string;
}

const SEED_BYTES = 32; // RFC 8032 section 5.1.5; FIPS 204 algorithm 1, ξ
/** PrivateKeyInfo of an Ed25519 seed without the seed (RFC 8410 section 7). */
const ED25519_PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');
/** The same for ML-DSA-44 (RFC 9881 section 6, the choice `seed`). */
const ML_DSA_44_PKCS8_PREFIX = Buffer.from('3034020100300b060960864801650304031104228020', 'hex');
/** Where the key begins in a SubjectPublicKeyInfo: RFC 8410 section 4, RFC 9881 section 4. */
const SPKI_PREFIX_BYTES = { ed25519: 12, mlDsa44: 22 };

/**
 * `type`: of the key (verify, signature-types.ts). Throws VKEY_INVALID for a name that cannot stand there,
 * RangeError for a seed of another length.
 */
export function createNoteSigner({ name, type, seed }: { name: string; type: number; seed: Uint8Array }): NoteSigner {
  if (seed.length !== SEED_BYTES) throw new RangeError(`The seed of a signing key has ${SEED_BYTES} bytes.`);
  const isMlDsa = type === ML_DSA_44_TYPE;
  const der = Buffer.concat([isMlDsa ? ML_DSA_44_PKCS8_PREFIX : ED25519_PKCS8_PREFIX, seed]);
  const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  const spki = createPublicKey(key).export({ format: 'der', type: 'spki' });
  return signerOf(name, type, key, spki.subarray(isMlDsa ? SPKI_PREFIX_BYTES.mlDsa44 : SPKI_PREFIX_BYTES.ed25519));
}

function signerOf(name: string, type: number, key: KeyObject, publicKey: Uint8Array): NoteSigner {
  const vkey = formatVkey(name, type, publicKey);
  const parsed = parseVkey(vkey);
  return {
    vkey,
    sign: (text, timestampS = 0) => {
      const signature = sign(null, signedMessage(parsed, text, timestampS), key);
      return formatSignatureLine(parsed, encodeSignature(type, signature, timestampS));
    },
  };
}
