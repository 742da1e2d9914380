/** One process at a time, over a directory. */
import { DatabaseSync } from 'node:sqlite';
import { errorOf, type GatewayCode } from './codes.ts';

/**
 * SQLite's lock on a file that holds nothing: the system lets it go when the process ends, however it ends. Throws
 * `code` when another process has it.
 */
export function takeLock(file: string, code: GatewayCode, message: string): DatabaseSync {
  const lock = new DatabaseSync(file);
  try {
    lock.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE;');
    return lock;
  } catch (cause) {
    lock.close();
    throw errorOf(code, message, { cause });
  }
}
