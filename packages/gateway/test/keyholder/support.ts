/** A keyholder's files in a scratch directory: the key on one medium, the folder on another. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createKeyFile, newKeyMaterial, signerOf } from '../../src/index.ts';
import { openShares, type Shares, type SharesOptions } from '../../src/keyholder/shares.ts';

export const SUBJECT = 'abaton/5f3a90b1d2e4';
export const NAME = 'hospital.example/keyholder';

export interface Place extends SharesOptions {
  root: string;
  vkey: string;
  remove(): void;
}

/** With a key file, and no folder yet. */
export async function makePlace(): Promise<Place> {
  const root = mkdtempSync(join(tmpdir(), 'abaton-keyholder-'));
  mkdirSync(join(root, 'medium'), { mode: 0o700 });
  const keyFile = join(root, 'medium', 'keyholder.key');
  const material = newKeyMaterial(NAME);
  await createKeyFile(keyFile, material);
  return {
    root,
    keyFile,
    dir: join(root, 'shares'),
    vkey: signerOf(material).vkey,
    remove: () => rmSync(root, { recursive: true }),
  };
}

export const optionsOf = ({ keyFile, dir }: Place): SharesOptions => ({ keyFile, dir });

/** Opens it for as long as `use` runs. */
export async function withShares<T>(place: Place, use: (shares: Shares) => Promise<T> | T): Promise<T> {
  const shares = await openShares(optionsOf(place));
  try {
    return await use(shares);
  } finally {
    shares.close();
  }
}

/** Hex of the share; made when it is the next one. */
export const shareOf = async (shares: Shares, epoch: number): Promise<string> =>
  (await shares.share(SUBJECT, epoch)).share.toString('hex');

/** The newest key of the key file. */
export const sealingKeyIn = (keyFile: string): Buffer =>
  Buffer.from([...readFileSync(keyFile, 'utf8').matchAll(/^generation \d+ (\S+)$/gm)].at(-1)![1]!, 'hex');
