/**
 * Names and keys of the yearly logs. A log is called `<family>/<year>`, and each has keys of its own:
 * HKDF(audit log key, 'abaton/audit-log/v1/<year>/<algorithm>'). Every checkpoint is signed with Ed25519 and ML-DSA-44 of its
 * year, and with Ed25519 of the years before it that are kept, so that whoever knows the key of any of them can verify what
 * follows.
 */
import { createNoteSigner, type NoteSigner } from '@abaton/client';
import { ED25519_TYPE, ML_DSA_44_TYPE } from '@abaton/verify';
import { deriveKey } from '../vault/envelope.ts';

export interface LogKeys {
  /** Name of that year's log. */
  originOf(year: number): string;
  /** Who signs its checkpoints: Ed25519 and ML-DSA-44 of the year, then Ed25519 of `earlier` years, newest first. */
  signersOf(year: number, earlier: readonly number[]): NoteSigner[];
}

const ALGORITHMS = { ed25519: ED25519_TYPE, 'ml-dsa-44': ML_DSA_44_TYPE } as const;

/** `family`: a schema-less URL such as `abaton/<app id>/audit`. `seed`: 32 bytes, derived from the TEE. */
export function createLogKeys(family: string, seed: Uint8Array): LogKeys {
  const originOf = (year: number) => `${family}/${year}`;
  const signer = (year: number, algorithm: keyof typeof ALGORITHMS) =>
    createNoteSigner({
      name: originOf(year),
      type: ALGORITHMS[algorithm],
      seed: deriveKey(seed, `abaton/audit-log/v1/${year}/${algorithm}`),
    });
  return {
    originOf,
    signersOf: (year, earlier) => [
      signer(year, 'ed25519'),
      signer(year, 'ml-dsa-44'),
      ...earlier.map((before) => signer(before, 'ed25519')),
    ],
  };
}
