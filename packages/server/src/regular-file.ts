/**
 * Reading and appending where the disk is the operator's. In the place of a file he can put a pipe, which hangs whoever
 * opens it, a device that never ends, or a link to either (open(2): O_NONBLOCK, O_NOFOLLOW; Windows has neither).
 */
import { constants, type FileHandle, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { syncDirectory } from './durable-files.ts';
import { errorOf } from './errors.ts';

const { O_RDONLY, O_WRONLY, O_APPEND, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = constants;
const SAFELY = O_NOFOLLOW | O_NONBLOCK;
const NO_FILE = ['ENOENT', 'ELOOP', 'ENXIO']; // nothing there, a link, a socket

/** Null for what is not there, is no regular file, or is larger than `maxBytes`. Throws what the disk says. */
export async function readRegularFile(path: string, maxBytes: number): Promise<Buffer | null> {
  let file: FileHandle;
  try {
    file = await open(path, O_RDONLY | SAFELY);
  } catch (error) {
    if (NO_FILE.includes((error as NodeJS.ErrnoException).code!)) return null;
    throw error;
  }
  try {
    const stat = await file.stat();
    if (!stat.isFile() || stat.size > maxBytes) return null;
    const bytes = Buffer.alloc(stat.size); // what it grows by meanwhile is not read
    let length = 0;
    while (length < bytes.length) {
      const { bytesRead } = await file.read(bytes, length, bytes.length - length);
      if (bytesRead === 0) break;
      length += bytesRead;
    }
    return bytes.subarray(0, length);
  } finally {
    await file.close();
  }
}

/**
 * Appends to a regular file, which is made when it is absent, mode 0600. Durable on return. Throws STORE_UNAVAILABLE
 * for what is no regular file or would become larger than `maxBytes`, and what the disk says.
 */
export async function appendRegularFile(path: string, text: string, maxBytes: number): Promise<void> {
  const file = await open(path, O_WRONLY | O_APPEND | O_CREAT | SAFELY, 0o600);
  try {
    const stat = await file.stat();
    if (!stat.isFile() || stat.size + Buffer.byteLength(text) > maxBytes)
      throw errorOf('STORE_UNAVAILABLE', 'A file cannot be appended to: it is no regular file, or is full.');
    await file.appendFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await syncDirectory(dirname(path));
}
