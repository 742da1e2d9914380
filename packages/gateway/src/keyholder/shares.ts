/**
 * The shares of one subject, and what may become of them. An epoch is held or destroyed, and never held again:
 *
 *     none ── 1, or the next after the newest, which is held ──▶ held ── a newer one is held ──▶ destroyed
 *
 * Durable in this order, so that a crash between any two steps is finished at the next start:
 *
 * - made: the share's file, then the key file counts it; only then is it given out.
 * - destroyed: the key file says so and has a second generation; tombstone; the share's bytes are overwritten; the other shares
 *   are sealed under the new generation; the key file, overwritten, has the new generation alone.
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { type NoteSigner, SHARE_BYTES } from '@abaton/client';
import { errorOf } from '../codes.ts';
import { takeLock } from '../lock.ts';
import { makeDirectory } from '../queue/durable.ts';
import { eraseFile } from './erase.ts';
import { isSubject, type KeyMaterial, newGeneration, openKeyFile, replaceKeyFile, signerOf } from './key-file.ts';
import {
  checkTombstone,
  eraseParts,
  listEpochs,
  readShare,
  shareFile,
  writeShare,
  writeTombstone,
} from './share-folder.ts';

export interface EpochState {
  epoch: number;
  state: 'held' | 'destroyed';
}

/** One call at a time. Each may throw what the disk says; the same call again then goes on where it ended. */
export interface Shares {
  signer: NoteSigner;
  /** Null: not pinned yet. */
  subject(): string | null;
  states(): EpochState[];
  /**
   * The share of an epoch, the same ever after; made, durably, when it is the next one. `made`: just now. Throws SUBJECT_OTHER,
   * EPOCH_DESTROYED or EPOCH_UNEXPECTED.
   */
  share(subject: string, epoch: number): Promise<{ share: Buffer; made: boolean }>;
  /** Durable on return; nothing to do when it was. Throws SUBJECT_OTHER, EPOCH_NEEDED or EPOCH_UNEXPECTED. */
  destroy(subject: string, epoch: number): Promise<void>;
  /** The keys, for an escrow copy. Overwritten by `close`. */
  material(): KeyMaterial;
  close(): void;
}

export interface SharesOptions {
  keyFile: string;
  dir: string;
  /** Pins it, where nothing is pinned yet. Default: the first one that is asked for. */
  subject?: string;
}

/** The lock of folder and key file. Throws KEYHOLDER_IN_USE. */
export function lockKeyholder(dir: string, keyFile: string): { close(): void } {
  const folder = takeLock(join(dir, 'lock'), 'KEYHOLDER_IN_USE');
  try {
    const key = takeLock(`${keyFile}.lock`, 'KEYHOLDER_IN_USE');
    return {
      close() {
        key.close();
        folder.close();
      },
    };
  } catch (error) {
    folder.close();
    throw error;
  }
}

/**
 * Opens the folder (or makes it), looks at every file, and finishes what a crash has interrupted. Throws KEYHOLDER_IN_USE,
 * KEYHOLDER_KEY_INVALID, KEYHOLDER_STATE_INVALID, and SUBJECT_OTHER when another subject is pinned.
 */
export async function openShares({ keyFile, dir, subject }: SharesOptions): Promise<Shares> {
  await makeDirectory(dir);
  const lock = lockKeyholder(dir, keyFile);
  try {
    const material = await openKeyFile(keyFile);
    const shares = createShares(await recover(keyFile, dir, material), keyFile, dir, () => lock.close());
    if (subject !== undefined) await shares.pin(subject);
    return shares;
  } catch (error) {
    lock.close();
    throw error;
  }
}

const keysOf = ({ generations }: KeyMaterial): Buffer[] => generations.map(({ key }) => key).reverse();

/** The folder holds what the key file says, or what a crash between two steps explains. Returns the state after repair. */
async function recover(keyFile: string, dir: string, material: KeyMaterial): Promise<KeyMaterial> {
  const { subject, destroyed, seed } = material;
  const found = await listEpochs(dir);
  const stale = (epoch: number, what: string) =>
    errorOf('KEYHOLDER_STATE_INVALID', `The folder and the key file are not of one time: epoch ${epoch} ${what}.`);
  const moving = material.generations.length === 2;
  const next = material.epochs + 1;
  for (const epoch of [...found.shares, ...found.tombstones])
    if (subject === null || epoch > next || (epoch === next && found.tombstones.has(epoch)))
      throw stale(epoch, 'is not known to the key file');
  for (let epoch = 1; epoch <= next; epoch++) {
    const isDestroyed = destroyed.includes(epoch);
    if (found.tombstones.has(epoch)) {
      if (!isDestroyed) throw stale(epoch, 'is destroyed in the folder only');
      await checkTombstone(dir, seed, subject!, epoch);
    } else if (isDestroyed && !moving) throw stale(epoch, 'has lost its tombstone');
    if (found.shares.has(epoch) && !isDestroyed)
      (await readShare(dir, keysOf(material), subject!, epoch)).share.fill(0);
    else if (!isDestroyed && epoch < next) throw stale(epoch, 'has lost its share');
    else if (isDestroyed && found.shares.has(epoch) && !moving) throw stale(epoch, 'has its share again');
  }
  await eraseParts(dir);
  if (moving) return finishDestruction(keyFile, dir, material);
  if (!found.shares.has(next)) return material;
  const counted = { ...material, epochs: next };
  await replaceKeyFile(keyFile, counted);
  return counted;
}

