/** How a witness reaches the server of a log: alone over any https, or over the connection that the gateway has verified. */
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { Agent, request as httpsRequest } from 'node:https';
import type { ClientCode, VerifiedConnection } from '@abaton/client';
import { ConfigurationError, UnavailableError } from '@abaton/verify';
import type { Link } from '../link.ts';
import { createSignal } from '../signal.ts';

/** Both throw an UnavailableError when nobody answers in time, or answers too much. Paths begin without a slash. */
export interface LogServer {
  get(path: string, maxBytes: number): Promise<{ status: number; bytes: Uint8Array }>;
  /** The status. */
  post(path: string, text: string): Promise<number>;
  /** Resolves when it may be reachable again, or after `timeoutMs`. */
  changed(timeoutMs: number): Promise<void>;
  close(): void;
}

const TIMEOUT_MS = 10_000; // as a TCP connection: longer means that nobody answers
const MAX_SOCKETS = 8; // tiles of one proof are asked for together
const MAX_ANSWER_BYTES = 64 * 1024; // to a POST, where only the status is read

const textHeaders = (text: string) => ({
  'content-type': 'text/plain; charset=utf-8',
  'content-length': String(Buffer.byteLength(text)),
});

const unavailable = (why: string, cause?: unknown) =>
  new UnavailableError<ClientCode>('LOG_UNAVAILABLE', `The server of the log ${why}.`, { cause });

/**
 * `url`: https:, of the server. Throws URL_INVALID. The certificate is not checked: that of a TEE is in no public PKI, and
 * nothing here is secret or believed. Checkpoints stand on the log's signatures, tiles on checkpoints, cosignatures on ours;
 * somebody in between can only keep them from arriving.
 */
export function openLogServer(url: string): LogServer {
  if (!URL.canParse(url) || new URL(url).protocol !== 'https:')
    throw new ConfigurationError<ClientCode>('URL_INVALID', 'The address of a server must be an https: URL.');
  const base = url.endsWith('/') ? url : `${url}/`;
  const agent = new Agent({ keepAlive: true, maxSockets: MAX_SOCKETS, rejectUnauthorized: false });
  const never = createSignal();
  const exchange = async (method: string, path: string, maxBytes: number, body?: string) => {
    const request = httpsRequest(new URL(path, base), {
      agent,
      method,
      headers: { 'cache-control': 'no-cache', ...(body === undefined ? {} : textHeaders(body)) },
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    request.on('error', () => {}); // what comes after the answer; before it, `once` rejects
    try {
      request.end(body);
      const [response] = (await once(request, 'response')) as [IncomingMessage];
      return { status: response.statusCode ?? 0, bytes: await readBounded(response, maxBytes) };
    } catch (cause) {
      throw cause instanceof UnavailableError ? cause : unavailable('cannot be reached', cause);
    }
  };
  return {
    get: (path, maxBytes) => exchange('GET', path, maxBytes),
    post: async (path, text) => (await exchange('POST', path, MAX_ANSWER_BYTES, text)).status,
    changed: (timeoutMs) => never.wait(timeoutMs),
    close: () => {
      agent.destroy();
      never.notify();
    },
  };
}

async function* oneChunk(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

async function readBounded(body: AsyncIterable<Uint8Array>, maxBytes: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of body) {
    length += chunk.length;
    if (length > maxBytes) throw unavailable(`answered more than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/**
 * Over the newest verified connection, also while the service's own gate is closed: the gate may wait for our cosignature.
 * `onConnection` is told of the connection first: its evidence says which keys its log has. Throws GATEWAY_CLOSED, too.
 */
export function openLinkServer(link: Link, onConnection: (connection: VerifiedConnection) => void): LogServer {
  const exchange = (method: string, path: string, maxBytes: number, body?: string) =>
    link.runVerified(async (connection, cut) => {
      onConnection(connection);
      const answer = await connection.request({
        method,
        path: `/${path}`,
        signal: AbortSignal.any([cut, AbortSignal.timeout(TIMEOUT_MS)]),
        ...(body === undefined ? {} : { headers: textHeaders(body), body: oneChunk(Buffer.from(body)) }),
      });
      return { status: answer.status, bytes: await answer.bytes(maxBytes) };
    });
  return {
    get: (path, maxBytes) => exchange('GET', path, maxBytes),
    post: async (path, text) => (await exchange('POST', path, MAX_ANSWER_BYTES, text)).status,
    changed: (timeoutMs) => link.changed(timeoutMs),
    close: () => {},
  };
}
