/**
 * The key of the queue, `DIR/key`, mode 0600. It protects what leaves this machine without the key: a disk that is
 * sold, a backup of `DIR/queue`. Whoever is this user on this machine can read both.
 */
import { randomBytes } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { errorOf } from '../codes.ts';
import { replaceDurably } from './durable.ts';
import { isSealedBy, KEY_BYTES, type SealedFile, sealFile } from './sealed-file.ts';

const FORM = /^abaton-queue-key-v1 ([0-9a-f]{64})\n$/;
const EXPOSED = 0o077; // any permission of group or others

/** `DIR/key-check`, a file that is sealed by the key: one from an old backup must not declare all uploads damaged. */
const CHECK = { kind: 'answer', id: '00'.repeat(16), text: 'abaton-queue-key-check' } as const;

/**
 * Reads the key, or makes it where nothing is sealed. `sealed`: what it has to open in `DIR/queue`. Throws
 * QUEUE_KEY_INVALID when neither the check nor any of these opens with it.
 */
export async function openKeyFile(dir: string, sealed: readonly SealedFile[]): Promise<Buffer> {
  const key = (await readKey(dir)) ?? (await makeKey(dir, sealed.length));
  const check = join(dir, 'key-check');
  if (await isSealedBy(key, CHECK.kind, CHECK.id, check)) return key;
  if (sealed.length > 0 && !(await opensAny(key, dir, sealed)))
    throw errorOf('QUEUE_KEY_INVALID', `The key file is not the one that has sealed the ${sealed.length} files.`);
  await replaceDurably(check, sealFile(key, CHECK.kind, CHECK.id, [Buffer.from(CHECK.text)]));
  return key;
}

async function opensAny(key: Uint8Array, dir: string, sealed: readonly SealedFile[]): Promise<boolean> {
  for (const { kind, id, name } of sealed) if (await isSealedBy(key, kind, id, join(dir, 'queue', name))) return true;
  return false;
}

async function makeKey(dir: string, sealedCount: number): Promise<Buffer> {
  if (sealedCount > 0)
    throw errorOf('QUEUE_KEY_INVALID', `The key file is missing, and ${sealedCount} files are sealed by it.`);
  const key = randomBytes(KEY_BYTES);
  await replaceDurably(join(dir, 'key'), [Buffer.from(`abaton-queue-key-v1 ${key.toString('hex')}\n`)]);
  return key;
}

/** Null: there is none. */
async function readKey(dir: string): Promise<Buffer | null> {
  const file = join(dir, 'key');
  const about = await stat(file).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
  if (!about) return null;
  if (process.platform !== 'win32' && (about.mode & EXPOSED) !== 0)
    throw errorOf('QUEUE_KEY_INVALID', 'The key file can be read by others: set its mode to 0600.');
  const [, hex] = FORM.exec(await readFile(file, 'utf8')) ?? [];
  if (hex === undefined) throw errorOf('QUEUE_KEY_INVALID', 'The key file is not of version 1.');
  return Buffer.from(hex, 'hex');
}
