/**
 * One TLS 1.3 connection with HTTP/2 on it, and the key of its other end. The certificate is not checked against any
 * authority: trust comes from evidence that names this key, so nothing may be sent before that evidence is verified.
 */
import { createHash } from 'node:crypto';
import http2 from 'node:http2';
import { type TLSSocket, connect as tlsConnect } from 'node:tls';
import { ConfigurationError, TLS_EXPORTER, UnavailableError } from '@abaton/verify';
import type { ClientCode } from './codes.ts';

export interface ChannelRequest {
  method: string;
  /** Path and query. */
  path: string;
  headers?: Record<string, string>;
  body?: AsyncIterable<Uint8Array>;
  signal?: AbortSignal;
}

export interface ChannelResponse {
  status: number;
  headers: Record<string, string>;
  body: AsyncIterable<Uint8Array>;
  /** Reads the whole body, at most `maxBytes`. Throws ANSWER_INVALID beyond that. */
  bytes(maxBytes?: number): Promise<Uint8Array>;
  /** As `bytes`, parsed as JSON. Throws ANSWER_INVALID when it is not JSON. */
  json(maxBytes?: number): Promise<unknown>;
}

export interface Channel {
  /** SHA-256 of the peer's SubjectPublicKeyInfo (DER), hex: what evidence must name. */
  peerSpkiSha256: string;
  /** The negotiated key exchange, e.g. X25519MLKEM768; null when Node does not say. */
  keyExchange: string | null;
  /** SHA-256 of the TLS exporter of this connection for a nonce of 64 hex digits, hex: what evidence must name. */
  exporterSha256(nonce: string): string;
  request(request: ChannelRequest): Promise<ChannelResponse>;
  close(): void;
}

const CONNECT_TIMEOUT_MS = 10_000; // a TLS handshake takes two round trips; longer means that nobody answers
const MAX_ANSWER_BYTES = 64 * 2 ** 20; // ours are kilobytes; the bound only keeps a hostile server out of our memory
const IDLE_TIMEOUT_MS = 120_000; // as our server's: after so long without a byte the other end is gone
const WINDOW_BYTES = 2 ** 20; // HTTP/2 flow control (RFC 9113, 6.9): the default of 64 KiB stalls large downloads

const lost = (cause?: unknown) =>
  new UnavailableError<ClientCode>('CONNECTION_LOST', 'The verified connection ended. Connect and verify again.', {
    cause,
  });

/** Opens the connection. Throws URL_INVALID or CONNECTION_FAILED. */
export async function openChannel(url: string): Promise<Channel> {
  if (!URL.canParse(url) || new URL(url).protocol !== 'https:')
    throw new ConfigurationError<ClientCode>(
      'URL_INVALID',
      'The address must be an https: URL, such as https://localhost:8443.',
    );
  const { hostname, port, host } = new URL(url);
  const socket = await connectTls(hostname.replace(/^\[|\]$/g, ''), Number(port || 443));
  const session = http2.connect(`https://${host}`, {
    createConnection: () => socket,
    settings: { initialWindowSize: WINDOW_BYTES },
  });
  session.setLocalWindowSize(WINDOW_BYTES);
  session.setTimeout(IDLE_TIMEOUT_MS, () => session.destroy());
  session.on('error', () => {}); // each request reports it; an idle session needs no report
  const spki = socket.getPeerX509Certificate()?.publicKey.export({ type: 'spki', format: 'der' });
  if (!spki) throw failed('The server sent no certificate.');
  const group = socket.getEphemeralKeyInfo() as { name?: string } | null;
  return {
    peerSpkiSha256: createHash('sha256').update(spki).digest('hex'),
    keyExchange: group?.name ?? null,
    exporterSha256: (nonce) =>
      createHash('sha256')
        .update(socket.exportKeyingMaterial(TLS_EXPORTER.bytes, TLS_EXPORTER.label, Buffer.from(nonce, 'hex')))
        .digest('hex'),
    request: (request) => send(session, request),
    close: () => session.destroy(),
  };
}

