/**
 * Secrets that are to be gone. The bytes of a file are overwritten before its name goes; what a flash translation layer, a
 * copy-on-write file system, a snapshot or a backup has kept of them no program can reach (NIST SP 800-88r1, section 2.4).
 */
import { randomBytes } from 'node:crypto';
import { type FileHandle, open, rename, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { syncDirectory, writePart } from '../queue/durable.ts';

/** Overwrites the file with random bytes and unlinks it. Durable on return; nothing to do when there is none. */
export async function eraseFile(file: string): Promise<void> {
  if (!(await overwrite(file))) return;
  await unlink(file);
  await syncDirectory(dirname(file));
}

/**
 * Replaces a secret by its successor. Durable on return. A crash leaves the old file, or a whole `${file}.part` beside a file
 * that is overwritten: `part` is then the newer one.
 */
export async function replaceSecret(file: string, bytes: Uint8Array): Promise<void> {
  await eraseFile(`${file}.part`);
  await writePart(file, [bytes]);
  await syncDirectory(dirname(file)); // before the overwriting: from then on only the part can be read
  await overwrite(file);
  await rename(`${file}.part`, file);
  await syncDirectory(dirname(file));
}

async function overwrite(file: string): Promise<boolean> {
  let handle: FileHandle;
  try {
    handle = await open(file, 'r+');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
  try {
    const { size } = await handle.stat();
    for (let at = 0; at < size; ) at += (await handle.write(randomBytes(size - at), 0, size - at, at)).bytesWritten;
    await handle.sync();
    return true;
  } finally {
    await handle.close();
  }
}