/** From the moment on when the key file has a second generation. May be done again. */
async function finishDestruction(keyFile: string, dir: string, material: KeyMaterial): Promise<KeyMaterial> {
  const { seed, subject, epochs, destroyed } = material;
  const newest = material.generations.at(-1)!;
  const found = await listEpochs(dir);
  for (const epoch of destroyed) {
    if (!found.tombstones.has(epoch)) await writeTombstone(dir, seed, subject!, epoch);
    await eraseFile(shareFile(dir, epoch));
  }
  for (let epoch = 1; epoch <= epochs; epoch++) {
    if (destroyed.includes(epoch)) continue;
    const { share, key } = await readShare(dir, keysOf(material), subject!, epoch);
    if (key !== newest.key) await writeShare(dir, newest.key, subject!, epoch, share);
    share.fill(0);
  }
  const finished: KeyMaterial = { ...material, generations: [newest] };
  await replaceKeyFile(keyFile, finished);
  for (const { key } of material.generations) if (key !== newest.key) key.fill(0);
  return finished;
}

function createShares(
  opened: KeyMaterial,
  keyFile: string,
  dir: string,
  unlock: () => void,
): Shares & { pin(subject: string): Promise<void> } {
  let material = opened;
  const isDestroyed = (epoch: number) => material.destroyed.includes(epoch);
  const isHeld = (epoch: number) => epoch >= 1 && epoch <= material.epochs && !isDestroyed(epoch);

  const replace = async (next: KeyMaterial): Promise<void> => {
    await replaceKeyFile(keyFile, next);
    material = next;
  };

  const checkSubject = (subject: string): void => {
    if (material.subject !== null && material.subject !== subject)
      throw errorOf('SUBJECT_OTHER', 'These are shares of another subject.');
    if (!isSubject(subject)) throw errorOf('SUBJECT_OTHER', 'The subject is none that can be kept.');
  };

  const pin = async (subject: string): Promise<void> => {
    checkSubject(subject);
    if (material.subject === null) await replace({ ...material, subject });
  };

  return {
    signer: signerOf(material),
    subject: () => material.subject,
    states: () =>
      Array.from({ length: material.epochs }, (_, at) => ({
        epoch: at + 1,
        state: isDestroyed(at + 1) ? 'destroyed' : 'held',
      })),
    pin,
    async share(subject, epoch) {
      checkSubject(subject);
      if (isDestroyed(epoch))
        throw errorOf('EPOCH_DESTROYED', `Epoch ${epoch} is destroyed: the server runs on old state.`);
      if (isHeld(epoch)) return { share: (await readShare(dir, keysOf(material), subject, epoch)).share, made: false };
      if (epoch !== material.epochs + 1 || (epoch > 1 && !isHeld(epoch - 1)))
        throw errorOf('EPOCH_UNEXPECTED', `Epoch ${epoch} is not the next one: ${material.epochs} were made.`);
      await pin(subject);
      const share = randomBytes(SHARE_BYTES);
      await writeShare(dir, keysOf(material)[0]!, subject, epoch, share);
      await replace({ ...material, epochs: epoch });
      return { share, made: true };
    },
    async destroy(subject, epoch) {
      checkSubject(subject);
      if (material.generations.length === 2) material = await finishDestruction(keyFile, dir, material); // of a failed disk
      if (isDestroyed(epoch)) return;
      if (!isHeld(epoch)) throw errorOf('EPOCH_UNEXPECTED', `Epoch ${epoch} was never made.`);
      if (!isHeld(material.epochs) || epoch === material.epochs)
        throw errorOf('EPOCH_NEEDED', `Epoch ${epoch} is the newest.`);
      const [current] = material.generations;
      await replace({
        ...material,
        destroyed: [...material.destroyed, epoch].sort((a, b) => a - b),
        generations: [current, newGeneration(current.number + 1)],
      });
      material = await finishDestruction(keyFile, dir, material);
    },
    material: () => material,
    close() {
      material.seed.fill(0);
      for (const { key } of material.generations) key.fill(0);
      unlock();
    },
  };
}
