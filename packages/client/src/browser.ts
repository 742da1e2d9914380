/**
 * Verify first, then send, where the certificate of the connection cannot be seen (a page) or is not the server's (a proxy
 * that ends TLS): every request is sealed to the key that the evidence names, so it is open to the attested process alone.
 * Runs in browsers and in Node; nothing of `node:` is needed.
 */
import { ConfigurationError, type Evidence, UnavailableError, verifyEvidence } from '@abaton/verify';
import type { ChannelRequest, ChannelResponse } from './channel.ts';
import type { ClientCode } from './codes.ts';
import type { VerifiedConnection, VerifyOptions } from './connect-verified.ts';
import { NotVerifiedError } from './not-verified.ts';
import { chooseKeyConfig, type KeyConfig, parseKeyConfigs } from './sealed/key-config.ts';
import { type PlainResponse, SEALED_REQUEST, SEALED_RESPONSE, sealRequest } from './sealed/ohttp-client.ts';
import { concat } from './sealed/stream-reader.ts';

export { NotVerifiedError };

export interface SealedOptions extends VerifyOptions {
  /**
   * Send a body while it is made. Node can; Chromium only over HTTP/2 all the way; other browsers cannot. Without it the
   * sealed body is gathered in a Blob first.
   */
  streamUploads?: boolean;
}

const NONCE_BYTES = 32; // what the server's /attestation takes
const EVIDENCE_TIMEOUT_MS = 30_000; // as connect-verified.ts
const MAX_EVIDENCE_BYTES = 4 * 2 ** 20;
const MAX_ANSWER_BYTES = 64 * 2 ** 20; // as channel.ts
const MAX_REFUSAL_BYTES = 64 * 1024; // ours are hundreds of bytes
const BLOB_PART_BYTES = 2 ** 20; // a Blob of Blobs may lie on disk, and its parts need not be joined
/** RFC 9458 section 5.3. */
const KEY_PROBLEM = 'https://iana.org/assignments/http-problem-types#ohttp-key';

const unavailable = (code: ClientCode, message: string, cause?: unknown) =>
  new UnavailableError<ClientCode>(code, message, { cause });

/**
 * Verifies, and returns what seals every request. Whoever sits between sees the address of the server, the size of what
 * is sent, and when; not method, path, header fields or bodies. Throws NotVerifiedError, URL_INVALID,
 * EVIDENCE_UNAVAILABLE, CONNECTION_LOST or ANSWER_INVALID. Its `request` throws SEALED_KEY_UNKNOWN when the server has new keys: connect
 * again; SEALED_REFUSED for an answer outside the envelope, which anybody between could have made up; SEALED_INVALID for
 * one that was changed or cut off; CONNECTION_LOST.
 */
export async function connectSealed(options: SealedOptions): Promise<VerifiedConnection> {
  const { url, policy, acceptedRootsSha256, onEvidence, timeoutMs = EVIDENCE_TIMEOUT_MS } = options;
  if (!URL.canParse(url) || new URL(url).protocol !== 'https:')
    throw new ConfigurationError<ClientCode>(
      'URL_INVALID',
      'The address must be an https: URL, such as https://localhost:8443.',
    );
  const nonce = hex(globalThis.crypto.getRandomValues(new Uint8Array(NONCE_BYTES)));
  const evidence = await fetchEvidence(new URL(`/attestation?nonce=${nonce}`, url), timeoutMs);
  onEvidence?.(evidence);
  const verdict = await verifyEvidence({
    evidence,
    policy,
    nowMs: options.nowMs?.() ?? Date.now(),
    expect: { nonce, tlsSpkiSha256: null, sealed: true },
    ...(acceptedRootsSha256 ? { acceptedRootsSha256 } : {}),
  });
  if (!verdict.valid || verdict.send === 'nothing') throw new NotVerifiedError(verdict);
  const key = keyOf(evidence as Evidence);
  return {
    verdict,
    evidence: evidence as Evidence,
    keyExchange: null,
    request: (request) => exchange(new URL('/sealed', url), key, request, options.streamUploads ?? false),
    close() {}, // there is no connection of our own
  };
}

/** Of evidence that holds, and that named a key. */
function keyOf({ reportData }: Evidence): KeyConfig {
  try {
    const list = Uint8Array.from(atob(reportData.hpkePublicKey ?? ''), (char) => char.charCodeAt(0));
    const key = chooseKeyConfig(parseKeyConfigs(list));
    if (key) return key;
  } catch {} // no base64, or no list
  throw unavailable('ANSWER_INVALID', 'The evidence names no key that this client can seal to.');
}

