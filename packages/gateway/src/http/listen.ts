/**
 * Where the LAN side knocks. Plain HTTP never leaves this machine; anything else takes TLS. A page in a browser of this
 * machine must not get in: its Host (DNS rebinding) or its Origin gives it away.
 */
import { X509Certificate } from 'node:crypto';
import http, { type RequestListener, type Server, type ServerOptions } from 'node:http';
import https from 'node:https';
import { type AddressInfo, BlockList, isIP, type Socket } from 'node:net';
import { errorOf } from '../codes.ts';

export interface ListenOptions {
  /** An IP address. */
  host: string;
  /** 0 takes a free port. */
  port: number;
  /** PEM. Null: plain HTTP, and then only on loopback. */
  tls: { cert: string; key: string } | null;
  handler: (verifyCaller: VerifyCaller) => RequestListener;
}

/** Throws HOST_REFUSED or ORIGIN_REFUSED for a request that a web page may have made. */
export type VerifyCaller = (headers: http.IncomingHttpHeaders) => void;

export interface Listener {
  port: number;
  /** Cuts what is under way. */
  close(): Promise<void>;
}

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');
const isLoopback = (host: string): boolean =>
  isIP(host) !== 0 && loopback.check(host, isIP(host) === 6 ? 'ipv6' : 'ipv4');

const LIMITS: ServerOptions = {
  maxHeaderSize: 16 * 1024, // Node's default, of all fields together
  headersTimeout: 40_000, // Apache mod_reqtimeout's upper default: Slowloris
  connectionsCheckingInterval: 5_000,
  requestTimeout: 0, // a study may take an hour; pace.ts demands a rate instead
  keepAliveTimeout: 60_000, // shorter than the programs' own, and a request would meet a closing socket
};
const MAX_CONNECTIONS = 512; // descriptors: the usual limit of a process is 1024, and each may have a file open
const MIN_TLS = 'TLSv1.2'; // modalities stay for fifteen years; towards the service it is 1.3 only

/** `127.0.0.1:8042` or `[::1]:8042`. Throws LISTEN_REFUSED. */
export function parseListen(text: string): { host: string; port: number } {
  const [, v6, v4, port] = /^(?:\[([0-9a-fA-F:]+)\]|([0-9.]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = v6 ?? v4 ?? '';
  if (isIP(host) === 0 || Number(port) > 65_535)
    throw errorOf('LISTEN_REFUSED', 'Listen on an IP address and port, such as 127.0.0.1:8042 or [::1]:8042.');
  return { host, port: Number(port) };
}

/** Throws LISTEN_REFUSED. */
export async function listen({ host, port, tls, handler }: ListenOptions): Promise<Listener> {
  if (!tls && !isLoopback(host))
    throw errorOf('LISTEN_REFUSED', 'Plain HTTP is for 127.0.0.0/8 and ::1. Give --tls-cert and --tls-key for others.');
  const certificate = tls && parseCertificate(tls.cert);
  let bound = port;
  const serve = handler(({ host: named = '', origin, 'sec-fetch-site': site }) => {
    if (!isNamed(named, bound, tls ? 443 : 80, certificate)) throw errorOf('HOST_REFUSED', 'Host is not this gateway.');
    if (origin !== undefined || site === 'cross-site' || site === 'same-site')
      throw errorOf('ORIGIN_REFUSED', 'The request comes from a page.');
  });
  const server = tls ? openTls(tls, serve) : http.createServer(LIMITS, serve);
  server.maxConnections = MAX_CONNECTIONS;
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) =>
      reject(errorOf('LISTEN_REFUSED', 'The address is in use, or is none of this machine.', { cause })),
    );
    server.listen(port, host, resolve);
  });
  bound = (server.address() as AddressInfo).port;
  return {
    port: bound,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

function parseCertificate(pem: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (cause) {
    throw errorOf('LISTEN_REFUSED', 'The certificate cannot be read.', { cause });
  }
}

function openTls({ cert, key }: { cert: string; key: string }, handler: RequestListener): Server {
  try {
    return https.createServer({ ...LIMITS, cert, key, minVersion: MIN_TLS }, handler);
  } catch (cause) {
    throw errorOf('LISTEN_REFUSED', 'The certificate and its key cannot be used.', { cause });
  }
}

/** Loopback by its names, or whatever the certificate was made for; and our port. */
function isNamed(named: string, port: number, defaultPort: number, certificate: X509Certificate | null): boolean {
  const url = `http://${named}`;
  if (!/^[\w.:[\]-]+$/.test(named) || !URL.canParse(url)) return false;
  const name = new URL(url).hostname.replace(/^\[|\]$/g, '');
  const asked = Number(/:(\d+)$/.exec(named.replace(/^\[[^\]]*\]/, ''))?.[1] ?? defaultPort);
  if (asked !== port) return false;
  if (name === 'localhost' || isLoopback(name)) return true;
  if (!certificate) return false;
  return (isIP(name) ? certificate.checkIP(name) : certificate.checkHost(name)) !== undefined;
}
