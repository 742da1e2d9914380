/**
 * Blobs in a bucket: object `blobs/<key>`. A blob is spooled in the data directory and put when its key is known; nothing
 * is under its final name before it is whole, since S3 shows an object only when it is complete.
 */
import { rm } from 'node:fs/promises';
import { makeDirectory } from '../durable-files.ts';
import { durableStep } from '../durable-step.ts';
import { errorOf } from '../errors.ts';
import type { BlobStore } from './blobs.ts';
import type { S3Folder } from './s3.ts';
import { deleteOrphans, isBlobKey, spooled, unavailableIfIo, verifyBlobKey } from './spool.ts';

/** `spool`: a directory, made and emptied here, whose only user this process must be; it holds ciphertext. */
export async function openS3Blobs(folder: S3Folder, spool: string): Promise<BlobStore> {
  await rm(spool, { recursive: true, force: true });
  await makeDirectory(spool);
  return new S3Blobs(folder.folder('blobs'), spool);
}

/**
 * Says that the bucket belongs to this state, whose id stands in its database. A start deletes the blobs that its database
 * does not know: two databases over one bucket would delete each other's. Throws STATE_INCOMPLETE.
 */
export async function claimBucket(folder: S3Folder, id: string): Promise<void> {
  if (await folder.put('owner', Buffer.from(id), { ifAbsent: true })) return;
  const owner = await folder.read('owner', 1024);
  if (owner?.toString() !== id)
    throw errorOf('STATE_INCOMPLETE', 'What lies under BLOBS_URL belongs to another database.');
}

class S3Blobs implements BlobStore {
  readonly #folder: S3Folder;
  readonly #spool: string;

  constructor(folder: S3Folder, spool: string) {
    this.#folder = folder;
    this.#spool = spool;
  }

  put(ciphertext: AsyncIterable<Uint8Array>): Promise<{ key: string; bytes: number }> {
    return spooled(this.#spool, ciphertext, { sync: false }, async (path, { key, bytes }) => {
      durableStep('blob-synced');
      await unavailableIfIo(this.#folder.putFile(key, path, bytes));
      durableStep('blob-stored');
    });
  }

  async *get(key: string, range?: { offset: number; length: number }): AsyncGenerator<Uint8Array> {
    verifyBlobKey(key);
    yield* this.#folder.get(key, range);
  }

  async delete(key: string): Promise<void> {
    verifyBlobKey(key);
    await this.#folder.delete(key);
    durableStep('blob-deleted');
  }

  async *list(): AsyncGenerator<string> {
    for await (const key of this.#folder.list()) if (isBlobKey(key)) yield key;
  }

  reconcile(isReferenced: (key: string) => Promise<boolean>): Promise<number> {
    return deleteOrphans(this, isReferenced);
  }
}
