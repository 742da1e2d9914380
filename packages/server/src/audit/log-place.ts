/** Where the logs of the years lie: a directory each, or a folder each in a bucket. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { makeDirectory } from '../durable-files.ts';
import type { S3Folder } from '../vault/s3.ts';
import type { LogStore } from './log-store.ts';
import type { TileLogOptions } from './tile-log.ts';

export interface LogPlace {
  /** Of which there is a log; in no order. */
  years(): Promise<number[]>;
  open(year: number): Promise<Pick<TileLogOptions, 'dir' | 'store'>>;
}

export const directoryOfLogs = (dir: string): LogPlace => ({
  async years() {
    await makeDirectory(dir);
    return (await readdir(dir)).filter((name) => /^\d{4}$/.test(name)).map(Number);
  },
  open: async (year) => ({ dir: join(dir, String(year)) }),
});

const KEPT_YEARS = 6; // 45 CFR 164.316(b)(2)(i)
const MAX_CHECKPOINT_BYTES = 64 * 1024; // signatures of seven years, 3.3 kB each with ML-DSA-44

/** A bucket is asked for each year that can be there: to list it would be to list every tile. */
export function bucketOfLogs(
  folder: S3Folder,
  thisYear: number,
  openStore: (folder: S3Folder) => Promise<LogStore>,
): LogPlace {
  const isThere = (year: number) => folder.folder(String(year)).read('checkpoint', MAX_CHECKPOINT_BYTES);
  return {
    async years() {
      const found: number[] = [];
      for (let year = thisYear - KEPT_YEARS - 1; year <= thisYear + 1; year++)
        if ((await isThere(year)) !== null) found.push(year);
      return found;
    },
    open: async (year) => ({ dir: '', store: await openStore(folder.folder(String(year))) }),
  };
}
