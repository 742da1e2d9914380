/** A log in a bucket: a put is durable and whole, so there is nothing to sync. Needs a provider with conditional puts. */
import { randomUUID } from 'node:crypto';
import { durableStep } from '../durable-step.ts';
import { errorOf } from '../errors.ts';
import type { S3Folder } from '../vault/s3.ts';
import type { LogStore } from './log-store.ts';
import { ObjectWal } from './object-wal.ts';

/** A bundle of 256 entries of 64 KiB; everything else is smaller. */
const MAX_FILE_BYTES = 256 * (2 + 65_535);
const PROBE = 'conditional-put';

/**
 * Throws SETTING_INVALID when the provider overwrites in spite of `If-None-Match: *`: two writers of one log would not
 * notice each other.
 */
export async function openS3LogStore(folder: S3Folder): Promise<LogStore> {
  const probe = Buffer.from(randomUUID());
  await folder.put(PROBE, probe);
  if (await folder.put(PROBE, probe, { ifAbsent: true }))
    throw errorOf('SETTING_INVALID', 'The provider of BLOBS_URL has no conditional put (If-None-Match: *).');
  const put = async (path: string, bytes: Uint8Array) => void (await folder.put(path, bytes));
  return {
    put,
    async replace(path, bytes) {
      await put(path, bytes);
      durableStep('audit-checkpoint-written');
    },
    sync: async () => {},
    read: (path) => folder.read(path, MAX_FILE_BYTES),
    async list(directory) {
      const names = new Set<string>();
      for await (const path of folder.list(`${directory}/`)) names.add(path.slice(directory.length + 1).split('/')[0]!);
      return [...names];
    },
    async remove(path) {
      for await (const below of folder.list(`${path}/`)) await folder.delete(below);
      await folder.delete(path);
    },
    openWal: (bytes) => ObjectWal.open(folder.folder('wal'), bytes),
  };
}
