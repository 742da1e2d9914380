/** The real disk, step by step: each write, sync, rename and unlink of this process is counted, and may fail. */
import fs from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';

export interface Steps {
  count: number;
  /** Called with the number of each step, before it; what it throws is what the disk says. */
  before: (step: number) => void;
  restore(): void;
}

export const fullDisk = (): NodeJS.ErrnoException =>
  Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC', syscall: 'write' });

export function watchSteps(): Steps {
  const { open, rename, unlink } = fs;
  const steps: Steps = {
    count: 0,
    before: () => {},
    restore() {
      Object.assign(fs, { open, rename, unlink });
      syncBuiltinESMExports();
    },
  };
  // biome-ignore lint/suspicious/noExplicitAny: whatever the function takes
  const counted = <T extends (...args: any[]) => Promise<any>>(run: T): T =>
    (async (...args) => {
      steps.before(++steps.count);
      return run(...args);
    }) as T;
  Object.assign(fs, {
    rename: counted(rename),
    unlink: counted(unlink),
    open: (async (path, ...rest) => {
      const handle = await open(path, ...rest);
      handle.write = counted(handle.write.bind(handle)) as typeof handle.write;
      handle.writeFile = counted(handle.writeFile.bind(handle));
      handle.sync = counted(handle.sync.bind(handle));
      return handle;
    }) as typeof open,
  });
  syncBuiltinESMExports();
  return steps;
}
