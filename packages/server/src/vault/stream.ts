/**
 * The format of a blob: AES-256-GCM in the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár: "Online
 * Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance", CRYPTO 2015, section 5), with the chunks and nonces
 * of age's payload (C2SP age.md, "Payload"). Chunks can be neither changed, reordered, dropped nor cut off at the end.
 *
 * | offset | length | meaning |
 * |---:|---:|---|
 * | 0 | 4 | 'ABTN' |
 * | 4 | 1 | version, 1 |
 * | 5 | 16 | object id, random |
 * | 21 | 65552 each | chunks: 65536 bytes of plaintext, sealed, and a tag of 16; the last one may be shorter |
 *
 * key = HKDF-SHA256(object key, salt = header, info = 'abaton/stream'); the object key belongs to this object alone, so
 * a nonce never repeats. nonce = chunk counter, 11 bytes big endian ‖ 0x01 for the last chunk, else 0x00. The last
 * chunk is empty only when it is also the first.
 */
import { createCipheriv, createDecipheriv } from 'node:crypto';
import { errorOf } from '../errors.ts';
import { deriveKey } from './envelope.ts';

export const STREAM_VERSION = 1;
export const OBJECT_ID_BYTES = 16;
export const CHUNK_BYTES = 65536;
const TAG_BYTES = 16;
const MAGIC = Buffer.from('ABTN');
export const HEADER_BYTES = MAGIC.length + 1 + OBJECT_ID_BYTES;

export interface ByteRange {
  offset: number;
  length: number;
}

const broken = () => errorOf('SEAL_BROKEN', 'A sealed object does not open.');
const chunksOf = (plaintextBytes: number): number => Math.max(1, Math.ceil(plaintextBytes / CHUNK_BYTES));

/** Bytes of the blob that holds so many bytes of plaintext. */
export function ciphertextSize(plaintextBytes: number): number {
  return HEADER_BYTES + plaintextBytes + chunksOf(plaintextBytes) * TAG_BYTES;
}

/** The exact inverse of `ciphertextSize`. Throws SEAL_BROKEN for a size that no blob has. */
export function plaintextSize(ciphertextBytes: number): number {
  const chunks = Math.max(1, Math.ceil((ciphertextBytes - HEADER_BYTES) / (CHUNK_BYTES + TAG_BYTES)));
  const size = ciphertextBytes - HEADER_BYTES - chunks * TAG_BYTES;
  if (size < 0 || ciphertextSize(size) !== ciphertextBytes) throw broken();
  return size;
}

const headerOf = (objectId: Uint8Array): Buffer => Buffer.concat([MAGIC, Uint8Array.of(STREAM_VERSION), objectId]);
const streamKey = (objectKey: Uint8Array, header: Uint8Array) => deriveKey(objectKey, 'abaton/stream', header);

function nonceOf(index: number, last: boolean): Buffer {
  const nonce = Buffer.alloc(12);
  nonce.writeUIntBE(index, 5, 6); // 2^48 chunks are 16 EiB; the upper five counter bytes stay zero
  nonce[11] = last ? 1 : 0;
  return nonce;
}

/** Seals `plaintext`, however it is cut, holding one chunk at a time. A piece may be reused once the next is asked for. */
export async function* sealStream(
  objectKey: Uint8Array,
  objectId: Uint8Array,
  plaintext: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const header = headerOf(objectId);
  const key = streamKey(objectKey, header);
  const seal = (index: number, last: boolean, chunk: Uint8Array) => {
    const cipher = createCipheriv('aes-256-gcm', key, nonceOf(index, last));
    const sealed = [cipher.update(chunk), cipher.final(), cipher.getAuthTag()];
    return Buffer.concat(index === 0 ? [header, ...sealed] : sealed);
  };
  const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  let filled = 0;
  let index = 0;
  for await (const piece of plaintext) {
    for (let at = 0; at < piece.length; ) {
      // A full chunk waits for the next byte: only then is it known not to be the last.
      if (filled === CHUNK_BYTES) {
        yield seal(index++, false, chunk);
        filled = 0;
      }
      const part = piece.subarray(at, at + CHUNK_BYTES - filled);
      chunk.set(part, filled);
      filled += part.length;
      at += part.length;
    }
  }
  yield seal(index, true, chunk.subarray(0, filled));
}

