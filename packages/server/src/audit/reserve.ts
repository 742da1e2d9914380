/**
 * Room on the disk that is kept for the entry that latches the door: a disk that was filled must not be why an incident is
 * forgotten with the process.
 */
import { randomBytes } from 'node:crypto';
import { rm, stat, writeFile } from 'node:fs/promises';

const RESERVE_BYTES = 2 ** 20; // a WAL page, a checkpoint and what a file system needs beside them, many times over

export interface Reserve {
  /** Gives the room back. It is taken again at the next start. */
  release(): Promise<void>;
}

/** Takes the room, where there is any. Never throws: a server on a full disk starts all the same. */
export async function keepReserve(file: string): Promise<Reserve> {
  const { size } = await stat(file).catch(() => ({ size: 0 }));
  // random, since a file system that compresses keeps no room for zeros
  if (size !== RESERVE_BYTES) await writeFile(file, randomBytes(RESERVE_BYTES), { mode: 0o600 }).catch(() => {});
  return { release: () => rm(file, { force: true }).catch(() => {}) };
}
