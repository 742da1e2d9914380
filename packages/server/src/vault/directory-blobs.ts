/**
 * Blobs as files: `ab/cdef…` for the key `abcdef…`, written under `tmp/` and renamed when complete and synced. A file
 * under its final name is therefore always whole; what is left in `tmp/` by a crash is removed at start.
 */
import { createHash, randomUUID } from 'node:crypto';
import { type FileHandle, open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { makeDirectory, syncDirectory } from '../durable-files.ts';
import { durableStep } from '../durable-step.ts';
import { errorOf } from '../errors.ts';
import type { BlobStore } from './blobs.ts';

const KEY = /^[0-9a-f]{64}$/;
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
    const path = join(this.#temporary, randomUUID());
    try {
      const written = await writeAll(await unavailableIfIo(open(path, 'wx', 0o600)), ciphertext);
      durableStep('blob-synced');
      await unavailableIfIo(this.#publish(path, written.key));
      durableStep('blob-stored');
      return written;
    } catch (error) {
      await rm(path, { force: true }).catch(() => undefined); // else the next start removes it
      throw error;
    }
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
          if (KEY.test(folder + name)) yield folder + name;
  }

  async reconcile(isReferenced: (key: string) => Promise<boolean>): Promise<number> {
    let deleted = 0;
    for await (const key of this.list()) {
      if (await isReferenced(key)) continue;
      await this.delete(key);
      deleted++;
    }
    return deleted;
  }

  /** Keys come from rows, and rows lie outside the trust boundary: nothing but a digest may become a path. */
  #pathOf(key: string): string {
    if (!KEY.test(key)) throw errorOf('SEAL_BROKEN', 'A blob key is not a SHA-256 digest.');
    return join(this.#directory, key.slice(0, 2), key.slice(2));
  }
}

/** Writes the stream, syncs and closes the file. */
async function writeAll(file: FileHandle, pieces: AsyncIterable<Uint8Array>): Promise<{ key: string; bytes: number }> {
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
    await unavailableIfIo(file.datasync());
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

/** Errors of the file system (they have an errno) become STORE_UNAVAILABLE without the path; others pass. */
async function unavailableIfIo<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof Error && 'errno' in error && 'code' in error)
      throw errorOf('STORE_UNAVAILABLE', `The blob store answered ${error.code}.`);
    throw error;
  }
}
