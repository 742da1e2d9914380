/**
 * Blobs as files: `ab/cdef…` for the key `abcdef…`, written under `tmp/` and renamed when complete and synced. A file
 * under its final name is therefore always whole; what is left in `tmp/` by a crash is removed at start.
 */
import { open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { makeDirectory, syncDirectory } from '../durable-files.ts';
import { durableStep } from '../durable-step.ts';
import type { BlobStore } from './blobs.ts';
import { deleteOrphans, isBlobKey, spooled, unavailableIfIo, verifyBlobKey } from './spool.ts';

/** Four sealed chunks: few calls for a large object, little memory for many at once. */
const READ_BYTES = 256 * 1024;

/** Opens (or makes) the directory, whose only user this process must be. */
export async function openDirectoryBlobs(directory: string): Promise<BlobStore> {
  const temporary = join(directory, 'tmp');
  await rm(temporary, { recursive: true, force: true });
  await makeDirectory(temporary);
  return new DirectoryBlobs(directory, temporary);
}

class DirectoryBlobs implements BlobStore {
  readonly #directory: string;
  readonly #temporary: string;

  constructor(directory: string, temporary: string) {
    this.#directory = directory;
    this.#temporary = temporary;
  }

  async put(ciphertext: AsyncIterable<Uint8Array>): Promise<{ key: string; bytes: number }> {
    return spooled(this.#temporary, ciphertext, { sync: true }, async (path, { key }) => {
      durableStep('blob-synced');
      await unavailableIfIo(this.#publish(path, key));
      durableStep('blob-stored');
    });
  }

  async #publish(path: string, key: string): Promise<void> {
    const folder = join(this.#directory, key.slice(0, 2));
    await makeDirectory(folder);
    await rename(path, this.#pathOf(key));
    await syncDirectory(folder);
  }

  async *get(key: string, range?: { offset: number; length: number }): AsyncGenerator<Uint8Array> {
    const file = await unavailableIfIo(open(this.#pathOf(key), 'r'));
    const start = range?.offset ?? 0;
    const end = range ? start + range.length : Number.POSITIVE_INFINITY;
    const readAt = async (at: number): Promise<Uint8Array> => {
      const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, end - at));
      const { bytesRead } = await unavailableIfIo(file.read(buffer, 0, buffer.length, at));
      return buffer.subarray(0, bytesRead);
    };
    let next = readAt(start);
    try {
      for (let at = start; ; ) {
        const piece = await next;
        at += piece.length;
        if (piece.length === 0) return;
        next = readAt(at); // while this piece is being opened
        next.catch(() => undefined); // reported when its turn comes
        yield piece;
      }
    } finally {
      await next.catch(() => undefined);
      await file.close();
    }
  }

  async delete(key: string): Promise<void> {
    await unavailableIfIo(rm(this.#pathOf(key), { force: true }));
    durableStep('blob-deleted');
  }

  async *list(): AsyncGenerator<string> {
    for (const folder of await unavailableIfIo(readdir(this.#directory)))
      if (/^[0-9a-f]{2}$/.test(folder))
        for (const name of await unavailableIfIo(readdir(join(this.#directory, folder))))
          if (isBlobKey(folder + name)) yield folder + name;
  }

  reconcile(isReferenced: (key: string) => Promise<boolean>): Promise<number> {
    return deleteOrphans(this, isReferenced);
  }

  #pathOf(key: string): string {
    verifyBlobKey(key);
    return join(this.#directory, key.slice(0, 2), key.slice(2));
  }
}
