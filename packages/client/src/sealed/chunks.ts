/**
 * Chunks of a sealed message (draft-ietf-ohai-chunked-ohttp-08, sections 3 to 6): `{ length (i) > 0, chunk } …, 0, chunk`.
 * The order is in the nonce of each chunk and the end in the associated data of the last, so a message from which
 * anything was taken, or to which anything was added, never ends.
 */
import type { ChunkCipher } from './hpke-context.ts';
import { concat, invalid, type StreamReader, varint } from './stream-reader.ts';

/** What every receiver must take (section 3), before it is sealed. */
export const CHUNK_BYTES = 16 * 1024;
/** Somebody else's chunk, sealed: it is held whole before a byte of it is believed. */
const MAX_SEALED_BYTES = 64 * 1024;

/**
 * Seals a stream. `flush`: each piece goes out when it comes, as a response has to that lasts for hours; otherwise chunks
 * are filled, so that a message below 16 KiB is one chunk, which holds as a whole or not at all.
 */
export async function* sealChunks(
  message: AsyncIterable<Uint8Array>,
  seal: ChunkCipher,
  flush: boolean,
): AsyncGenerator<Uint8Array> {
  const chunk = new Uint8Array(CHUNK_BYTES);
  let used = 0;
  const sealed = async () => {
    const bytes = await seal(chunk.subarray(0, used), false);
    used = 0;
    return concat(varint(bytes.length), bytes);
  };
  for await (const piece of message) {
    for (let at = 0; at < piece.length; ) {
      if (used === CHUNK_BYTES) yield await sealed(); // never before there is more: the last chunk is sealed as the last
      const part = piece.subarray(at, at + CHUNK_BYTES - used);
      chunk.set(part, used);
      used += part.length;
      at += part.length;
    }
    if (flush && used > 0) yield await sealed();
  }
  yield concat(varint(0), await seal(chunk.subarray(0, used), true));
}

/** Opens a stream: ends only after its last chunk. Throws SEALED_INVALID. */
export async function* openChunks(reader: StreamReader, open: ChunkCipher): AsyncGenerator<Uint8Array> {
  for (;;) {
    const length = await reader.varint();
    if (length > MAX_SEALED_BYTES) invalid('A chunk of a sealed message is too long.');
    const final = length === 0;
    const chunk = await open(final ? await reader.rest(MAX_SEALED_BYTES) : await reader.exactly(length), final);
    if (!final && chunk.length === 0) invalid('A chunk of a sealed message is empty.'); // section 6
    yield chunk;
    if (final) return;
  }
}
