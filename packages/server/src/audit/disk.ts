/** The few file operations of the log, named so that a test can make each of them fail. Paths are relative to its directory. */
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { makeDirectory, syncDirectory } from '../durable-files.ts';

export interface LogDisk {
  /** Null when there is no such file. */
  read(path: string): Promise<Buffer | null>;
  /** Names in a directory; none when it does not exist. */
  list(directory: string): Promise<string[]>;
  /** Replaces the content of a file and makes the directories it needs; `sync`: the content is durable on return. */
  write(path: string, bytes: Uint8Array, options?: { sync: boolean }): Promise<void>;
  /** Puts `from` in the place of `to` in one step. */
  rename(from: string, to: string): Promise<void>;
  /** Removes a file or a whole directory; an absent one is not an error. */
  remove(path: string): Promise<void>;
  /** Makes the content durable. */
  syncFile(path: string): Promise<void>;
  /** Makes the names in the directory durable. */
  syncDirectory(path: string): Promise<void>;
  /** Opens a file for writing at any place; made when it is absent. */
  open(path: string): Promise<LogFile>;
}

export interface LogFile {
  write(bytes: Uint8Array, position: number): Promise<void>;
  truncate(length: number): Promise<void>;
  /** fdatasync: content and length are durable on return. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

const isAbsent = (error: unknown) => (error as NodeJS.ErrnoException).code === 'ENOENT';

/** Runs `work`; where a directory is missing, makes it and runs `work` once more. Entries are for this user alone. */
async function withDirectory<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!isAbsent(error)) throw error;
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    return work();
  }
}

/** `dir` is made, durable on return. */
export async function openDisk(dir: string): Promise<LogDisk> {
  await makeDirectory(dir);
  const absent =
    <T>(value: T) =>
    (error: unknown) => {
      if (isAbsent(error)) return value;
      throw error;
    };
  return {
    read: (path) => readFile(join(dir, path)).catch(absent(null)),
    list: (path) => readdir(join(dir, path)).catch(absent([])),
    async write(path, bytes, { sync } = { sync: false }) {
      const handle = await withDirectory(join(dir, path), () => open(join(dir, path), 'w', 0o600));
      try {
        await handle.writeFile(bytes);
        if (sync) await handle.datasync();
      } finally {
        await handle.close();
      }
    },
    rename: (from, to) => rename(join(dir, from), join(dir, to)),
    remove: (path) => rm(join(dir, path), { recursive: true, force: true }),
    async syncFile(path) {
      const handle = await open(join(dir, path), 'r+');
      try {
        await handle.datasync();
      } finally {
        await handle.close();
      }
    },
    syncDirectory: (path) => syncDirectory(join(dir, path)),
    async open(path) {
      // 'r+' does not make a file, 'w' empties it, 'a' ignores the position: so make it first.
      await withDirectory(join(dir, path), async () => (await open(join(dir, path), 'a', 0o600)).close());
      const handle = await open(join(dir, path), 'r+');
      return {
        async write(bytes, position) {
          for (let at = 0; at < bytes.length; )
            at += (await handle.write(bytes, at, bytes.length - at, position + at)).bytesWritten;
        },
        truncate: (length) => handle.truncate(length),
        sync: () => handle.datasync(),
        close: () => handle.close(),
      };
    },
  };
}
