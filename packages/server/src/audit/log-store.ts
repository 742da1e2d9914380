/** Where a log lies: whole files by path, and a write-ahead log. In a directory here, in S3 by s3-log-store.ts. */
import { durableStep } from '../durable-step.ts';
import type { LogDisk } from './disk.ts';
import { Wal } from './wal.ts';

export interface LogStore {
  /** Null when there is no such file. */
  read(path: string): Promise<Buffer | null>;
  /** Names in a directory; none when it does not exist. */
  list(directory: string): Promise<string[]>;
  /** Puts the file in its place: readers see the old one or this one, whole. Durable only after `sync`. */
  put(path: string, bytes: Uint8Array): Promise<void>;
  /** The same, durable on return. */
  replace(path: string, bytes: Uint8Array): Promise<void>;
  /** Makes durable what was put. */
  sync(paths: readonly string[]): Promise<void>;
  /** Removes a file or a whole directory; an absent one is not an error. */
  remove(path: string): Promise<void>;
  openWal(segmentBytes: number): Promise<LogWal>;
}

/** Entries in their order, durable before anything else is made of them. */
export interface LogWal {
  /** Index of the first entry that is here; null when nothing is. */
  readonly first: number | null;
  /** True when it is time to `rotate`, and to let go of what is no longer needed. */
  readonly isFull: boolean;
  /**
   * Yields all entries, in pieces; must run to its end before the first append. Throws LOG_CORRUPT when an entry below
   * `committed` is missing or damaged, STATE_TOO_NEW for another version.
   */
  replay(committed: number): AsyncGenerator<{ first: number; entries: Buffer[] }>;
  /** Entries of an append that threw and that are durable all the same, once; the next append comes after them. */
  settle(): Promise<Buffer[]>;
  /** Durable on return. */
  append(entries: readonly Uint8Array[]): Promise<void>;
  /** Begins a new piece, whose first entry is `first`. Durable on return. */
  rotate(first: number): Promise<void>;
  /** Removes pieces whose entries all lie below `index`, the oldest first; never the last. */
  releaseBelow(index: number): Promise<void>;
  close(): Promise<void>;
}

/** 'tile/0/x001/234' lies in 'tile/0/x001', 'tile/0', 'tile' and the log's own directory ''. */
const ancestors = (path: string): string[] =>
  path.split('/').map((_, i, parts) => parts.slice(0, parts.length - 1 - i).join('/'));

export function directoryLogStore(disk: LogDisk): LogStore {
  return {
    read: (path) => disk.read(path),
    list: (directory) => disk.list(directory),
    remove: (path) => disk.remove(path),
    async put(path, bytes) {
      await disk.write(`${path}.tmp`, bytes);
      await disk.rename(`${path}.tmp`, path);
    },
    async replace(path, bytes) {
      await disk.write(`${path}.tmp`, bytes, { sync: true });
      durableStep('audit-checkpoint-written');
      await disk.rename(`${path}.tmp`, path);
      durableStep('audit-checkpoint-renamed');
      for (const directory of ancestors(path)) await disk.syncDirectory(directory);
    },
    async sync(paths) {
      for (const path of paths) await disk.syncFile(path);
      for (const directory of new Set(paths.flatMap(ancestors))) await disk.syncDirectory(directory);
    },
    openWal: (segmentBytes) => Wal.open(disk, segmentBytes),
  };
}
