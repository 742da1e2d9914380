/** Streams for tests, and both ends of an exchange in one process. */
import { type OpeningKey, openEnvelope, type RecipientKey } from '../../src/sealed/ohttp-gateway.ts';

export async function* pieces(...parts: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* parts;
}

/** The same bytes, so many at a time. */
export async function* inPieces(size: number, stream: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const part of stream) for (let at = 0; at < part.length; at += size) yield part.subarray(at, at + size);
}

export async function bytesOf(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts);
}

/** The server's end with one key that takes everything. */
export const openWith = (key: RecipientKey, stream: AsyncIterable<Uint8Array>, admit: OpeningKey['admit'] = () => {}) =>
  openEnvelope(stream, (keyId, kemId) =>
    keyId === key.config.keyId && kemId === key.config.kemId ? { pair: key.pair, admit } : null,
  );
