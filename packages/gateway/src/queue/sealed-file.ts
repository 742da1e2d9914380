/**
 * The form of a queued upload and of the answer to it, and of what the keyholder keeps: AES-256-GCM in chunks (STREAM: Hoang, Reyhanitabar, Rogaway,
 * Vizár, CRYPTO 2015), each file under a random key of its own, which is wrapped by the queue's key. Chunks can be
 * neither changed, reordered, dropped nor cut off, and no file can stand in for another.
 *
 * | offset | length | meaning |
 * |---:|---:|---|
 * | 0 | 4 | 'ABTQ' |
 * | 4 | 1 | version, 1 |
 * | 5 | 1 | kind: 1 upload, 2 answer, 3 share, 4 tombstone of a share |
 * | 6 | 16 | id |
 * | 22 | 12 | nonce of the wrapped key, random |
 * | 34 | 48 | the file's key, wrapped: AES-256-GCM, with bytes 0–21 as associated data |
 * | 82 | 65552 each | chunks: 65536 bytes of plaintext, sealed, and a tag of 16; the last one may be shorter |
 *
 * The file's key seals nothing else, so a nonce never repeats: chunk counter, 11 bytes big endian ‖ 0x01 for the last
 * chunk, else 0x00.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { errorOf } from '../codes.ts';

export const KEY_BYTES = 32;
export const ID_BYTES = 16;
type SealedKind = 'upload' | 'answer' | 'share' | 'tombstone';

/** Which file it has to be. */
export interface SealedFile {
  kind: SealedKind;
  id: string;
  name: string;
}

const MAGIC = Buffer.from('ABTQ');
const VERSION = 1;
const KINDS = { upload: 1, answer: 2, share: 3, tombstone: 4 } as const;
const CHUNK_BYTES = 65536;
const TAG_BYTES = 16;
const NONCE_BYTES = 12;
const LABEL_BYTES = MAGIC.length + 2 + ID_BYTES;
const HEADER_BYTES = LABEL_BYTES + NONCE_BYTES + KEY_BYTES + TAG_BYTES;

const damaged = () => errorOf('OBJECT_DAMAGED', 'A sealed file does not open.');
const labelOf = (kind: SealedKind, id: string): Buffer =>
  Buffer.concat([MAGIC, Uint8Array.of(VERSION, KINDS[kind]), Buffer.from(id, 'hex')]);

function nonceOf(index: number, last: boolean): Buffer {
  const nonce = Buffer.alloc(NONCE_BYTES);
  nonce.writeUIntBE(index, 5, 6); // 2^48 chunks are 16 EiB; the upper five counter bytes stay zero
  nonce[11] = last ? 1 : 0;
  return nonce;
}

function seal(key: Uint8Array, nonce: Uint8Array, plaintext: Uint8Array, label?: Uint8Array): Buffer {
  const cipher = createCipheriv('aes-256-gcm', key, nonce);
  if (label) cipher.setAAD(label);
  return Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
}

function unseal(key: Uint8Array, nonce: Uint8Array, sealed: Buffer, label?: Uint8Array): Buffer {
  if (sealed.length < TAG_BYTES) throw damaged();
  const decipher = createDecipheriv('aes-256-gcm', key, nonce).setAuthTag(sealed.subarray(-TAG_BYTES));
  if (label) decipher.setAAD(label);
  const plaintext = decipher.update(sealed.subarray(0, -TAG_BYTES));
  try {
    decipher.final();
  } catch {
    throw damaged();
  }
  return plaintext;
}

/** Seals `plaintext`, however it is cut, holding one chunk at a time. */
export async function* sealFile(
  queueKey: Uint8Array,
  kind: SealedKind,
  id: string,
  plaintext: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): AsyncGenerator<Buffer> {
  const label = labelOf(kind, id);
  const key = randomBytes(KEY_BYTES);
  const wrapNonce = randomBytes(NONCE_BYTES);
  yield Buffer.concat([label, wrapNonce, seal(queueKey, wrapNonce, key, label)]);
  const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  let filled = 0;
  let index = 0;
  for await (const piece of plaintext) {
    for (let at = 0; at < piece.length; ) {
      // a full chunk waits for the next byte: only then is it known not to be the last
      if (filled === CHUNK_BYTES) {
        yield seal(key, nonceOf(index++, false), chunk);
        filled = 0;
      }
      const part = piece.subarray(at, at + CHUNK_BYTES - filled);
      chunk.set(part, filled);
      filled += part.length;
      at += part.length;
    }
  }
  yield seal(key, nonceOf(index, true), chunk.subarray(0, filled));
}

/**
 * Opens a file, holding one chunk at a time. Throws OBJECT_DAMAGED before the first byte when it is gone, was cut
 * anywhere, or is another file; and before a changed chunk. Throws what the disk says.
 */
export async function* openFile(
  queueKey: Uint8Array,
  kind: SealedKind,
  id: string,
  file: string,
): AsyncGenerator<Buffer> {
  const handle = await openHandle(file);
  try {
    const { size } = await handle.stat();
    const key = await unwrapKey(handle, queueKey, kind, id);
    const last = Math.max(1, Math.ceil((size - HEADER_BYTES) / (CHUNK_BYTES + TAG_BYTES))) - 1;
    const chunk = async (index: number) => {
      const sealed = await readAt(handle, HEADER_BYTES + index * (CHUNK_BYTES + TAG_BYTES), CHUNK_BYTES + TAG_BYTES);
      return unseal(key, nonceOf(index, index === last), sealed);
    };
    await chunk(last); // first: of a file that was cut, nothing goes out
    for (let index = 0; index <= last; index++) yield await chunk(index);
  } finally {
    await handle.close();
  }
}

/** Whether the file's key is wrapped by this one. Throws nothing: what cannot be read does not say so. */
export async function isSealedBy(queueKey: Uint8Array, kind: SealedKind, id: string, file: string): Promise<boolean> {
  const handle = await openHandle(file).catch(() => null);
  if (!handle) return false;
  return unwrapKey(handle, queueKey, kind, id)
    .then(
      () => true,
      () => false,
    )
    .finally(() => handle.close());
}

const openHandle = (file: string): Promise<FileHandle> =>
  open(file, 'r').catch((error: NodeJS.ErrnoException) => {
    throw error.code === 'ENOENT' ? damaged() : error;
  });

async function unwrapKey(handle: FileHandle, queueKey: Uint8Array, kind: SealedKind, id: string): Promise<Buffer> {
  const header = await readAt(handle, 0, HEADER_BYTES);
  const label = labelOf(kind, id);
  if (header.length < HEADER_BYTES || !header.subarray(0, LABEL_BYTES).equals(label)) throw damaged();
  const wrapped = header.subarray(LABEL_BYTES + NONCE_BYTES);
  return unseal(queueKey, header.subarray(LABEL_BYTES, LABEL_BYTES + NONCE_BYTES), wrapped, label);
}

async function readAt(handle: FileHandle, position: number, bytes: number): Promise<Buffer> {
  const buffer = Buffer.alloc(bytes);
  let have = 0;
  while (have < bytes) {
    const { bytesRead } = await handle.read(buffer, have, bytes - have, position + have);
    if (bytesRead === 0) break;
    have += bytesRead;
  }
  return buffer.subarray(0, have);
}
