/** Files that a crash leaves as they were or as they were to be: what fsync(2) and rename(2) promise together. */
import { randomUUID } from 'node:crypto';
import { mkdir, open, rename, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * Replaces the file, mode 0600, and makes its directory when there is none. Durable on return; when it throws, what was
 * there is there still.
 */
export async function writeDurably(file: string, text: string): Promise<void> {
  const directory = dirname(file);
  if (await mkdir(directory, { recursive: true, mode: 0o700 })) await syncDirectory(dirname(directory));
  const temporary = `${file}.${randomUUID()}.tmp`;
  const handle = await open(temporary, 'wx', 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
    await handle.close();
    await rename(temporary, file);
  } catch (error) {
    await handle.close().catch(() => {});
    await unlink(temporary).catch(() => {});
    throw error;
  }
  await syncDirectory(directory);
}

async function syncDirectory(path: string): Promise<void> {
  if (process.platform === 'win32') return; // orders its metadata itself
  const directory = await open(path, 'r');
  await directory.sync().finally(() => directory.close());
}
