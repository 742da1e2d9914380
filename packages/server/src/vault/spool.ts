/** A stream on its way into a blob store: written to a file first, since its key, the SHA-256 of it, is known at the end. */
import { createHash, randomUUID } from 'node:crypto';
import { type FileHandle, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { errorOf } from '../errors.ts';

/** Keys of blobs: SHA-256 of the ciphertext, hex. */
const KEY = /^[0-9a-f]{64}$/;
export const isBlobKey = (name: string): boolean => KEY.test(name);

/** Keys come from rows, and rows lie outside the trust boundary: nothing but a digest may become a path. Throws SEAL_BROKEN. */
export function verifyBlobKey(key: string): void {
  if (!KEY.test(key)) throw errorOf('SEAL_BROKEN', 'A blob key is not a SHA-256 digest.');
}

/**
 * Writes the stream to a new file in `directory`, synced when `sync`, and has `publish` take it from there. The file is
 * gone afterwards, whether moved or not. Throws what the stream throws, or STORE_UNAVAILABLE.
 */
export async function spooled(
  directory: string,
  ciphertext: AsyncIterable<Uint8Array>,
  { sync }: { sync: boolean },
  publish: (path: string, blob: { key: string; bytes: number }) => Promise<void>,
): Promise<{ key: string; bytes: number }> {
  const path = join(directory, randomUUID());
  try {
    const blob = await writeAll(await unavailableIfIo(open(path, 'wx', 0o600)), ciphertext, sync);
    await publish(path, blob);
    return blob;
  } finally {
    await rm(path, { force: true }).catch(() => undefined); // else the next start removes it
  }
}

async function writeAll(
  file: FileHandle,
  pieces: AsyncIterable<Uint8Array>,
  sync: boolean,
): Promise<{ key: string; bytes: number }> {
  const hash = createHash('sha256');
  let bytes = 0;
  let written: Promise<void> = Promise.resolve();
  try {
    for await (const piece of pieces) {
      await written;
      written = unavailableIfIo(writePiece(file, piece, bytes)); // while the next piece is sealed
      written.catch(() => undefined); // reported by the wait for it
      hash.update(piece);
      bytes += piece.length;
    }
    await written;
    if (sync) await unavailableIfIo(file.datasync());
  } finally {
    await written.catch(() => undefined);
    await file.close();
  }
  return { key: hash.digest('hex'), bytes };
}

async function writePiece(file: FileHandle, piece: Uint8Array, position: number): Promise<void> {
  for (let at = 0; at < piece.length; )
    at += (await file.write(piece, at, piece.length - at, position + at)).bytesWritten;
}

/** Deletes every blob that no row refers to, and returns their number. See BlobStore.reconcile. */
export async function deleteOrphans(
  store: { list(): AsyncIterable<string>; delete(key: string): Promise<void> },
  isReferenced: (key: string) => Promise<boolean>,
): Promise<number> {
  let deleted = 0;
  for await (const key of store.list()) {
    if (await isReferenced(key)) continue;
    await store.delete(key);
    deleted++;
  }
  return deleted;
}

/** Errors of the file system (they have an errno) become STORE_UNAVAILABLE without the path; others pass. */
export async function unavailableIfIo<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof Error && 'errno' in error && 'code' in error)
      throw errorOf('STORE_UNAVAILABLE', `The blob store answered ${error.code}.`);
    throw error;
  }
}
