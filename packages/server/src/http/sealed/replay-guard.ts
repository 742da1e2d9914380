/**
 * Remembers which encapsulated keys one HPKE key has taken, so that each is taken once (RFC 9458 section 6.5). In memory
 * only, and that is enough: the private key dies with the process, and what was sealed to it opens nowhere afterwards.
 */
import { createHmac, randomBytes } from 'node:crypto';

export interface ReplayGuard {
  /** True when it holds as many as it may: then its key takes no more. */
  isFull(): boolean;
  /** Adds one. False when it is there already. */
  add(encapsulatedKey: Uint8Array): boolean;
}

const FIRST_SLOTS = 1024;

/**
 * A hash table of 64-bit digests, at most half full: 16 MiB for 2^20. The digests are keyed, so nobody can look for two
 * that collide; by chance a new one is taken for an old one once in 2^44, and is then refused.
 */
export function createReplayGuard(maxEntries: number): ReplayGuard {
  const key = randomBytes(32);
  let slots = new BigUint64Array(FIRST_SLOTS); // 0: free
  let entries = 0;

  const insert = (digest: bigint): boolean => {
    const mask = slots.length - 1;
    let at = Number(digest & BigInt(mask));
    for (; slots[at] !== 0n; at = (at + 1) & mask) if (slots[at] === digest) return false;
    slots[at] = digest;
    return true;
  };
  const grow = () => {
    const full = slots;
    slots = new BigUint64Array(full.length * 2);
    for (const digest of full) if (digest !== 0n) insert(digest);
  };
  return {
    isFull: () => entries >= maxEntries,
    add(encapsulatedKey) {
      const digest = createHmac('sha256', key).update(encapsulatedKey).digest().readBigUInt64LE() || 1n;
      if (!insert(digest)) return false;
      entries++;
      if (entries * 2 > slots.length) grow();
      return true;
    },
  };
}
