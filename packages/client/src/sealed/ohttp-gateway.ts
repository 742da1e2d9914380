/** The other end of ohttp-client.ts, which runs in the server: opens a request while it arrives, seals the answer. */
import { UnavailableError } from '@abaton/verify';
import type { ClientCode } from '../codes.ts';
import { type MessageBody, type RequestHead, type ResponseHead, readRequest, writeResponse } from './binary-http.ts';
import { openChunks, sealChunks } from './chunks.ts';
import {
  AEAD_AES_256_GCM,
  HEADER_BYTES,
  HKDF_SHA256,
  type KemId,
  kemOf,
  parseHeader,
  setupRecipient,
} from './hpke-context.ts';
import type { KeyConfig } from './key-config.ts';
import { StreamReader } from './stream-reader.ts';

export interface RecipientKey {
  config: KeyConfig;
  pair: CryptoKeyPair;
}

export interface OpenedEnvelope {
  /** Throws SEALED_INVALID. To be called once. */
  readRequest(): Promise<RequestHead & { body: MessageBody }>;
  /** The whole answer, made as it is read; each piece of the body goes out when it comes. To be called once. */
  sealResponse(head: ResponseHead, body?: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array>;
  /** Lets the rest of the request go. */
  cancel(): Promise<void>;
}

/** A new key pair of that KEM, whose private half is nowhere but here. */
export async function generateRecipientKey(keyId: number, kemId: KemId): Promise<RecipientKey> {
  const kem = kemOf(kemId)!;
  const pair = await kem.generateKeyPair();
  const publicKey = new Uint8Array(await kem.serializePublicKey(pair.publicKey));
  const symmetric = [{ kdfId: HKDF_SHA256, aeadId: AEAD_AES_256_GCM }];
  return { config: { keyId, kemId, publicKey, symmetric }, pair };
}

/** What the server keeps of one of its keys. */
export interface OpeningKey {
  pair: CryptoKeyPair;
  /** Told the encapsulated key of each message that opened. Throws to refuse it. */
  admit(enc: Uint8Array): void;
}

/**
 * Reads as far as the first chunk, which shows that the sender made this message for this key. Throws SEALED_INVALID, or
 * SEALED_KEY_UNKNOWN when `find` has no such key or it is not for these algorithms.
 */
export async function openEnvelope(
  stream: AsyncIterable<Uint8Array>,
  find: (keyId: number, kemId: KemId) => OpeningKey | null,
): Promise<OpenedEnvelope> {
  const reader = new StreamReader(stream);
  try {
    return await open(reader, find);
  } catch (error) {
    void reader.cancel().catch(() => {});
    throw error;
  }
}

async function open(
  reader: StreamReader,
  find: (keyId: number, kemId: KemId) => OpeningKey | null,
): Promise<OpenedEnvelope> {
  const header = parseHeader(await reader.exactly(HEADER_BYTES));
  const kemId = header.kemId as KemId;
  const kem = kemOf(kemId);
  const key = kem ? find(header.keyId, kemId) : null;
  if (!kem || !key || header.kdfId !== HKDF_SHA256 || header.aeadId !== AEAD_AES_256_GCM)
    throw new UnavailableError<ClientCode>(
      'SEALED_KEY_UNKNOWN',
      'There is no such key. Fetch and verify new evidence.',
    );
  const enc = (await reader.exactly(kem.encSize)).slice();
  const context = await setupRecipient({ ...header, kemId, aeadId: header.aeadId }, key.pair, enc);
  const chunks = openChunks(reader, context.request);
  const first = await chunks.next();
  key.admit(enc); // after the chunk: what opens with no key of ours takes no room among those to remember
  async function* message() {
    if (!first.done) yield first.value;
    yield* chunks;
  }
  async function* sealResponse(head: ResponseHead, body?: AsyncIterable<Uint8Array>) {
    const nonce = globalThis.crypto.getRandomValues(new Uint8Array(context.nonceBytes));
    const { seal } = await context.response(nonce);
    yield nonce;
    yield* sealChunks(writeResponse(head, body), seal, true);
  }
  return { readRequest: () => readRequest(message()), sealResponse, cancel: () => reader.cancel() };
}
