/** What fsync(2) says: a new name in a directory lasts only once that directory is synced too. */
import { mkdir, open } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Syncs the entries of a directory. Windows has no such call and orders its metadata itself. */
export async function syncDirectory(path: string): Promise<void> {
  if (process.platform === 'win32') return;
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Makes the directory, and its parents, for this user alone. Durable on return. */
export async function makeDirectory(path: string): Promise<void> {
  const first = await mkdir(path, { recursive: true, mode: 0o700 });
  if (first === undefined) return;
  for (let made = path; made.length >= first.length; made = dirname(made)) await syncDirectory(dirname(made));
}
