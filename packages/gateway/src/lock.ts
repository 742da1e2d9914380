/** One process uses a directory at a time. */
import { DatabaseSync } from 'node:sqlite';
import { errorOf, GATEWAY_CODES } from './codes.ts';

/**
 * SQLite's lock on a file that holds nothing: the system lets it go when the process ends, however it ends. Throws `code`
 * when another holds it.
 */
export function takeLock(file: string, code: 'QUEUE_IN_USE' | 'WITNESS_IN_USE' | 'KEYHOLDER_IN_USE'): DatabaseSync {
  const lock = new DatabaseSync(file);
  try {
    lock.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE;');
    return lock;
  } catch (cause) {
    lock.close();
    throw errorOf(code, GATEWAY_CODES[code].meaning, { cause });
  }
}
