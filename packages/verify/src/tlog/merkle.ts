/**
 * Merkle trees of RFC 6962 / RFC 9162 §2.1 with SHA-256.
 * MTH({}) = SHA-256(""), leaf = SHA-256(0x00 ‖ entry), node = SHA-256(0x01 ‖ left ‖ right).
 * Sizes and indexes are safe integers: 2^53 entries are 285,000 years at 1,000 a second.
 */
import { sha256 } from '@noble/hashes/sha2.js';
import { concatBytes, equalBytes } from '../formats/bytes.ts';
import { refuseLog } from './codes.ts';

export const HASH_BYTES = 32;
export const EMPTY_ROOT: Uint8Array = sha256(new Uint8Array());

const LEAF = Uint8Array.of(0);
const NODE = Uint8Array.of(1);

export const leafHash = (entry: Uint8Array): Uint8Array => sha256(concatBytes(LEAF, entry));
export const nodeHash = (left: Uint8Array, right: Uint8Array): Uint8Array => sha256(concatBytes(NODE, left, right));

/** The root over a list of leaf hashes. */
export function rootOf(hashes: readonly Uint8Array[]): Uint8Array {
  if (hashes.length === 0) return EMPTY_ROOT;
  if (hashes.length === 1) return hashes[0]!;
  const split = splitPoint(hashes.length);
  return nodeHash(rootOf(hashes.slice(0, split)), rootOf(hashes.slice(split)));
}

/** The largest power of two below `n` (RFC 9162 §2.1.1); n ≥ 2. */
export function splitPoint(n: number): number {
  let k = 1;
  while (k * 2 < n) k *= 2;
  return k;
}

const isCount = (n: number): boolean => Number.isSafeInteger(n) && n >= 0;
const areHashes = (list: readonly Uint8Array[]): boolean => list.every((hash) => hash.length === HASH_BYTES);

/** The root that an inclusion proof leads to (RFC 9162 §2.1.3.2). Throws INCLUSION_INVALID when its shape is wrong. */
export function rootFromInclusion(
  index: number,
  size: number,
  leaf: Uint8Array,
  proof: readonly Uint8Array[],
): Uint8Array {
  if (!isCount(index) || !isCount(size) || index >= size)
    return refuseLog('INCLUSION_INVALID', `index ${index} is not in a tree of ${size}`);
  if (!areHashes([leaf, ...proof])) return refuseLog('INCLUSION_INVALID', 'a hash is not 32 bytes');
  let fn = BigInt(index);
  let sn = BigInt(size - 1);
  let root = leaf;
  for (const hash of proof) {
    if (sn === 0n) return refuseLog('INCLUSION_INVALID', 'the inclusion proof is too long');
    if (fn & 1n || fn === sn) {
      root = nodeHash(hash, root);
      while (!(fn & 1n) && fn !== 0n) {
        fn >>= 1n;
        sn >>= 1n;
      }
    } else root = nodeHash(root, hash);
    fn >>= 1n;
    sn >>= 1n;
  }
  return sn === 0n ? root : refuseLog('INCLUSION_INVALID', 'the inclusion proof is too short');
}

/** Throws INCLUSION_INVALID unless the leaf stands at `index` of the tree with that size and root. */
export function verifyInclusion(
  index: number,
  size: number,
  leaf: Uint8Array,
  root: Uint8Array,
  proof: readonly Uint8Array[],
): void {
  if (!equalBytes(rootFromInclusion(index, size, leaf, proof), root))
    refuseLog('INCLUSION_INVALID', `entry ${index} does not lead to the root of the tree of ${size}`);
}

/**
 * Throws CONSISTENCY_INVALID unless the old tree is a prefix of the new one (RFC 9162 §2.1.4.2).
 * From size 0 the proof is empty and the old root must be the empty one, as in C2SP tlog-witness.
 */
export function verifyConsistency(
  oldSize: number,
  newSize: number,
  oldRoot: Uint8Array,
  newRoot: Uint8Array,
  proof: readonly Uint8Array[],
): void {
  const wrong: (why: string) => never = (why) =>
    refuseLog('CONSISTENCY_INVALID', `${why} (sizes ${oldSize} and ${newSize})`);
  if (!isCount(oldSize) || !isCount(newSize) || oldSize > newSize) wrong('the sizes are out of order');
  if (!areHashes([oldRoot, newRoot, ...proof])) wrong('a hash is not 32 bytes');
  if (oldSize === 0 && !equalBytes(oldRoot, EMPTY_ROOT)) wrong('the empty tree has another root');
  if (oldSize === newSize && !equalBytes(oldRoot, newRoot)) wrong('two roots for one size');
  if (oldSize === 0 || oldSize === newSize) {
    if (proof.length > 0) wrong('the proof must be empty');
    return;
  }
  let fn = BigInt(oldSize - 1);
  let sn = BigInt(newSize - 1);
  while (fn & 1n) {
    fn >>= 1n;
    sn >>= 1n;
  }
  // For a power of two the old root is itself the first node.
  const [first, ...rest] = fn === 0n ? [oldRoot, ...proof] : proof;
  if (first === undefined) wrong('the proof is empty');
  let oldPath = first;
  let newPath = first;
  for (const hash of rest) {
    if (sn === 0n) wrong('the proof is too long');
    if (fn & 1n || fn === sn) {
      oldPath = nodeHash(hash, oldPath);
      newPath = nodeHash(hash, newPath);
      while (!(fn & 1n) && fn !== 0n) {
        fn >>= 1n;
        sn >>= 1n;
      }
    } else newPath = nodeHash(newPath, hash);
    fn >>= 1n;
    sn >>= 1n;
  }
  if (sn !== 0n) wrong('the proof is too short');
  if (!equalBytes(oldPath, oldRoot) || !equalBytes(newPath, newRoot)) wrong('the proof leads to other roots');
}
