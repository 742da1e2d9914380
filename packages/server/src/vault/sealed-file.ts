/**
 * One file that only the holder of a key can read or could have written: what the source document calls open_secure_file,
 * for model weights and the like. It opens under its own name only; that an older one of the same name was put back, it
 * cannot tell.
 *
 * | offset | length | meaning |
 * |---:|---:|---|
 * | 0 | 4 | 'ABTF' |
 * | 4 | 1 | version, 1 |
 * | 5 | 85 | envelope (envelope.ts) under the caller's key, for 'sealed-file' and the name of the file |
 * | 90 | rest | blob (stream.ts) |
 *
 * In the envelope: key of the blob (32), its object id (16), bytes of plaintext (8, big endian).
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { syncDirectory } from '../durable-files.ts';
import { errorOf } from '../errors.ts';
import { KEY_BYTES, openEnvelope, sealEnvelope } from './envelope.ts';
import { requireSecret } from './keys.ts';
import { type ByteRange, ciphertextSize, OBJECT_ID_BYTES, openStream, sealStream } from './stream.ts';

const MAGIC = Buffer.from('ABTF\x01', 'latin1');
const ENVELOPE_BYTES = 29 + KEY_BYTES + OBJECT_ID_BYTES + 8;
const HEADER_BYTES = MAGIC.length + ENVELOPE_BYTES;
const READ_BYTES = 256 * 1024; // four sealed chunks, as directory-blobs.ts reads

const contextOf = (path: string): string[] => ['sealed-file', basename(path)];

/**
 * Replaces the file, mode 0600, in a directory that is there. `key`: 32 bytes. Durable on return; when it throws, what was
 * there is there still. A crash leaves a `*.tmp` beside it, sealed, that nobody reads. Holds one chunk of the plaintext at
 * a time, and passes its errors on. Throws STORE_UNAVAILABLE.
 */
export async function sealFile(
  path: string,
  plaintext: Uint8Array | AsyncIterable<Uint8Array>,
  key: Uint8Array,
): Promise<void> {
  requireSecret('The key of a sealed file', key);
  const temporary = `${path}.${randomUUID()}.tmp`;
  const file = await orUnavailable(open(temporary, 'wx', 0o600));
  try {
    try {
      await writeSealed(file, contextOf(path), plaintext, key);
      await orUnavailable(file.sync());
    } finally {
      await file.close();
    }
    await orUnavailable(rename(temporary, path));
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw error;
  }
  await orUnavailable(syncDirectory(dirname(path)));
}

async function writeSealed(
  file: FileHandle,
  context: string[],
  plaintext: Uint8Array | AsyncIterable<Uint8Array>,
  key: Uint8Array,
): Promise<void> {
  const fileKey = randomBytes(KEY_BYTES); // its own, so that no nonce of the stream repeats
  const objectId = randomBytes(OBJECT_ID_BYTES);
  let bytes = 0;
  async function* counted() {
    for await (const piece of plaintext instanceof Uint8Array ? [plaintext] : plaintext) {
      bytes += piece.length;
      yield piece;
    }
  }
  let at = HEADER_BYTES;
  for await (const piece of sealStream(fileKey, objectId, counted())) at += await writeAll(file, piece, at);
  const size = Buffer.alloc(8);
  size.writeBigUInt64BE(BigInt(bytes));
  const header = sealEnvelope(key, context, Buffer.concat([fileKey, objectId, size]));
  await writeAll(file, Buffer.concat([MAGIC, header]), 0); // last: the size is known now
}

/**
 * The plaintext, a chunk at a time. Throws SEAL_BROKEN before the first byte for another key, another name, a file that is
 * cut off or too long, and later before a chunk that was changed; STORE_UNAVAILABLE when it cannot be read.
 */
export async function* openSealedFile(path: string, key: Uint8Array): AsyncGenerator<Uint8Array> {
  requireSecret('The key of a sealed file', key);
  const file = await orUnavailable(open(path, 'r'));
  try {
    const header = Buffer.concat(await Array.fromAsync(readRange(file, { offset: 0, length: HEADER_BYTES })));
    if (!header.subarray(0, MAGIC.length).equals(MAGIC)) throw broken();
    const opened = Buffer.from(openEnvelope(key, contextOf(path), header.subarray(MAGIC.length)));
    const objectId = opened.subarray(KEY_BYTES, KEY_BYTES + OBJECT_ID_BYTES);
    const bytes = Number(opened.readBigUInt64BE(KEY_BYTES + OBJECT_ID_BYTES));
    if ((await orUnavailable(file.stat())).size !== HEADER_BYTES + ciphertextSize(bytes)) throw broken();
    yield* openStream(opened.subarray(0, KEY_BYTES), objectId, bytes, ({ offset, length }) =>
      readRange(file, { offset: HEADER_BYTES + offset, length }),
    );
  } finally {
    await file.close();
  }
}

const broken = () => errorOf('SEAL_BROKEN', 'A sealed file does not open.');

async function* readRange(file: FileHandle, { offset, length }: ByteRange): AsyncGenerator<Uint8Array> {
  for (let at = offset; at < offset + length; ) {
    const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, offset + length - at));
    const { bytesRead } = await orUnavailable(file.read(buffer, 0, buffer.length, at));
    if (bytesRead === 0) return;
    at += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

async function writeAll(file: FileHandle, bytes: Uint8Array, at: number): Promise<number> {
  for (let done = 0; done < bytes.length; )
    done += (await orUnavailable(file.write(bytes, done, bytes.length - done, at + done))).bytesWritten;
  return bytes.length;
}

/** What the file system cannot do, without the path. */
async function orUnavailable<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw errorOf('STORE_UNAVAILABLE', `A sealed file: the disk answered ${(error as NodeJS.ErrnoException).code}.`);
  }
}
