/**
 * What is in the keyholder's folder, one small file for each epoch (form: queue/sealed-file.ts).
 *
 * | file | meaning |
 * |---|---|
 * | `epoch-N.share` | held; sealed under a generation of the key file |
 * | `epoch-N.destroyed` | its tombstone: the epoch is never made again; sealed under a key of the signing seed, which no destruction ends |
 * | `NAME.part` | of a process that was killed; erased at the start |
 */
import { createHash, hkdfSync } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { SHARE_BYTES } from '@abaton/client';
import { errorOf } from '../codes.ts';
import { replaceDurably } from '../queue/durable.ts';
import { ID_BYTES, KEY_BYTES, openFile, sealFile } from '../queue/sealed-file.ts';
import { eraseFile } from './erase.ts';

export interface FoundEpochs {
  shares: Set<number>;
  tombstones: Set<number>;
}

const NAME = /^epoch-([1-9]\d{0,8})\.(share|destroyed)$/;
export const shareFile = (dir: string, epoch: number): string => join(dir, `epoch-${epoch}.share`);
export const tombstoneFile = (dir: string, epoch: number): string => join(dir, `epoch-${epoch}.destroyed`);

/** A file opens only as the one of its subject and epoch. */
const idOf = (subject: string, epoch: number): string =>
  createHash('sha256')
    .update(`${subject}\n${epoch}`)
    .digest('hex')
    .slice(0, ID_BYTES * 2);

const tombstoneKey = (seed: Uint8Array): Buffer =>
  Buffer.from(hkdfSync('sha256', seed, '', 'abaton/keyholder/tombstones/v1', KEY_BYTES));

const damaged = (epoch: number, cause: unknown) =>
  errorOf('KEYHOLDER_STATE_INVALID', `The file of epoch ${epoch} does not open with this key file.`, { cause });

/** Names alone: nothing is opened. */
export async function listEpochs(dir: string): Promise<FoundEpochs> {
  const found: FoundEpochs = { shares: new Set(), tombstones: new Set() };
  for (const name of await readdir(dir)) {
    const [, epoch, kind] = NAME.exec(name) ?? [];
    if (epoch !== undefined) found[kind === 'share' ? 'shares' : 'tombstones'].add(Number(epoch));
  }
  return found;
}

/** Of a process that was killed: never named as a state of an epoch. */
export async function eraseParts(dir: string): Promise<void> {
  for (const name of await readdir(dir)) if (/^epoch-.*\.part$/.test(name)) await eraseFile(join(dir, name));
}

/** Durable on return. */
export const writeShare = (
  dir: string,
  key: Uint8Array,
  subject: string,
  epoch: number,
  share: Uint8Array,
): Promise<void> => replaceDurably(shareFile(dir, epoch), sealFile(key, 'share', idOf(subject, epoch), [share]));

/** Throws KEYHOLDER_STATE_INVALID when none of the keys opens it, and what the disk says. */
export async function readShare(
  dir: string,
  keys: readonly Uint8Array[],
  subject: string,
  epoch: number,
): Promise<{ share: Buffer; key: Uint8Array }> {
  let last: unknown;
  for (const key of keys) {
    const share = await readSealed(key, 'share', subject, epoch, shareFile(dir, epoch)).catch((error) => {
      if (error?.code !== 'OBJECT_DAMAGED') throw error;
      last = error;
      return null;
    });
    if (share?.length === SHARE_BYTES) return { share, key };
  }
  throw damaged(epoch, last);
}

/** Durable on return. */
export const writeTombstone = (dir: string, seed: Uint8Array, subject: string, epoch: number): Promise<void> =>
  replaceDurably(
    tombstoneFile(dir, epoch),
    sealFile(tombstoneKey(seed), 'tombstone', idOf(subject, epoch), [Buffer.from(new Date().toISOString())]),
  );

/** Throws KEYHOLDER_STATE_INVALID, and what the disk says. */
export async function checkTombstone(dir: string, seed: Uint8Array, subject: string, epoch: number): Promise<void> {
  try {
    await readSealed(tombstoneKey(seed), 'tombstone', subject, epoch, tombstoneFile(dir, epoch));
  } catch (error) {
    throw (error as { code?: string }).code === 'OBJECT_DAMAGED' ? damaged(epoch, error) : error;
  }
}

async function readSealed(
  key: Uint8Array,
  kind: 'share' | 'tombstone',
  subject: string,
  epoch: number,
  file: string,
): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of openFile(key, kind, idOf(subject, epoch), file)) chunks.push(chunk);
  return Buffer.concat(chunks);
}
