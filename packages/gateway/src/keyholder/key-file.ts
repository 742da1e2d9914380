/**
 * The keyholder's key file, mode 0600, best on other media than the folder with the shares:
 *
 *     abaton-keyholder-key-v1
 *     name hospital.example/keyholder
 *     sign <seed of the Ed25519 key, 64 hex digits>
 *     subject abaton/<app id>             or `-`: not pinned yet
 *     epochs 3                            made so far
 *     destroyed 1,2                       or `-`
 *     generation 4 <key, 64 hex digits>   seals the shares; a second line while shares are moved to the next generation
 *     sum <SHA-256 of the lines above, 64 hex digits>
 *
 * It says what the folder has to hold, so that neither an older folder nor an older key file is taken for the present state.
 * Each destruction begins a generation and ends the one before: an old copy of the folder does not open with this file.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { createNoteSigner } from '@abaton/client';
import { ED25519_TYPE } from '@abaton/verify';
import { errorOf } from '../codes.ts';
import { commitPart, syncDirectory, writePart } from '../queue/durable.ts';
import { KEY_BYTES } from '../queue/sealed-file.ts';
import { eraseFile, replaceSecret } from './erase.ts';

export interface Generation {
  number: number;
  key: Buffer;
}

export interface KeyMaterial {
  /** Of the verifier key. */
  name: string;
  /** Of the Ed25519 key that signs what is said to the server. */
  seed: Buffer;
  /** Null: not pinned yet. */
  subject: string | null;
  /** Epochs 1 … n were made. */
  epochs: number;
  /** Which of them are destroyed. */
  destroyed: readonly number[];
  /** The newest last. Two: shares are being moved from the first to the second. */
  generations: readonly [Generation] | readonly [Generation, Generation];
}

const FORM = new RegExp(
  [
    '^abaton-keyholder-key-v1',
    'name (\\S+)',
    'sign ([0-9a-f]{64})',
    'subject (\\S+)',
    'epochs (0|[1-9]\\d{0,8})',
    'destroyed (-|[\\d,]+)',
    'generation ([1-9]\\d{0,8}) ([0-9a-f]{64})',
    '(?:generation ([1-9]\\d{0,8}) ([0-9a-f]{64})\n)?sum ([0-9a-f]{64})\n$',
  ].join('\n'),
);
const EXPOSED = 0o077; // any permission of group or others
const MAX_BYTES = 2 ** 20;

const invalid = (message: string, cause?: unknown) => errorOf('KEYHOLDER_KEY_INVALID', message, { cause });
const sumOf = (text: string): Buffer => createHash('sha256').update(text).digest();

/** What a token may be that names an app: it stands in a line, and in logs. */
export const isSubject = (text: string): boolean => /^[\w./:][\w./:-]{0,127}$/.test(text);

export const signerOf = ({ name, seed }: Pick<KeyMaterial, 'name' | 'seed'>) =>
  createNoteSigner({ name, type: ED25519_TYPE, seed });

export const newGeneration = (number: number): Generation => ({ number, key: randomBytes(KEY_BYTES) });

/** Fresh keys. Throws VKEY_INVALID for a name that cannot stand in a verifier key. */
export function newKeyMaterial(name: string): KeyMaterial {
  const material: KeyMaterial = {
    name,
    seed: randomBytes(KEY_BYTES),
    subject: null,
    epochs: 0,
    destroyed: [],
    generations: [newGeneration(1)],
  };
  signerOf(material);
  return material;
}

export function formatKeyMaterial({ name, seed, subject, epochs, destroyed, generations }: KeyMaterial): string {
  const lines = [
    'abaton-keyholder-key-v1',
    `name ${name}`,
    `sign ${seed.toString('hex')}`,
    `subject ${subject ?? '-'}`,
    `epochs ${epochs}`,
    `destroyed ${destroyed.join(',') || '-'}`,
    ...generations.map(({ number, key }) => `generation ${number} ${key.toString('hex')}`),
  ];
  const text = `${lines.join('\n')}\n`;
  return `${text}sum ${sumOf(text).toString('hex')}\n`;
}

/** Throws KEYHOLDER_KEY_INVALID. */
function parseKeyMaterial(text: string): KeyMaterial {
  const [, name, seed, subject, epochs, destroyed, first, firstKey, second, secondKey, sum] = FORM.exec(text) ?? [];
  const body = text.slice(0, text.lastIndexOf('sum '));
  if (sum === undefined || !timingSafeEqual(sumOf(body), Buffer.from(sum, 'hex')))
    throw invalid('The key file is damaged, or not of version 1.');
  const generation = (number: string, key: string): Generation => ({
    number: Number(number),
    key: Buffer.from(key, 'hex'),
  });
  const older = generation(first!, firstKey!);
  return {
    name: name!,
    seed: Buffer.from(seed!, 'hex'),
    subject: subject === '-' ? null : subject!,
    epochs: Number(epochs),
    destroyed: destroyed === '-' ? [] : destroyed!.split(',').map(Number),
    generations: second === undefined ? [older] : [older, generation(second, secondKey!)],
  };
}

/** Never over an existing file. Durable on return. Throws KEYHOLDER_KEY_INVALID when there is one, and what the disk says. */
export async function createKeyFile(file: string, material: KeyMaterial): Promise<void> {
  if (await hasKeyFile(file)) throw invalid('There is a file already, and none is written over it.');
  await writePart(file, [Buffer.from(formatKeyMaterial(material))]);
  await commitPart(file, file);
}

/** Reads it, and finishes a replacement that a crash has interrupted. Throws KEYHOLDER_KEY_INVALID, and what the disk says. */
export async function openKeyFile(file: string): Promise<KeyMaterial> {
  try {
    const material = await readKeyFile(file);
    await eraseFile(`${file}.part`); // it never became the file
    return material;
  } catch (error) {
    const replaced = await readKeyFile(`${file}.part`).catch(() => null);
    if (!replaced) throw error;
    await syncDirectory(dirname(file));
    await commitPart(file, file);
    return replaced;
  }
}

/** The bytes of the file before are overwritten. Durable on return. */
export const replaceKeyFile = (file: string, material: KeyMaterial): Promise<void> =>
  replaceSecret(file, Buffer.from(formatKeyMaterial(material)));

async function readKeyFile(file: string): Promise<KeyMaterial> {
  const about = await stat(file).catch((error: NodeJS.ErrnoException) => {
    throw error.code === 'ENOENT' ? invalid('There is no key file: make one with abaton keyholder key.') : error;
  });
  if (!about.isFile() || about.size > MAX_BYTES) throw invalid('The key file is none.');
  if (process.platform !== 'win32' && (about.mode & EXPOSED) !== 0)
    throw invalid('The key file can be read by others: set its mode to 0600.');
  const bytes = await readFile(file);
  try {
    return parseKeyMaterial(bytes.toString('utf8'));
  } finally {
    bytes.fill(0);
  }
}

export const hasKeyFile = (file: string): Promise<boolean> =>
  stat(file).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return false;
      throw error;
    },
  );
