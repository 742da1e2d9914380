/**
 * The right edge of a growing RFC 6962 tree: the hashes that its partial tiles hold, and the roots of the complete
 * subtrees from which the root of the whole follows. Memory does not grow with the tree: at most 255 hashes a level.
 */
import { hash } from 'node:crypto';
import { EMPTY_ROOT, HASH_BYTES, TILE_HEIGHT, TILE_WIDTH } from '@abaton/verify';

const sha256 = (bytes: Uint8Array): Buffer => hash('sha256', bytes, 'buffer');
const LEAF = Uint8Array.of(0);
const NODE = Uint8Array.of(1);
export const hashLeaf = (entry: Uint8Array): Buffer => sha256(Buffer.concat([LEAF, entry]));
const hashNode = (left: Uint8Array, right: Uint8Array): Buffer => sha256(Buffer.concat([NODE, left, right]));

/** Root of a complete subtree whose leaves are 2^k hashes. */
function hashSubtree(hashes: readonly Buffer[]): Buffer {
  if (hashes.length === 1) return hashes[0]!;
  return hashSubtree(Array.from({ length: hashes.length / 2 }, (_, i) => hashNode(hashes[2 * i]!, hashes[2 * i + 1]!)));
}

export interface FullTile {
  level: number;
  n: number;
  bytes: Buffer;
}

export class Frontier {
  #size = 0;
  /** Per level, the hashes of its partial tile. */
  readonly #tiles: Buffer[][] = [[]];
  /** Per height, the root of the complete subtree that ends at the edge of what lies above it. */
  readonly #roots: (Buffer | undefined)[] = [];

  get size(): number {
    return this.#size;
  }

  /**
   * The frontier of the first `size` entries (a multiple of 256), from full tiles: level by level, at most 255 tiles.
   * Returns null when a tile is missing or has another length; wrong hashes show in the root.
   */
  static async load(
    size: number,
    readFullTile: (level: number, n: number) => Promise<Uint8Array | null>,
  ): Promise<Frontier | null> {
    const frontier = new Frontier();
    frontier.#size = size;
    for (let level = 1, count = size / TILE_WIDTH; count >= 1; level++, count = Math.floor(count / TILE_WIDTH)) {
      const hashes: Buffer[] = [];
      for (let n = count - (count % TILE_WIDTH); n < count; n++) {
        const tile = await readFullTile(level - 1, n);
        if (tile?.length !== TILE_WIDTH * HASH_BYTES) return null;
        hashes.push(hashSubtree(splitHashes(tile)));
      }
      frontier.#tiles[level] = hashes;
      // The binary digits of the count say which complete subtrees stand at this level.
      for (let bit = TILE_HEIGHT - 1, at = 0; bit >= 0; bit--) {
        if ((hashes.length & (1 << bit)) === 0) continue;
        frontier.#roots[level * TILE_HEIGHT + bit] = hashSubtree(hashes.slice(at, at + (1 << bit)));
        at += 1 << bit;
      }
    }
    return frontier;
  }

  /** Adds one leaf hash and returns the tiles that it filled. */
  add(leaf: Buffer): FullTile[] {
    const full: FullTile[] = [];
    this.#size++;
    let root = leaf;
    for (let height = 0; ; height++) {
      if (height % TILE_HEIGHT === 0) {
        const level = height / TILE_HEIGHT;
        this.#tiles[level] ??= [];
        const tile = this.#tiles[level];
        tile.push(root);
        if (tile.length === TILE_WIDTH) {
          full.push({ level, n: this.#size / TILE_WIDTH ** (level + 1) - 1, bytes: Buffer.concat(tile) });
          this.#tiles[level] = [];
        }
      }
      const left = this.#roots[height];
      if (left === undefined) {
        this.#roots[height] = root;
        return full;
      }
      root = hashNode(left, root);
      this.#roots[height] = undefined;
    }
  }

  root(): Buffer {
    let root: Buffer | undefined;
    for (const left of this.#roots) if (left) root = root ? hashNode(left, root) : left;
    return root ?? Buffer.from(EMPTY_ROOT);
  }

  /** The first `width` hashes of tile `n`, or null when that tile is not the one at the edge (a full one is on disk). */
  edge(level: number, n: number, width: number): Buffer | null {
    const isEdge = n === Math.floor(this.#size / TILE_WIDTH ** (level + 1));
    return isEdge ? Buffer.concat((this.#tiles[level] ?? []).slice(0, width)) : null;
  }
}

const splitHashes = (tile: Uint8Array): Buffer[] =>
  Array.from({ length: tile.length / HASH_BYTES }, (_, i) =>
    Buffer.from(tile.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES)),
  );
