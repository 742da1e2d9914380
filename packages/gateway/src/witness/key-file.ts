/**
 * Keys of a witness, from one file, mode 0600: `abaton-witness-key-v1 <name> <64 hex digits>`. The seed leads to two keys
 * (HKDF-SHA256), since C2SP tlog-cosignature recommends ML-DSA-44 and the witness network of today reads Ed25519.
 */
import { hkdfSync, randomBytes } from 'node:crypto';
import { open, readFile, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { createNoteSigner, type NoteSigner } from '@abaton/client';
import { ED25519_COSIGNATURE_TYPE, ML_DSA_44_TYPE } from '@abaton/verify';
import { errorOf } from '../codes.ts';
import { makeDirectory, syncDirectory } from '../queue/durable.ts';

const FORM = /^abaton-witness-key-v1 ([^ ]+) ([0-9a-f]{64})\n$/;
const EXPOSED = 0o077; // any permission of group or others
const SEED_BYTES = 32;
const MAX_NAME_BYTES = 255; // opaque<1..2^8-1> of tlog-cosignature, "ML-DSA-44 signed message"
const ALGORITHMS = { ed25519: ED25519_COSIGNATURE_TYPE, 'ml-dsa-44': ML_DSA_44_TYPE } as const;

/** Ed25519 first. Throws VKEY_INVALID for a name that cannot stand in a note. */
function signersOf(name: string, seed: Uint8Array): NoteSigner[] {
  if (Buffer.byteLength(name) > MAX_NAME_BYTES)
    throw errorOf('WITNESS_KEY_INVALID', `The name of a witness has ${MAX_NAME_BYTES} bytes at most.`);
  return Object.entries(ALGORITHMS).map(([algorithm, type]) =>
    createNoteSigner({
      name,
      type,
      seed: new Uint8Array(hkdfSync('sha256', seed, '', `abaton/witness/v1/${algorithm}`, SEED_BYTES)),
    }),
  );
}

/**
 * Makes the file, durable on return, and returns its verifier keys. `name`: a schema-less URL such as
 * `hospital.example/witness`. Throws VKEY_INVALID, WITNESS_KEY_INVALID when there is a file already, and what the disk says.
 */
export async function makeWitnessKey(file: string, name: string): Promise<string[]> {
  const seed = randomBytes(SEED_BYTES);
  const vkeys = signersOf(name, seed).map(({ vkey }) => vkey);
  await makeDirectory(dirname(file));
  const handle = await open(file, 'wx', 0o600).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code !== 'EEXIST') throw cause;
    throw errorOf('WITNESS_KEY_INVALID', 'There is a file of that name, and it is left as it is.', { cause });
  });
  try {
    await handle.writeFile(`abaton-witness-key-v1 ${name} ${seed.toString('hex')}\n`);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await syncDirectory(dirname(file));
  return vkeys;
}

/** Who signs: Ed25519 and ML-DSA-44. Throws WITNESS_KEY_INVALID. */
export async function readWitnessKey(file: string): Promise<NoteSigner[]> {
  const invalid = (why: string, cause?: unknown) => errorOf('WITNESS_KEY_INVALID', `The key file ${why}.`, { cause });
  try {
    const about = await stat(file);
    if (!about.isFile()) throw invalid('is no file');
    if (process.platform !== 'win32' && (about.mode & EXPOSED) !== 0)
      throw invalid('can be read by others: set its mode to 0600');
    const [, name, hex] = FORM.exec(await readFile(file, 'utf8')) ?? [];
    if (name === undefined || hex === undefined) throw invalid('is not of version 1');
    return signersOf(name, Buffer.from(hex, 'hex'));
  } catch (cause) {
    if ((cause as { syscall?: string }).syscall === undefined) throw cause;
    throw invalid('cannot be read', cause);
  }
}
