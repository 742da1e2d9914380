/**
 * The key of the queue, `DIR/key`, mode 0600. It protects what leaves this machine without the key: a disk that is sold, a
 * backup of `DIR/queue`. Whoever is this user on this machine can read both.
 */
import { randomBytes } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { errorOf } from '../codes.ts';
import { replaceDurably } from './durable.ts';
import { KEY_BYTES, openFile, sealFile } from './sealed-file.ts';

const FORM = /^abaton-queue-key-v1 ([0-9a-f]{64})\n$/;
const EXPOSED = 0o077; // any permission of group or others

/** What `DIR/key-check` holds, sealed: a key from an old backup must be noticed before it declares all uploads damaged. */
const CHECK = { kind: 'answer', id: '00'.repeat(16), text: 'abaton-queue-key-check' } as const;

/** Reads the key, or makes it where nothing is queued yet. Throws QUEUE_KEY_INVALID. */
export async function openKeyFile(dir: string): Promise<Buffer> {
  const key = await readKey(dir);
  const file = join(dir, 'key-check');
  if (!(await stat(file).catch(() => null)))
    await replaceDurably(file, await collect(sealFile(key, CHECK.kind, CHECK.id, [Buffer.from(CHECK.text)])));
  try {
    const [text] = await collect(openFile(key, CHECK.kind, CHECK.id, file));
    if (text?.toString() === CHECK.text) return key;
  } catch {}
  throw errorOf('QUEUE_KEY_INVALID', 'The key file is not the one that this queue was sealed with.');
}

async function collect(chunks: AsyncIterable<Buffer>): Promise<Buffer[]> {
  const all: Buffer[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return all;
}

async function readKey(dir: string): Promise<Buffer> {
  const file = join(dir, 'key');
  const about = await stat(file).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
  if (!about) {
    const sealed = (await readdir(join(dir, 'queue'))).length;
    if (sealed > 0)
      throw errorOf('QUEUE_KEY_INVALID', `The key file is missing, and ${sealed} files are sealed by it.`);
    const key = randomBytes(KEY_BYTES);
    await replaceDurably(file, [Buffer.from(`abaton-queue-key-v1 ${key.toString('hex')}\n`)]);
    return key;
  }
  if (process.platform !== 'win32' && (about.mode & EXPOSED) !== 0)
    throw errorOf('QUEUE_KEY_INVALID', 'The key file can be read by others: set its mode to 0600.');
  const [, hex] = FORM.exec(await readFile(file, 'utf8')) ?? [];
  if (hex === undefined) throw errorOf('QUEUE_KEY_INVALID', 'The key file is not of version 1.');
  return Buffer.from(hex, 'hex');
}
