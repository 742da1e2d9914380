/** Signing keys of officers: Ed25519 in PKCS#8 PEM, as `abaton policy key` makes them. */
import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { ConfigurationError, ED25519_TYPE, formatVkey } from '@abaton/verify';
import { readBytes, unusable } from './read-file.ts';

/** The verifier key of that name: what a manifest and --officer name. Throws VKEY_INVALID for a name that cannot stand there. */
export function vkeyOf(name: string, privateKey: KeyObject): string {
  const jwk = createPublicKey(privateKey).export({ format: 'jwk' });
  return formatVkey(name, ED25519_TYPE, Buffer.from(jwk.x!, 'base64url'));
}

/** Names of keys in notes have no space and no + (C2SP signed-note). Throws USAGE with that example. */
export function requireKeyName(name: string, example: string): void {
  if (!/^[^\s+]+$/u.test(name))
    throw new ConfigurationError('USAGE', `--name must be without spaces and +, such as ${example}.`);
}

/** Throws USAGE for a file that is no Ed25519 key. */
export function readKey(file: string): KeyObject {
  try {
    const key = createPrivateKey(readBytes(file));
    if (key.asymmetricKeyType === 'ed25519') return key;
  } catch (cause) {
    if (cause instanceof ConfigurationError) throw cause;
    return unusable(file, 'is no private key in PEM', cause);
  }
  return unusable(file, 'is no Ed25519 key: make one with abaton policy key');
}