/**
 * Opens a blob, or the chunks that cover `range`. `read` returns those bytes of the blob; `plaintextBytes` must come
 * from an authenticated place. Throws SEAL_BROKEN before it yields a changed chunk, and when the blob is too long;
 * REQUEST_INVALID when the range does not lie within the object.
 */
export async function* openStream(
  objectKey: Uint8Array,
  objectId: Uint8Array,
  plaintextBytes: number,
  read: (range: ByteRange) => AsyncIterable<Uint8Array>,
  { offset, length }: ByteRange = { offset: 0, length: plaintextBytes },
): AsyncGenerator<Uint8Array> {
  const end = offset + length;
  if (![offset, length].every((n) => Number.isSafeInteger(n) && n >= 0) || end > plaintextBytes)
    throw errorOf('REQUEST_INVALID', `The range must lie within the ${plaintextBytes} bytes of the object.`);
  const header = headerOf(objectId);
  const key = streamKey(objectKey, header);
  const whole = length === plaintextBytes;
  const first = Math.floor(offset / CHUNK_BYTES);
  const last = whole ? chunksOf(plaintextBytes) - 1 : Math.ceil(end / CHUNK_BYTES) - 1;
  if (last < first) return;
  const positionOf = (chunk: number) => HEADER_BYTES + chunk * (CHUNK_BYTES + TAG_BYTES);
  const from = whole ? 0 : positionOf(first);
  const until = Math.min(positionOf(last + 1), ciphertextSize(plaintextBytes));
  // One byte more than a whole blob has, to notice that it is too long.
  const source = read({ offset: from, length: until - from + (whole ? 1 : 0) })[Symbol.asyncIterator]();
  const take = exactReader(source);
  try {
    if (whole && !(await take(HEADER_BYTES)).equals(header)) throw broken();
    for (let index = first; index <= last; index++) {
      const sealedBytes = Math.min(positionOf(index + 1), until) - positionOf(index);
      const sealed = await take(sealedBytes);
      if (sealed.length !== sealedBytes) throw broken();
      const chunk = openChunk(key, nonceOf(index, index === chunksOf(plaintextBytes) - 1), sealed);
      if (whole && index === last && (await take(1)).length > 0) throw broken();
      const start = index * CHUNK_BYTES;
      const part = chunk.subarray(Math.max(0, offset - start), Math.max(0, end - start));
      if (part.length > 0) yield part;
    }
  } finally {
    await source.return?.();
  }
}

function openChunk(key: Uint8Array, nonce: Uint8Array, sealed: Buffer): Buffer {
  const decipher = createDecipheriv('aes-256-gcm', key, nonce).setAuthTag(sealed.subarray(-TAG_BYTES));
  const plaintext = decipher.update(sealed.subarray(0, -TAG_BYTES));
  try {
    decipher.final();
  } catch {
    throw broken();
  }
  return plaintext;
}

/** Cuts a stream into pieces of the wanted sizes; a piece is shorter only at the end of the stream. */
function exactReader(source: AsyncIterator<Uint8Array>): (bytes: number) => Promise<Buffer> {
  let rest: Buffer = Buffer.alloc(0);
  return async (bytes) => {
    const parts: Buffer[] = [];
    for (let missing = bytes; ; ) {
      const part = rest.subarray(0, missing);
      parts.push(part);
      rest = rest.subarray(part.length);
      missing -= part.length;
      if (missing === 0) break;
      const { done, value } = await source.next();
      if (done) break;
      rest = Buffer.from(value.buffer, value.byteOffset, value.length);
    }
    // What lies in one piece is not copied.
    return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
  };
}
