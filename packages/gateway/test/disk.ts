/** The real disk, in between which a test can stand: what is asked of it is written down, and may fail. */
import fs from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { basename } from 'node:path';

export interface Disk {
  /** `rm NAME`, `rename NAME` and `sync NAME` (of a directory), as they end. */
  done: string[];
  /** Called before each; what it throws or rejects with is what the disk says. */
  before: (operation: string) => void | Promise<void>;
  restore(): void;
}

/** As Node makes them: EIO is what a disk says that is broken. */
export const brokenDisk = (): NodeJS.ErrnoException =>
  Object.assign(new Error('EIO: i/o error, /home/doe^john'), { code: 'EIO', errno: -5, syscall: 'fsync' });

export function watchDisk(): Disk {
  const { open, rm, rename } = fs;
  const disk: Disk = {
    done: [],
    before: () => {},
    restore() {
      Object.assign(fs, { open, rm, rename });
      syncBuiltinESMExports();
    },
  };
  const watched = async <T>(operation: string, run: () => Promise<T>): Promise<T> => {
    await disk.before(operation);
    const result = await run();
    disk.done.push(operation);
    return result;
  };
  Object.assign(fs, {
    rm: ((path, options) => watched(`rm ${basename(String(path))}`, () => rm(path, options))) as typeof rm,
    rename: ((from, to) => watched(`rename ${basename(String(to))}`, () => rename(from, to))) as typeof rename,
    open: (async (path, ...rest) => {
      const handle = await open(path, ...rest);
      if (!(await handle.stat()).isDirectory()) return handle;
      const sync = handle.sync.bind(handle);
      handle.sync = () => watched(`sync ${basename(String(path))}`, sync);
      return handle;
    }) as typeof open,
  });
  syncBuiltinESMExports();
  return disk;
}
