/** A request sealed to the key of verified evidence, and the answer that only the holder of that key can give. */
import { type HeaderFields, type RequestHead, type ResponseHead, readResponse, writeRequest } from './binary-http.ts';
import { openChunks, sealChunks } from './chunks.ts';
import { AEAD_AES_256_GCM, setupSender } from './hpke-context.ts';
import type { KeyConfig } from './key-config.ts';
import { concat, StreamReader } from './stream-reader.ts';

/** Media types of the sealed messages (draft-ietf-ohai-chunked-ohttp-08 section 8). */
export const SEALED_REQUEST = 'message/ohttp-chunked-req';
export const SEALED_RESPONSE = 'message/ohttp-chunked-res';

export interface PlainRequest extends Omit<RequestHead, 'headers'> {
  headers?: Record<string, string>;
  body?: AsyncIterable<Uint8Array>;
}

export interface PlainResponse extends ResponseHead {
  /** Ends only when the response is whole; throws SEALED_INVALID where it was changed or cut off. To be read once. */
  body: AsyncGenerator<Uint8Array>;
}

export interface SealedRequest {
  /** To be posted, with media type `message/ohttp-chunked-req`; made as it is read. To be read once. */
  body: AsyncGenerator<Uint8Array>;
  /** Reads the head of the answer to exactly this request. Throws SEALED_INVALID. To be called once. */
  openResponse(stream: AsyncIterable<Uint8Array>): Promise<PlainResponse>;
}

/** Method, path, header fields and body are inside; outside are their sum in length, and the time. */
export async function sealRequest(config: KeyConfig, request: PlainRequest): Promise<SealedRequest> {
  const { start, request: seal, response, nonceBytes } = await setupSender(config, AEAD_AES_256_GCM);
  const headers: HeaderFields = Object.entries(request.headers ?? {}).map(([name, value]) => [
    name.toLowerCase(),
    value,
  ]);
  async function* body() {
    const chunks = sealChunks(writeRequest({ ...request, headers }, request.body), seal, false);
    const { value: first } = await chunks.next(); // always there; with it a small request is one piece
    yield concat(start, first ?? new Uint8Array());
    yield* chunks;
  }
  return {
    body: body(),
    async openResponse(stream) {
      const reader = new StreamReader(stream);
      const { open } = await response(await reader.exactly(nonceBytes));
      return readResponse(openChunks(reader, open));
    },
  };
}
