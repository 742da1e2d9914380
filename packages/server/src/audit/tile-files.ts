/** Full and partial tiles as files. Nothing here is durable before `sync`: until then the WAL stands for it. */
import { HASH_BYTES, TILE_WIDTH, type TileAddress, tilePath } from '@abaton/verify';
import type { Frontier, FullTile } from './frontier.ts';
import type { LogStore } from './log-store.ts';

export class TileFiles {
  readonly #store: LogStore;
  /** The entry bundle at the edge: u16 length ‖ entry, one buffer each. */
  #bundle: Buffer[] = [];
  #bundleIndex = 0;
  /** Full files that wait for `flush`. */
  readonly #unwritten = new Map<string, Buffer>();
  /** Files that wait for `sync`. */
  #unsynced: string[] = [];
  #isSuspect = false;
  #partialSize = 0;

  constructor(store: LogStore) {
    this.#store = store;
  }

  addEntry(index: number, entry: Uint8Array): void {
    const record = Buffer.allocUnsafe(2 + entry.length);
    record.writeUInt16BE(entry.length, 0);
    record.set(entry, 2);
    this.#bundle.push(record);
    this.#bundleIndex = Math.floor(index / TILE_WIDTH);
    if (this.#bundle.length < TILE_WIDTH) return;
    this.#unwritten.set(fullPath('entries', this.#bundleIndex), Buffer.concat(this.#bundle));
    this.#bundle = [];
  }

  addTile({ level, n, bytes }: FullTile): void {
    this.#unwritten.set(fullPath(level, n), bytes);
  }

  /** Writes the full files. What failed stays in memory for the next call. */
  async flush(): Promise<void> {
    for (const [path, bytes] of this.#unwritten) {
      await this.#store.put(path, bytes);
      this.#unsynced.push(path);
      this.#unwritten.delete(path);
      await this.#store.remove(`${path}.p`);
    }
  }

  /** The first `width` hashes of a full tile, or null. */
  async read({ level, n, width }: TileAddress): Promise<Uint8Array | null> {
    const tile = await this.#readFull(fullPath(level, n));
    return tile && tile.length >= width * HASH_BYTES ? tile.subarray(0, width * HASH_BYTES) : null;
  }

  async readBundle(n: number): Promise<Uint8Array | null> {
    if (this.#bundle.length > 0 && n === this.#bundleIndex) return Buffer.concat(this.#bundle);
    return this.#readFull(fullPath('entries', n));
  }

  /** Writes the partial files that a tree of `size` needs, and removes those of earlier sizes. */
  async writePartials(size: number, frontier: Frontier): Promise<void> {
    if (size === this.#partialSize) return;
    for (let level = 0, count = size; count > 0; level++, count = Math.floor(count / TILE_WIDTH)) {
      const [n, width] = [Math.floor(count / TILE_WIDTH), count % TILE_WIDTH];
      if (width === 0) continue;
      await this.#writePartial({ level, n, width }, frontier.edge(level, n, width));
      if (level === 0 && n === this.#bundleIndex)
        await this.#writePartial({ level: 'entries', n, width }, Buffer.concat(this.#bundle.slice(0, width)));
    }
    this.#partialSize = size;
  }

  /**
   * Makes the full files durable. A failed fsync may have dropped pages that a second one would not write again, so
   * after one the answer is false until the next start, which writes the files anew from the WAL.
   */
  async sync(): Promise<boolean> {
    if (this.#isSuspect) return false;
    const paths = this.#unsynced;
    this.#unsynced = [];
    try {
      await this.#store.sync(paths);
      return true;
    } catch (error) {
      this.#isSuspect = true;
      throw error;
    }
  }

  async #writePartial(address: TileAddress, bytes: Uint8Array | null): Promise<void> {
    // Null, or nothing: the tile has been filled meanwhile, by entries that no checkpoint covers yet.
    if (!bytes?.length) return;
    const path = tilePath(address);
    await this.#store.put(path, bytes);
    const directory = `${fullPath(address.level, address.n)}.p`;
    for (const name of await this.#store.list(directory))
      if (name !== String(address.width)) await this.#store.remove(`${directory}/${name}`);
  }

  async #readFull(path: string): Promise<Uint8Array | null> {
    return this.#unwritten.get(path) ?? this.#store.read(path);
  }
}

const fullPath = (level: TileAddress['level'], n: number) => tilePath({ level, n, width: TILE_WIDTH });
