/**
 * Proofs from tiles (RFC 9162 §2.1.3.1, §2.1.4.1). Nothing here judges the tiles: a proof shows their worth when it is
 * verified against the root of a signed checkpoint.
 */
import { refuseLog } from './codes.ts';
import { EMPTY_ROOT, HASH_BYTES, nodeHash, rootOf, splitPoint } from './merkle.ts';
import { TILE_HEIGHT, TILE_WIDTH, tileWidth } from './tile-path.ts';

/** Gives the `width` first hashes of a tile (32 · width bytes), or null when it is not to be had. */
export type ReadTile = (level: number, n: number, width: number) => Promise<Uint8Array | null>;

/** Computes hashes of one tree of `size` entries; each tile is read once. */
export class TileTree {
  readonly size: number;
  readonly #readTile: ReadTile;
  readonly #tiles = new Map<string, Promise<Uint8Array | null>>();

  constructor(size: number, readTile: ReadTile) {
    this.size = size;
    this.#readTile = readTile;
  }

  /** Root of the whole tree. Like every method here it throws INCLUSION_INVALID when a tile is missing or too short. */
  root(): Promise<Uint8Array> {
    return this.#range(0, this.size);
  }

  /** The leaf hash at `index`. */
  leaf(index: number): Promise<Uint8Array> {
    return this.#range(index, index + 1);
  }

  /** From the leaf's sibling up to the root's child. */
  async inclusionProof(index: number): Promise<Uint8Array[]> {
    const proof: Promise<Uint8Array>[] = [];
    let [low, high] = [0, this.size];
    while (high - low > 1) {
      const middle = low + splitPoint(high - low);
      proof.push(index < middle ? this.#range(middle, high) : this.#range(low, middle));
      if (index < middle) high = middle;
      else low = middle;
    }
    return (await Promise.all(proof)).reverse();
  }

  /** That the first `oldSize` entries are a prefix. Empty for 0 and for the size itself. */
  async consistencyProof(oldSize: number): Promise<Uint8Array[]> {
    if (oldSize === 0 || oldSize === this.size) return [];
    const proof: Promise<Uint8Array>[] = [];
    let [low, high] = [0, this.size];
    while (high > oldSize) {
      const middle = low + splitPoint(high - low);
      if (oldSize <= middle) {
        proof.push(this.#range(middle, high));
        high = middle;
      } else {
        proof.push(this.#range(low, middle));
        low = middle;
      }
    }
    // The verifier holds the root of [0, oldSize) already.
    if (low > 0) proof.push(this.#range(low, high));
    return (await Promise.all(proof)).reverse();
  }

  /** MTH(D[low:high]); a complete subtree lies within one tile, any other range is split as the RFC does. */
  async #range(low: number, high: number): Promise<Uint8Array> {
    const count = high - low;
    if (count === 0) return EMPTY_ROOT;
    const half = count > 1 ? splitPoint(count) : 0.5;
    if (half * 2 === count && low % count === 0) return this.#subtree(Math.log2(count), low / count);
    return nodeHash(await this.#range(low, low + half), await this.#range(low + half, high));
  }

  /** Root of the complete subtree number `k` of 2^height leaves. */
  async #subtree(height: number, k: number): Promise<Uint8Array> {
    const level = Math.floor(height / TILE_HEIGHT);
    const count = 2 ** (height % TILE_HEIGHT);
    const n = Math.floor((k * count) / TILE_WIDTH);
    const first = k * count - n * TILE_WIDTH;
    const tile = await this.#tile(level, n);
    if (tile === null || tile.length < (first + count) * HASH_BYTES)
      return refuseLog('INCLUSION_INVALID', `tile ${n} of level ${level} is missing or too short`);
    const hash = (i: number) => tile.subarray((first + i) * HASH_BYTES, (first + i + 1) * HASH_BYTES);
    return rootOf(Array.from({ length: count }, (_, i) => hash(i)));
  }

  #tile(level: number, n: number): Promise<Uint8Array | null> {
    const key = `${level}/${n}`;
    const known = this.#tiles.get(key) ?? this.#readTile(level, n, tileWidth(level, n, this.size));
    this.#tiles.set(key, known);
    return known;
  }
}
