/**
 * dstack's key derivation and its signature chain (dstack ra-tls/src/kdf.rs, kms/src/crypto.rs,
 * guest-agent/src/rpc_service.rs): KMS root → app key → key of a path. Neither purpose nor algorithm changes the key
 * bytes; they only enter what is signed.
 */
import { hkdfSync } from 'node:crypto';
import { ed25519 } from '@noble/curves/ed25519.js';
import { secp256k1 } from '@noble/curves/secp256k1.js';
import { keccak_256 } from '@noble/hashes/sha3.js';

export type SignAlgorithm = 'secp256k1' | 'secp256k1_prehashed' | 'ed25519';

export type Kms = ReturnType<typeof createKms>;

/** The names that callers may use; `k256` and the empty name mean secp256k1. */
export function parseAlgorithm(name: string): SignAlgorithm {
  if (name === '' || name === 'k256' || name === 'secp256k1') return 'secp256k1';
  if (name === 'secp256k1_prehashed' || name === 'ed25519') return name;
  throw new TypeError('Unsupported algorithm');
}

const hkdf = (key: Uint8Array, ...context: (Uint8Array | string)[]): Buffer =>
  Buffer.from(hkdfSync('sha256', key, 'RATLS', Buffer.concat(context.map((part) => Buffer.from(part))), 32));

/** Recoverable signature over keccak256(message), 65 bytes: r‖s‖recovery id. */
function signRecoverable(key: Uint8Array, ...message: (Uint8Array | string)[]): Buffer {
  const digest = keccak_256(Buffer.concat(message.map((part) => Buffer.from(part))));
  const signature = secp256k1.sign(digest, key, { prehash: false, format: 'recovered' });
  return Buffer.concat([signature.subarray(1), signature.subarray(0, 1)]); // the library puts the recovery id first
}

/** The KMS of one app. `root` is a secp256k1 secret key of 32 bytes. */
export function createKms(root: Uint8Array, appId: Uint8Array) {
  const appKey = hkdf(root, appId, 'app-key');
  const appPublicKey = secp256k1.getPublicKey(appKey, true);
  const appSignature = signRecoverable(root, 'dstack-kms-issued:', appId, appPublicKey);

  /** 32 bytes, and who vouches: [public key signed by the app key, app key signed by the KMS root]. */
  const getKey = (path: string, purpose: string, algorithm: SignAlgorithm) => {
    const key = hkdf(appKey, path);
    const publicKey = Buffer.from(
      algorithm === 'ed25519' ? ed25519.getPublicKey(key) : secp256k1.getPublicKey(key, true),
    );
    const keySignature = signRecoverable(appKey, `${purpose}:${publicKey.toString('hex')}`);
    return { key, publicKey, signatureChain: [keySignature, appSignature] };
  };
  const prehash = (algorithm: SignAlgorithm, data: Buffer): boolean => {
    if (algorithm === 'secp256k1_prehashed' && data.length !== 32)
      throw new RangeError(`Pre-hashed signing requires a 32-byte digest, but received ${data.length} bytes`);
    return algorithm === 'secp256k1';
  };
  return {
    /** Compressed secp256k1 key that ends every signature chain. */
    rootPublicKey: Buffer.from(secp256k1.getPublicKey(root, true)),
    getKey,
    /** With the key of path "vms". Throws RangeError unless pre-hashed data has 32 bytes. */
    sign(algorithm: SignAlgorithm, data: Buffer) {
      const { key, publicKey, signatureChain } = getKey('vms', 'signing', algorithm);
      const signature = Buffer.from(
        algorithm === 'ed25519'
          ? ed25519.sign(data, key)
          : secp256k1.sign(data, key, { prehash: prehash(algorithm, data) }),
      );
      return { signature, signatureChain: [signature, ...signatureChain], publicKey };
    },
    /** Throws when the key or the signature is malformed. */
    verify(algorithm: SignAlgorithm, data: Buffer, signature: Buffer, publicKey: Buffer): boolean {
      return algorithm === 'ed25519'
        ? ed25519.verify(signature, data, publicKey)
        : secp256k1.verify(signature, data, publicKey, { prehash: prehash(algorithm, data) });
    },
  };
}