const failed = (message: string, cause?: unknown) =>
  new UnavailableError<ClientCode>('CONNECTION_FAILED', message, { cause });

function connectTls(host: string, port: number): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = tlsConnect({
      host,
      port,
      ...(/^[\d.]+$|:/.test(host) ? {} : { servername: host }), // SNI takes names only (RFC 6066, 3)
      ALPNProtocols: ['h2'],
      minVersion: 'TLSv1.3',
      ecdhCurve: 'X25519MLKEM768:X25519',
      rejectUnauthorized: false, // see the head of this file
    });
    socket.setTimeout(CONNECT_TIMEOUT_MS, () => socket.destroy(new Error('timeout')));
    socket.once('error', (cause) =>
      reject(failed(`No connection to ${host}:${port}. Check the address and that the server runs.`, cause)),
    );
    socket.once('secureConnect', () => {
      socket.setTimeout(0);
      if (socket.alpnProtocol === 'h2') return resolve(socket);
      socket.destroy();
      reject(failed(`${host}:${port} does not speak HTTP/2.`));
    });
  });
}

function send(
  session: http2.ClientHttp2Session,
  { method, path, headers, body, signal }: ChannelRequest,
): Promise<ChannelResponse> {
  return new Promise((resolve, reject) => {
    if (session.destroyed || session.closed) return reject(lost());
    const stream = session.request(
      { ':method': method, ':path': path, ...headers },
      { endStream: !body, ...(signal ? { signal } : {}) },
    );
    let answered = false;
    stream.once('error', (cause) => reject(lost(cause)));
    stream.once('close', () => reject(lost()));
    stream.once('response', (response) => {
      answered = true;
      resolve(answer(stream, response));
    });
    if (body)
      pump(stream, body, () => answered).catch((error) => {
        reject(error); // the sender's own: its file, not our connection
        stream.destroy(error); // RST_STREAM without END_STREAM: the server must not take the part for the whole
      });
  });
}

/** Writes the body with backpressure. A server may answer early (a refusal): then the rest is not sent. */
async function pump(
  stream: http2.ClientHttp2Stream,
  body: AsyncIterable<Uint8Array>,
  answered: () => boolean,
): Promise<void> {
  for await (const chunk of body) {
    if (answered() || stream.destroyed) break;
    if (!stream.write(chunk)) {
      await new Promise<void>((resolve) => {
        const settle = () => {
          stream.off('drain', settle).off('close', settle).off('response', settle);
          resolve();
        };
        stream.once('drain', settle).once('close', settle).once('response', settle);
      });
    }
  }
  stream.end();
}

function answer(
  stream: http2.ClientHttp2Stream,
  incoming: http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader,
): ChannelResponse {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(incoming)) if (!name.startsWith(':')) headers[name] = String(value);
  const body = readBody(stream);
  const invalid = (message: string, cause?: unknown) =>
    new UnavailableError<ClientCode>('ANSWER_INVALID', message, { cause });
  const bytes = async (maxBytes = MAX_ANSWER_BYTES) => {
    const chunks: Uint8Array[] = [];
    let length = 0;
    for await (const chunk of body) {
      length += chunk.length;
      if (length > maxBytes) {
        stream.destroy();
        throw invalid(`The answer is larger than ${maxBytes} bytes.`);
      }
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  };
  return {
    status: incoming[':status'] ?? 0,
    headers,
    body,
    bytes,
    async json(maxBytes) {
      const text = Buffer.from(await bytes(maxBytes)).toString('utf8');
      try {
        return JSON.parse(text);
      } catch (cause) {
        throw invalid('The answer is not JSON.', cause);
      }
    },
  };
}

async function* readBody(stream: http2.ClientHttp2Stream): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of stream) yield chunk as Uint8Array;
  } catch (cause) {
    throw lost(cause);
  }
  // Node ends the stream of a session whose socket was cut as if it were whole; only its code tells (RFC 9113, 7).
  if (stream.rstCode !== http2.constants.NGHTTP2_NO_ERROR) throw lost();
}
