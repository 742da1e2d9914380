/** Files that a crash leaves as they were or as they were to be: what fsync(2) and rename(2) promise together. */
import { mkdir, open, rename, rm, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Syncs the names in a directory. Windows has no such call and orders its metadata itself. */
export async function syncDirectory(path: string): Promise<void> {
  if (process.platform === 'win32') return;
  const handle = await open(path, 'r');
  await handle.sync().finally(() => handle.close());
}

/** Makes the directory for this user alone. Durable on return. */
export async function makeDirectory(path: string): Promise<void> {
  const first = await mkdir(path, { recursive: true, mode: 0o700 });
  if (first === undefined) return;
  for (let made = path; made.length >= first.length; made = dirname(made)) await syncDirectory(dirname(made));
}

/**
 * Writes `${file}.part`, mode 0600, and syncs it. Returns its length. When it throws (the source fails, the disk is
 * full), nothing is left.
 */
export async function writePart(
  file: string,
  bytes: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<number> {
  const handle = await open(`${file}.part`, 'wx', 0o600);
  let length = 0;
  try {
    for await (const chunk of bytes) {
      await handle.writeFile(chunk); // writes all of it, from where the one before ended
      length += chunk.length;
    }
    await handle.sync();
    await handle.close();
    return length;
  } catch (error) {
    await handle.close().catch(() => {});
    await unlink(`${file}.part`).catch(() => {});
    throw error;
  }
}

/** The part becomes the file. Durable on return. */
export async function commitPart(part: string, file: string): Promise<void> {
  await rename(`${part}.part`, file);
  await syncDirectory(dirname(file));
}

/** Replaces the file. Durable on return; when it throws, what was there is there still. */
export async function replaceDurably(
  file: string,
  bytes: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<void> {
  await rm(`${file}.part`, { force: true }); // of a process that was killed
  await writePart(file, bytes);
  await commitPart(file, file);
}

/** What a file system says when there is no room: the disk, the quota, the largest file. */
export const isFull = (error: unknown): boolean =>
  ['ENOSPC', 'EDQUOT', 'EFBIG'].includes((error as NodeJS.ErrnoException | null)?.code ?? '');

const NETWORK = ['ECONNRESET', 'ECONNABORTED', 'EPIPE', 'ETIMEDOUT'];

/** What the operating system says of a file; sockets fail with codes of their own. */
export function isDiskError(error: unknown): error is NodeJS.ErrnoException {
  const { syscall, code } = (error ?? {}) as NodeJS.ErrnoException;
  return typeof syscall === 'string' && !NETWORK.includes(code ?? '');
}
