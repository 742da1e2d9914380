/**
 * What a witness remembers: of each log the newest checkpoint that it cosigned, with the signatures of the log that it had
 * verified and its own.
 *
 * | file | meaning |
 * |---|---|
 * | `DIR/witness` | the witness's verifier keys: whose memory this is; and `head <hash>` for each file that has to be there |
 * | `DIR/heads/<SHA-256 of the origin, hex>` | the cosigned note |
 * | `DIR/lock` | held by the process that uses the directory |
 *
 * A witness that has forgotten would cosign what it has refused before, so nothing that is missing or damaged counts as
 * "never seen". A directory that was set back as a whole verifies: that cannot be seen from within.
 */
import { createHash } from 'node:crypto';
import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Checkpoint, parseCheckpoint, parseVkey, verifyNote } from '@abaton/verify';
import { errorOf } from '../codes.ts';
import { takeLock } from '../lock.ts';
import { makeDirectory, replaceDurably } from '../queue/durable.ts';

export interface Head extends Checkpoint {
  /** What is signed. */
  text: string;
  /** With the signatures. */
  note: string;
  /** POSIX time of our cosignatures. */
  timestampS: number;
}

export interface Heads {
  of(origin: string): Head | null;
  /** By the SHA-256 of the origin, hex. */
  byHash(hash: string): Head | null;
  origins(): string[];
  /** The newest time that was ever signed; 0 before. */
  newestS(): number;
  /** Durable on return. Throws what the disk says; then the one before counts. */
  keep(head: Head): Promise<void>;
  close(): void;
}

export const originHash = (origin: string): string => createHash('sha256').update(origin).digest('hex');

/**
 * `isNew`: this witness has never cosigned, and begins here. Throws WITNESS_IN_USE, WITNESS_STATE_INVALID,
 * WITNESS_KEY_INVALID, and what the disk says.
 */
export async function openHeads(dir: string, vkeys: readonly string[], isNew: boolean): Promise<Heads> {
  await makeDirectory(join(dir, 'heads'));
  const lock = takeLock(join(dir, 'lock'), 'WITNESS_IN_USE');
  try {
    const identity = vkeys.map((vkey) => `${vkey}\n`).join('');
    const listed = await readIndex(dir, identity, isNew);
    const heads = await readHeads(dir, vkeys);
    const lost = [...listed].find((hash) => !heads.has(hash));
    if (lost !== undefined) throw invalid(`heads/${lost} is gone.`);
    return {
      of: (origin) => heads.get(originHash(origin)) ?? null,
      byHash: (hash) => heads.get(hash) ?? null,
      origins: () => [...heads.values()].map(({ origin }) => origin),
      newestS: () => Math.max(0, ...[...heads.values()].map(({ timestampS }) => timestampS)),
      async keep(head) {
        const hash = originHash(head.origin);
        await replaceDurably(join(dir, 'heads', hash), [Buffer.from(head.note)]);
        if (!listed.has(hash)) {
          await writeIndex(dir, identity, [...listed, hash]);
          listed.add(hash);
        }
        heads.set(hash, head);
      },
      close: () => lock.close(),
    };
  } catch (error) {
    lock.close();
    throw error;
  }
}

const writeIndex = (dir: string, identity: string, hashes: Iterable<string>): Promise<void> =>
  replaceDurably(join(dir, 'witness'), [
    Buffer.from(identity + Array.from(hashes, (hash) => `head ${hash}\n`).join('')),
  ]);

/** Which heads have to be there; begins where that is allowed. */
async function readIndex(dir: string, identity: string, isNew: boolean): Promise<Set<string>> {
  const known = await readFile(join(dir, 'witness'), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
  if (known !== null && !known.startsWith(identity))
    throw errorOf('WITNESS_KEY_INVALID', 'The state of this directory is that of a witness with other keys.');
  const list = known?.slice(identity.length) ?? '';
  if (!/^(head [0-9a-f]{64}\n)*$/.test(list)) throw invalid('The list of heads is damaged.');
  if (isNew) {
    if (list !== '' || (await readdir(join(dir, 'heads'))).length > 0)
      throw invalid('There is a state already: start without --new.');
    await writeIndex(dir, identity, []);
  } else if (known === null)
    throw invalid('There is no state here. Has this witness never cosigned? Then start with --new.');
  return new Set(list.match(/[0-9a-f]{64}/g));
}

async function readHeads(dir: string, vkeys: readonly string[]): Promise<Map<string, Head>> {
  const heads = new Map<string, Head>();
  for (const name of await readdir(join(dir, 'heads'))) {
    const file = join(dir, 'heads', name);
    if (name.endsWith('.part'))
      await rm(file); // was not stored, so nothing of it was given out
    else heads.set(name, readHead(name, await readFile(file), vkeys));
  }
  return heads;
}

const invalid = (message: string, cause?: unknown) => errorOf('WITNESS_STATE_INVALID', message, { cause });

function readHead(name: string, bytes: Uint8Array, vkeys: readonly string[]): Head {
  try {
    const note = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    const { text, signedBy, timesS } = verifyNote(note, vkeys.map(parseVkey));
    const checkpoint = parseCheckpoint(text);
    if (signedBy.length < vkeys.length || originHash(checkpoint.origin) !== name) throw new RangeError('not ours');
    return { ...checkpoint, text, note, timestampS: Math.max(...timesS.values()) };
  } catch (cause) {
    throw invalid(
      `heads/${/^[0-9a-f]{64}$/.test(name) ? name : '?'} is no checkpoint that this witness cosigned.`,
      cause,
    );
  }
}
