/**
 * An escrow copy: all that a keyholder is, in one file under a passphrase. Whoever loses the shares loses everything that is
 * stored; this is the way back.
 *
 * | offset | length | meaning |
 * |---:|---:|---|
 * | 0 | 4 | 'ABTE' |
 * | 4 | 1 | version, 1 |
 * | 5 | 16 | salt of scrypt (RFC 7914), N = 2^17, r = 8, p = 1 |
 * | 21 | 12 | nonce |
 * | 33 | n + 16 | AES-256-GCM of JSON, with bytes 0–32 as associated data, and its tag |
 */
import { createCipheriv, createDecipheriv, randomBytes, scrypt, timingSafeEqual } from 'node:crypto';
import { open, readFile, stat, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { SHARE_BYTES } from '@abaton/client';
import { errorOf } from '../codes.ts';
import { makeDirectory, syncDirectory } from '../queue/durable.ts';
import { KEY_BYTES } from '../queue/sealed-file.ts';
import {
  createKeyFile,
  hasKeyFile,
  isSubject,
  type KeyMaterial,
  newGeneration,
  openKeyFile,
  replaceKeyFile,
} from './key-file.ts';
import { checkTombstone, listEpochs, writeShare, writeTombstone } from './share-folder.ts';
import { lockKeyholder, openShares, type SharesOptions } from './shares.ts';

/** NIST SP 800-63B-4, section 3.1.1.2: of a password that stands alone. Nothing else protects the file. */
export const MIN_PASSPHRASE_CHARS = 15;

const MAGIC = Buffer.from('ABTE\x01');
const SALT_BYTES = 16;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const HEADER_BYTES = MAGIC.length + SALT_BYTES + NONCE_BYTES;
const MAX_BYTES = 2 ** 24; // an epoch takes some 100
/** OWASP Password Storage Cheat Sheet, scrypt: 128 MiB of memory for each guess. */
const SCRYPT = { N: 2 ** 17, r: 8, p: 1, maxmem: 2 ** 28 };

interface Escrow {
  version: 1;
  name: string;
  seed: string;
  subject: string | null;
  /** Of epochs 1 … n; null: destroyed. */
  shares: (string | null)[];
}

const invalid = (cause?: unknown) =>
  errorOf('ESCROW_INVALID', 'The escrow copy does not open: another passphrase, or it was changed or cut.', { cause });

const deriveKey = (passphrase: Uint8Array, salt: Uint8Array): Promise<Buffer> =>
  promisify<Uint8Array, Uint8Array, number, typeof SCRYPT, Buffer>(scrypt)(passphrase, salt, KEY_BYTES, SCRYPT);

/**
 * Writes the copy, mode 0600, never over a file. Durable on return. The keyholder must not run meanwhile. Throws what
 * `openShares` does, and what the disk says. Returns the epochs that it holds.
 */
export async function exportEscrow(options: SharesOptions, to: string, passphrase: Uint8Array): Promise<number[]> {
  const shares = await openShares(options);
  try {
    const { name, seed } = shares.material();
    const subject = shares.subject();
    const all: (string | null)[] = [];
    for (const { epoch, state } of shares.states())
      all.push(state === 'held' ? (await shares.share(subject!, epoch)).share.toString('hex') : null);
    const escrow: Escrow = { version: 1, name, seed: seed.toString('hex'), subject, shares: all };
    await writeNew(to, await seal(Buffer.from(JSON.stringify(escrow)), passphrase));
    return all.flatMap((share, at) => (share === null ? [] : [at + 1]));
  } finally {
    shares.close();
  }
}

/**
 * Makes key file and folder from a copy. A key file that is left keeps its say: what it, the folder's tombstones or the copy call
 * destroyed stays destroyed. Shares that are in the folder are never touched. Throws ESCROW_INVALID, KEYHOLDER_IN_USE,
 * KEYHOLDER_KEY_INVALID for a key file of another keyholder, and KEYHOLDER_STATE_INVALID for a folder with shares or a copy that is
 * older than the newest epoch.
 */
export async function importEscrow(
  { keyFile, dir }: Pick<SharesOptions, 'keyFile' | 'dir'>,
  from: string,
  passphrase: Uint8Array,
): Promise<{ held: number[]; destroyed: number[] }> {
  const escrow = parseEscrow(await unseal(from, passphrase));
  await makeDirectory(dir);
  const lock = lockKeyholder(dir, keyFile);
  try {
    return await restore(escrow, keyFile, dir);
  } finally {
    lock.close();
  }
}

async function restore(
  { name, seed: seedHex, subject, shares }: Escrow,
  keyFile: string,
  dir: string,
): Promise<{ held: number[]; destroyed: number[] }> {
  const stale = (why: string) => errorOf('KEYHOLDER_STATE_INVALID', `Nothing was imported: ${why}.`);
  const seed = Buffer.from(seedHex, 'hex');
  const before = (await hasKeyFile(keyFile)) ? await openKeyFile(keyFile) : null;
  if (before && (!timingSafeEqual(before.seed, seed) || (before.subject ?? subject) !== subject))
    throw errorOf('KEYHOLDER_KEY_INVALID', 'Nothing was imported: the key file is of another keyholder.');
  const found = await listEpochs(dir);
  const epochs = Math.max(before?.epochs ?? 0, shares.length, ...found.tombstones, ...found.shares);
  if (epochs > shares.length) throw stale(`the copy ends at epoch ${shares.length}, and ${epochs} were made`);
  if (found.shares.size > 0) throw stale('the folder holds shares; move them away, and leave the tombstones');
  for (const epoch of found.tombstones) await checkTombstone(dir, seed, subject ?? '', epoch);

  const isDestroyed = (epoch: number) =>
    shares[epoch - 1] === null || found.tombstones.has(epoch) || (before?.destroyed.includes(epoch) ?? false);
  const all = shares.map((_, at) => at + 1);
  const destroyed = all.filter(isDestroyed);
  const held = all.filter((epoch) => !isDestroyed(epoch));
  const generation = newGeneration((before?.generations.at(-1)?.number ?? 0) + 1);
  for (const epoch of destroyed) if (!found.tombstones.has(epoch)) await writeTombstone(dir, seed, subject!, epoch);
  for (const epoch of held)
    await writeShare(dir, generation.key, subject!, epoch, Buffer.from(shares[epoch - 1]!, 'hex'));
  const material: KeyMaterial = { name, seed, subject, epochs, destroyed, generations: [generation] };
  await (before ? replaceKeyFile(keyFile, material) : createKeyFile(keyFile, material)); // last: without it nothing counts
  return { held, destroyed };
}

async function seal(plaintext: Buffer, passphrase: Uint8Array): Promise<Buffer> {
  const salt = randomBytes(SALT_BYTES);
  const nonce = randomBytes(NONCE_BYTES);
  const header = Buffer.concat([MAGIC, salt, nonce]);
  const key = await deriveKey(passphrase, salt);
  const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(header);
  const sealed = Buffer.concat([header, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
  key.fill(0);
  plaintext.fill(0);
  return sealed;
}

/** Throws ESCROW_INVALID, and what the disk says. */
async function unseal(file: string, passphrase: Uint8Array): Promise<string> {
  if ((await stat(file)).size > MAX_BYTES) throw invalid();
  const bytes = await readFile(file);
  if (bytes.length < HEADER_BYTES + TAG_BYTES || !bytes.subarray(0, MAGIC.length).equals(MAGIC)) throw invalid();
  const header = bytes.subarray(0, HEADER_BYTES);
  const key = await deriveKey(passphrase, header.subarray(MAGIC.length, MAGIC.length + SALT_BYTES));
  try {
    const decipher = createDecipheriv('aes-256-gcm', key, header.subarray(-NONCE_BYTES))
      .setAAD(header)
      .setAuthTag(bytes.subarray(-TAG_BYTES));
    const plaintext = decipher.update(bytes.subarray(HEADER_BYTES, -TAG_BYTES));
    decipher.final();
    return plaintext.toString('utf8');
  } catch (cause) {
    throw invalid(cause);
  } finally {
    key.fill(0);
  }
}

/** It is authentic: only its version is in question. */
function parseEscrow(text: string): Escrow {
  const escrow = JSON.parse(text) as Escrow;
  const isShare = (share: string | null) => share === null || Buffer.from(share, 'hex').length === SHARE_BYTES;
  const isKnown = escrow.version === 1 && escrow.shares.every(isShare);
  if (!isKnown || (escrow.subject === null ? escrow.shares.length > 0 : !isSubject(escrow.subject))) throw invalid();
  return escrow;
}

async function writeNew(file: string, bytes: Uint8Array): Promise<void> {
  const handle = await open(file, 'wx', 0o600);
  try {
    await handle.writeFile(bytes);
    await handle.sync();
  } catch (error) {
    await unlink(file).catch(() => {});
    throw error;
  } finally {
    await handle.close();
  }
  await syncDirectory(dirname(file));
}
