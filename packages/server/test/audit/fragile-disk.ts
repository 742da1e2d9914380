/**
 * A disk in memory that keeps apart what was written and what was synced, and can fail at any operation. After a power
 * cut each unsynced content and each unsynced name is there or not, or in part, as a coin decides: more ways than a
 * real file system has, none that POSIX forbids.
 */
import { dirname } from 'node:path/posix';
import type { LogDisk, LogFile } from '../../src/audit/disk.ts';

interface File {
  data: Buffer;
  synced: Buffer;
}
type Names = Map<string, File | 'directory'>;

export class FragileDisk implements LogDisk {
  #names: Names = new Map();
  #syncedNames: Names = new Map();
  operations = 0;
  /** Decides before each operation whether it fails. */
  failure: (operation: string, path: string) => Error | null = () => null;
  /** Every checkpoint that was written, whether or not it came to be read. */
  readonly notes: string[] = [];

  async read(path: string): Promise<Buffer | null> {
    this.#step('read', path);
    const file = this.#names.get(path);
    return file === undefined || file === 'directory' ? null : Buffer.from(file.data);
  }

  async list(directory: string): Promise<string[]> {
    this.#step('list', directory);
    return this.#in(this.#names, directory).map((path) => path.slice(directory.length + 1));
  }

  async write(path: string, bytes: Uint8Array, { sync } = { sync: false }): Promise<void> {
    this.#step('write', path);
    if (path.startsWith('checkpoint')) this.notes.push(Buffer.from(bytes).toString());
    this.#file(path).data = Buffer.from(bytes);
    if (sync) await this.syncFile(path);
  }

  async rename(from: string, to: string): Promise<void> {
    this.#step('rename', to);
    this.#names.set(to, this.#file(from));
    this.#names.delete(from);
  }

  async remove(path: string): Promise<void> {
    this.#step('remove', path);
    for (const name of this.#names.keys()) if (name === path || name.startsWith(`${path}/`)) this.#names.delete(name);
  }

  async syncFile(path: string): Promise<void> {
    this.#step('sync', path);
    const file = this.#file(path);
    file.synced = file.data;
  }

  async syncDirectory(path: string): Promise<void> {
    this.#step('sync', path);
    for (const name of this.#in(this.#syncedNames, path)) this.#syncedNames.delete(name);
    for (const name of this.#in(this.#names, path)) this.#syncedNames.set(name, this.#names.get(name)!);
  }

  async open(path: string): Promise<LogFile> {
    this.#step('open', path);
    const file = this.#file(path);
    return {
      write: async (bytes, position) => {
        const data = Buffer.alloc(Math.max(file.data.length, position + bytes.length));
        file.data.copy(data);
        data.set(bytes, position);
        // A write that fails may have written a part.
        const half = data.subarray(0, position + (bytes.length >> 1));
        file.data = half;
        this.#step('write', path);
        file.data = data;
      },
      truncate: async (length) => {
        this.#step('truncate', path);
        file.data = file.data.subarray(0, length);
      },
      sync: () => this.syncFile(path),
      close: async () => {},
    };
  }

  /** The power goes and comes back. `coin` says of each name and content that was not synced whether it is there. */
  cutPower(coin: () => boolean): void {
    const kept: Names = new Map();
    const paths = new Set([...this.#names.keys(), ...this.#syncedNames.keys()]);
    for (const path of [...paths].sort()) {
      const file = (coin() ? this.#names : this.#syncedNames).get(path);
      const isReachable = dirname(path) === '.' || kept.get(dirname(path)) === 'directory';
      if (file === undefined || !isReachable) continue;
      kept.set(path, file === 'directory' ? file : afterCut(file, coin));
    }
    this.#names = kept;
    this.#syncedNames = new Map(kept);
  }

  #step(operation: string, path: string): void {
    this.operations++;
    const error = this.failure(operation, path);
    if (error) throw error;
  }

  #file(path: string): File {
    const known = this.#names.get(path);
    if (known && known !== 'directory') return known;
    for (let up = dirname(path); up !== '.'; up = dirname(up)) this.#names.set(up, 'directory');
    const file = { data: Buffer.alloc(0), synced: Buffer.alloc(0) };
    this.#names.set(path, file);
    return file;
  }

  #in(names: Names, directory: string): string[] {
    return [...names.keys()].filter((path) => dirname(path) === (directory || '.'));
  }
}

function afterCut({ data, synced }: File, coin: () => boolean): File {
  let left = coin() ? data : synced;
  // The length may have reached the disk before the bytes did, or only some of the bytes.
  if (left === data && data !== synced && !coin()) {
    left = Buffer.from(data);
    for (let at = synced.length; at < left.length; at++) if (coin()) left[at] = 0;
    if (coin()) left = left.subarray(0, synced.length + ((left.length - synced.length) >> 1));
  }
  return { data: left, synced: left };
}