async function fetchEvidence(address: URL, timeoutMs: number): Promise<unknown> {
  const signal = AbortSignal.timeout(timeoutMs);
  const lacking = (message: string, cause?: unknown) =>
    unavailable('EVIDENCE_UNAVAILABLE', `${message} Try again later.`, cause);
  const response = await fetch(address, { signal, cache: 'no-store', credentials: 'omit', redirect: 'error' }).catch(
    (cause) => {
      throw lacking(signal.aborted ? `The server gave no evidence within ${timeoutMs} ms.` : 'No answer.', cause);
    },
  );
  if (response.status !== 200) throw lacking(`The server answered ${response.status} instead of evidence.`);
  return parseJson(await gather(iterate(response.body), MAX_EVIDENCE_BYTES));
}

async function exchange(
  address: URL,
  key: KeyConfig,
  { method, path, headers, body, signal }: ChannelRequest,
  stream: boolean,
): Promise<ChannelResponse> {
  const sealed = await sealRequest(key, {
    ...{ method, authority: address.host, path },
    ...(headers ? { headers } : {}),
    ...(body ? { body } : {}),
  });
  const init = {
    method: 'POST',
    headers: { 'content-type': SEALED_REQUEST, incremental: '?1' },
    body: stream ? toStream(sealed.body) : await toBlob(sealed.body),
    duplex: 'half',
    ...(signal ? { signal } : {}),
    ...{ cache: 'no-store', credentials: 'omit', redirect: 'error', referrerPolicy: 'no-referrer' },
  } as RequestInit;
  const response = await fetch(address, init).catch((cause) => {
    throw unavailable('CONNECTION_LOST', 'A sealed request got no answer. It may have been taken.', cause);
  });
  if (response.status !== 200 || response.headers.get('content-type') !== SEALED_RESPONSE)
    throw await refusal(response);
  return answer(await sealed.openResponse(iterate(response.body)));
}

/** What is outside the envelope proves nothing; it only says what to do next. */
async function refusal(response: Response): Promise<UnavailableError> {
  const text = await gather(iterate(response.body), MAX_REFUSAL_BYTES).catch(() => new Uint8Array());
  let said: { type?: unknown; code?: unknown } = {};
  try {
    said = Object(parseJson(text));
  } catch {} // a proxy's own page
  if (said.type === KEY_PROBLEM)
    return unavailable('SEALED_KEY_UNKNOWN', 'The server has new keys. Connect again: it verifies them.');
  const code = typeof said.code === 'string' && /^[A-Z_]{1,40}$/.test(said.code) ? ` (${said.code})` : '';
  return unavailable('SEALED_REFUSED', `Answered ${response.status}${code} outside the envelope.`);
}

function answer({ status, headers, body }: PlainResponse): ChannelResponse {
  const joined: Record<string, string> = {};
  for (const [name, value] of headers) joined[name] = name in joined ? `${joined[name]}, ${value}` : value;
  const bytes = (maxBytes = MAX_ANSWER_BYTES) => gather(body, maxBytes);
  return { status, headers: joined, body, bytes, json: async (maxBytes) => parseJson(await bytes(maxBytes)) };
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch (cause) {
    throw unavailable('ANSWER_INVALID', 'The answer is not JSON.', cause);
  }
}

async function gather(stream: AsyncIterable<Uint8Array>, maxBytes: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of stream) {
    length += part.length;
    if (length > maxBytes) throw unavailable('ANSWER_INVALID', `The answer is larger than ${maxBytes} bytes.`);
    parts.push(part);
  }
  return concat(...parts);
}

/** Not every browser can iterate a stream. */
async function* iterate(stream: ReadableStream<Uint8Array> | null): AsyncGenerator<Uint8Array> {
  const reader = stream?.getReader();
  if (!reader) return;
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((cause) => {
        throw unavailable('CONNECTION_LOST', 'The connection ended in the middle of an answer.', cause);
      });
      if (done) return;
      yield value;
    }
  } finally {
    await reader.cancel().catch(() => {}); // no effect after the end
  }
}

/** Not every browser has ReadableStream.from. */
function toStream(bytes: AsyncGenerator<Uint8Array>): ReadableStream<Uint8Array> {
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await bytes.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    async cancel() {
      await bytes.return(undefined);
    },
  });
}

async function toBlob(bytes: AsyncIterable<Uint8Array>): Promise<Blob> {
  const blobs: Blob[] = [];
  let parts: Uint8Array<ArrayBuffer>[] = [];
  let length = 0;
  const pack = () => {
    blobs.push(new Blob(parts));
    parts = [];
    length = 0;
  };
  for await (const part of bytes) {
    parts.push(concat(part));
    length += part.length;
    if (length >= BLOB_PART_BYTES) pack();
  }
  pack();
  return new Blob(blobs);
}

const hex = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
