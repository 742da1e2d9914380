/**
 * A whole C2SP tlog-tiles log, read from its files by somebody who trusts none of them: every entry leads to its tile, every
 * tile to the one above, and all of them to the signed checkpoint. Works on any such log, whoever wrote it. Memory does not
 * grow with the log: one tile a level.
 */
import { encodeBase64, equalBytes } from '../formats/bytes.ts';
import { refuseLog } from './codes.ts';
import { EMPTY_ROOT, HASH_BYTES, leafHash, nodeHash } from './merkle.ts';
import { verifyCheckpoint } from './signed-checkpoint.ts';
import { parseBundle, TILE_WIDTH, type TileAddress, tilePath, tileWidth } from './tile-path.ts';

export interface VerifyLogInput {
  /** The file at a path of the log, such as `checkpoint` or `tile/0/000`; null when there is none. */
  read: (path: string) => Promise<Uint8Array | null>;
  /** C2SP verifier keys: one at least must have signed the checkpoint, and none that did may be wrong. */
  vkeys: readonly string[];
  /** For a log whose key has another name than it has itself. */
  origin?: string;
  /** A signed checkpoint of before, of which this log has to be a continuation. */
  from?: string;
  /** `optional`: some logs, as ours over HTTP, give out hashes alone. */
  entries: 'required' | 'optional';
  /** Called after each bundle. */
  onProgress?: (done: number, size: number) => void;
}

export interface VerifiedLog {
  origin: string;
  size: number;
  /** Base64, as the checkpoint has it. */
  root: string;
  /** Names of the keys that signed. */
  signedBy: string[];
  entries: 'verified' | 'not-public';
  /** Size of the checkpoint of before. */
  continues: number | null;
}

/** Throws RejectedError with a LogCode, and what `read` throws. */
export async function verifyLog(input: VerifyLogInput): Promise<VerifiedLog> {
  const { read, vkeys, origin, from, onProgress } = input;
  const note = await read('checkpoint');
  if (!note) return refuseLog('TILES_INVALID', 'the log has no checkpoint');
  const head = verifyCheckpoint(new TextDecoder().decode(note), vkeys, origin);
  const before = from === undefined ? null : verifyCheckpoint(from, vkeys, origin ?? head.origin);
  if (before && before.origin !== head.origin)
    refuseLog('CONSISTENCY_INVALID', 'the older checkpoint is of another log');
  if (before && before.size > head.size)
    refuseLog('CONSISTENCY_INVALID', `the log has ${head.size} entries, and had ${before.size}`);

  const tree = new GrowingTree(head.size, read);
  let withEntries = input.entries === 'required';
  const check = (size: number) => {
    if (before?.size === size && !equalBytes(before.root, tree.root()))
      refuseLog('CONSISTENCY_INVALID', `the first ${size} entries are not those of the older checkpoint`);
  };
  check(0);
  for (let n = 0; n * TILE_WIDTH < head.size; n++) {
    const width = tileWidth(0, n, head.size);
    const hashes = await readTile(read, { level: 0, n, width });
    const bundle = withEntries || n === 0 ? await readFile(read, { level: 'entries', n, width }) : null;
    if (bundle) withEntries = true;
    if (withEntries) verifyBundle(bundle, hashes, n);
    for (const hash of hashes) {
      await tree.add(hash);
      check(tree.size);
    }
    onProgress?.(tree.size, head.size);
  }
  await tree.verifyEdge();
  if (!equalBytes(tree.root(), head.root))
    refuseLog('TILES_INVALID', `the tiles do not lead to the checkpoint of size ${head.size}`);
  return {
    origin: head.origin,
    size: head.size,
    root: encodeBase64(head.root),
    signedBy: head.signedBy.map(({ name }) => name),
    entries: withEntries ? 'verified' : 'not-public',
    continues: before?.size ?? null,
  };
}

function verifyBundle(bundle: Uint8Array | null, hashes: readonly Uint8Array[], n: number): void {
  const entries = bundle && parseBundle(bundle)?.slice(0, hashes.length);
  if (!entries || entries.length !== hashes.length)
    return void refuseLog('TILES_INVALID', `entry bundle ${n} is missing or malformed`);
  for (const [at, entry] of entries.entries())
    if (!equalBytes(leafHash(entry), hashes[at]!))
      refuseLog('TILES_INVALID', `entry ${n * TILE_WIDTH + at} is not the one that the tree holds`);
}

/** A partial file may be gone once the full one is there (tlog-tiles, "Partial Tiles"). */
const readFile = async (read: VerifyLogInput['read'], address: TileAddress): Promise<Uint8Array | null> =>
  (await read(tilePath(address))) ?? (await read(tilePath({ ...address, width: TILE_WIDTH })));

async function readTile(read: VerifyLogInput['read'], address: TileAddress): Promise<Uint8Array[]> {
  const bytes = await readFile(read, address);
  if (!bytes || bytes.length < address.width * HASH_BYTES || bytes.length % HASH_BYTES !== 0)
    return refuseLog('TILES_INVALID', `tile ${address.n} of level ${address.level} is missing or malformed`);
  return Array.from({ length: address.width }, (_, i) => bytes.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES));
}

/** Leaf by leaf: the root so far, and every tile above level 0 compared with its file. */
class GrowingTree {
  readonly #full: number;
  readonly #read: VerifyLogInput['read'];
  /** Roots of the complete subtrees at the right edge, by height (RFC 9162 §2.1.1: the binary digits of the size). */
  readonly #edge: (Uint8Array | undefined)[] = [];
  /** Per level, the hashes of the tile that is being filled. Level 0 is read, and only counted here. */
  readonly #tiles: Uint8Array[][] = [];
  size = 0;

  constructor(full: number, read: VerifyLogInput['read']) {
    this.#full = full;
    this.#read = read;
  }

  async add(leaf: Uint8Array): Promise<void> {
    this.size++;
    let root = leaf;
    let height = 0;
    for (let left = this.#edge[height]; left; left = this.#edge[height]) {
      root = nodeHash(left, root);
      this.#edge[height++] = undefined;
      if (height % 8 === 0) await this.#push(height / 8, root);
    }
    this.#edge[height] = root;
  }

  root(): Uint8Array {
    let root: Uint8Array | null = null;
    for (const left of this.#edge) if (left) root = root ? nodeHash(left, root) : left;
    return root ?? EMPTY_ROOT;
  }

  /** The partial tiles at the right edge. */
  async verifyEdge(): Promise<void> {
    for (const [level, tile] of this.#tiles.entries()) if (level > 0 && tile?.length) await this.#compare(level, tile);
  }

  async #push(level: number, hash: Uint8Array): Promise<void> {
    this.#tiles[level] ??= [];
    const tile = this.#tiles[level];
    tile.push(hash);
    if (tile.length < TILE_WIDTH) return;
    await this.#compare(level, tile);
    this.#tiles[level] = [];
  }

  async #compare(level: number, tile: readonly Uint8Array[]): Promise<void> {
    const n = Math.ceil(Math.floor(this.size / TILE_WIDTH ** level) / TILE_WIDTH) - 1;
    const width = tileWidth(level, n, this.#full);
    const given = await readTile(this.#read, { level, n, width: Math.min(width, tile.length) });
    for (const [at, hash] of tile.entries())
      if (!equalBytes(hash, given[at]!))
        refuseLog('TILES_INVALID', `tile ${n} of level ${level} is not what lies below it`);
  }
}
