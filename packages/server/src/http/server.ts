/**
 * The listener: TLS 1.3 only, with the RA-TLS certificate whose key never left the TEE, HTTP/1.1 and HTTP/2 on one port
 * (ALPN), post-quantum key exchange first.
 */
import { createHash, constants as tls, X509Certificate } from 'node:crypto';
import type { ServerOptions } from 'node:http';
import { createSecureServer } from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import { errorOf } from '../errors.ts';
import type { TlsKey } from '../tee/agent-client.ts';
import { type FetchHandler, type Incoming, type Outgoing, serveExchange } from './bridge.ts';

export interface DoorOptions {
  key: TlsKey;
  host: string;
  /** 0 takes a free port. */
  port: number;
  handler: FetchHandler;
  limits?: Partial<DoorLimits>;
}

/** Each with the failure that it prevents. */
export interface DoorLimits {
  /** Sockets at once: descriptors and memory run out. */
  maxConnections: number;
  /** HTTP/2 streams at once, per connection: one client takes every upload slot. RFC 9113, 6.5.2 recommends at least 100. */
  maxConcurrentStreams: number;
  /** All header fields of a request: memory filled before any handler runs. Node's HTTP/1.1 default. */
  maxHeaderBytes: number;
  /** From the first byte of a request to the end of its header: Slowloris. Apache mod_reqtimeout's upper default. */
  headersTimeoutMs: number;
  /** From TCP connect to the end of the TLS handshake: sockets that never speak. */
  handshakeTimeoutMs: number;
  /** Of a request body that stands still, before its rate counts: Slowloris. Apache mod_reqtimeout's default. */
  bodyPatienceMs: number;
  /** Without a byte in either direction: clients that are gone. */
  idleTimeoutMs: number;
}

const LIMITS: DoorLimits = {
  maxConnections: 1024,
  maxConcurrentStreams: 100,
  maxHeaderBytes: 16 * 1024,
  headersTimeoutMs: 40_000,
  handshakeTimeoutMs: 10_000,
  bodyPatienceMs: 20_000,
  idleTimeoutMs: 120_000,
};

/** HTTP/2 flow control (RFC 9113, 6.9): the default of 64 KiB would limit an upload over 50 ms to 1.3 MB/s; this allows 20. */
const STREAM_WINDOW_BYTES = 2 ** 20;
/** For all streams of one connection together; what bounds the memory that unread uploads can take. */
const CONNECTION_WINDOW_BYTES = 4 * 2 ** 20;

export interface Door {
  port: number;
  /** New connections get another chain for the same key. */
  renew(key: TlsKey): void;
  /** Ends every connection now, also one that stands still with bytes on the way. New ones are taken. */
  cut(): void;
  /**
   * Takes no new connection or request, lets running ones end for `graceMs`, then cuts what is left. Resolves when the
   * last connection is closed.
   */
  close(graceMs: number): Promise<void>;
}

/** SHA-256 of the SubjectPublicKeyInfo (DER) of the leaf certificate, hex: what evidence must name. */
export function tlsSpkiSha256({ chainPem }: Pick<TlsKey, 'chainPem'>): string {
  const spki = new X509Certificate(chainPem[0]!).publicKey.export({ type: 'spki', format: 'der' });
  return createHash('sha256').update(spki).digest('hex');
}

const contextOf = ({ keyPem, chainPem }: TlsKey) => ({
  key: keyPem,
  cert: chainPem.join('\n'),
  minVersion: 'TLSv1.3' as const,
  ecdhCurve: 'X25519MLKEM768:X25519',
  // no session tickets: each connection proves anew that its other end holds the attested key
  secureOptions: tls.SSL_OP_NO_TICKET,
});

/** Listens. Throws SETTING_INVALID when the address cannot be bound. */
export async function openDoor({ key, host, port, handler, limits }: DoorOptions): Promise<Door> {
  const limit = { ...LIMITS, ...limits };
  const sockets = new Set<Socket>();
  const http1Options: ServerOptions = {
    maxHeaderSize: limit.maxHeaderBytes,
    headersTimeout: limit.headersTimeoutMs,
    connectionsCheckingInterval: Math.min(5_000, limit.headersTimeoutMs), // how late a timeout may strike
    requestTimeout: 0, // a study may take an hour on a slow line; the bridge demands a rate instead
  };
  const server = createSecureServer({
    ...contextOf(key),
    handshakeTimeout: limit.handshakeTimeoutMs,
    allowHTTP1: true,
    http1Options,
    settings: {
      initialWindowSize: STREAM_WINDOW_BYTES,
      maxConcurrentStreams: limit.maxConcurrentStreams,
      maxHeaderListSize: limit.maxHeaderBytes,
    },
  });
  server.maxConnections = limit.maxConnections;
  server.setTimeout(limit.idleTimeoutMs);
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  server.on('session', (session) => session.setLocalWindowSize(CONNECTION_WINDOW_BYTES));
  server.on('sessionError', () => {}); // a peer that breaks HTTP/2: its session is closed already
  const serve = (continueFirst: boolean) => (incoming: Incoming, outgoing: Outgoing) =>
    void serveExchange(incoming, outgoing, { handler, bodyPatienceMs: limit.bodyPatienceMs, continueFirst });
  server.on('request', serve(false));
  server.on('checkContinue', serve(true));
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) =>
      reject(
        errorOf(
          'SETTING_INVALID',
          `ABATON_HOST and ABATON_PORT: ${host}:${port} cannot be bound: it is in use, or not allowed. Port 0 takes a free one.`,
          { cause },
        ),
      ),
    );
    server.listen(port, host, resolve);
  });
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    port: (server.address() as AddressInfo).port,
    cut,
    renew: (key) => server.setSecureContext(contextOf(key)),
    close: (graceMs) =>
      new Promise((resolve) => {
        const timer = setTimeout(cut, graceMs);
        server.close(() => {
          clearTimeout(timer);
          resolve();
        });
      }),
  };
}
