/** A gateway before a listener of ours that holds an attested key: what arrives there can be looked at. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import http from 'node:http';
import type { Http2Session, IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { createServer as createTlsServer, type TlsOptions, connect as tlsConnect } from 'node:tls';
import {
  type Answer,
  type AttestedServer,
  type HostileDoor,
  json,
  nonceOf,
  openHostileDoor,
  startAttested,
  trustIn,
} from '../../client/test/hostile-door.ts';
import { type Gateway, type GatewayOptions, type GatewayState, startGateway } from '../src/index.ts';

export const GUARD_MS = 20_000; // against hanging; nothing here is about speed

/** An upload, as it arrived in whole. */
export interface Arrived {
  path: string;
  headers: IncomingHttpHeaders;
  bytes: Buffer;
  sha256: string;
  /** The connection that it came over. */
  session: Http2Session;
}

export interface Service {
  attested: AttestedServer;
  door: HostileDoor;
  arrived: Arrived[];
  /** The connections of the gateway, oldest first. */
  sessions: Set<Http2Session>;
  /** Null: as it is. Else evidence is not handed out over a connection for which it says so. */
  withholds: ((session: Http2Session) => boolean) | null;
  /** Of `/healthz`. */
  healthStatus: number;
  /** What an upload is answered, once it is there in whole. */
  storeStatus: number;
  /** Everything but evidence, health and uploads. */
  other: Answer;
  trust(url?: string): GatewayOptions['trust'];
  close(): Promise<void>;
}

export async function startService(): Promise<Service> {
  const attested = await startAttested();
  const door = await openHostileDoor(attested);
  const service: Service = {
    attested,
    door,
    arrived: [],
    sessions: new Set(),
    withholds: null,
    healthStatus: 200,
    storeStatus: 200,
    other: (stream, headers) => json(stream, 200, { path: headers[':path'] }),
    trust: (url = door.url) => trustIn(attested, url),
    async close() {
      await door.close();
      await attested.close();
    },
  };
  const answer: Answer = (stream, headers, socket) => {
    if (headers[':path']!.startsWith('/attestation')) return void attest(service, stream, headers);
    if (headers[':path'] === '/healthz') return json(stream, service.healthStatus, {});
    if (headers[':method'] === 'POST') return void takeUpload(service, stream, headers);
    service.other(stream, headers, socket);
  };
  door.answer = (stream, headers, socket) => {
    const session = stream.session!;
    if (!service.sessions.has(session)) {
      service.sessions.add(session);
      session.once('close', () => service.sessions.delete(session));
    }
    if (headers[':path']!.startsWith('/attestation') && service.withholds?.(session)) return json(stream, 503, {});
    answer(stream, headers, socket);
  };
  return service;
}

async function attest(service: Service, stream: ServerHttp2Stream, headers: IncomingHttpHeaders): Promise<void> {
  try {
    json(stream, 200, await service.attested.evidence.evidenceFor(nonceOf(headers)));
  } catch {
    if (!stream.destroyed) json(stream, 503, {});
  }
}

async function takeUpload(service: Service, stream: ServerHttp2Stream, headers: IncomingHttpHeaders): Promise<void> {
  const chunks: Buffer[] = [];
  const session = stream.session!;
  try {
    for await (const chunk of stream) chunks.push(chunk as Buffer);
  } catch {
    return;
  }
  if (stream.aborted) return; // RST_STREAM without END_STREAM: a part is not the whole
  const bytes = Buffer.concat(chunks);
  service.arrived.push({ path: String(headers[':path']), headers, bytes, sha256: sha256(bytes), session });
  json(stream, service.storeStatus, { stored: bytes.length });
}

export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

export interface Running {
  gateway: Gateway;
  dir: string;
  url: string;
  /** The log. */
  lines: string[];
  close(): Promise<void>;
}

/** Starts a gateway on a scratch directory, or on `dir`, which is then left there. */
export async function startBefore(
  trust: GatewayOptions['trust'],
  options: Partial<GatewayOptions> = {},
): Promise<Running> {
  const dir = options.dataDir ?? mkdtempSync(join(tmpdir(), 'abaton-gateway-'));
  const lines: string[] = [];
  const gateway = await startGateway({
    trust,
    host: '127.0.0.1',
    port: 0,
    dataDir: dir,
    log: (line) => lines.push(line),
    ...options,
  });
  return {
    gateway,
    dir,
    url: `http://127.0.0.1:${gateway.port}`,
    lines,
    async close() {
      await gateway.close();
      if (!options.dataDir) rmSync(dir, { recursive: true });
    },
  };
}

/** Returns the state once it is as wanted. Throws after GUARD_MS. */
export async function until(gateway: Gateway, wanted: (state: GatewayState) => boolean): Promise<GatewayState> {
  for (const deadline = Date.now() + GUARD_MS; Date.now() < deadline; await sleep(10)) {
    const state = gateway.state();
    if (wanted(state)) return state;
  }
  throw new Error(`not reached: ${JSON.stringify(gateway.state())}`);
}

export const isOpen = ({ state }: GatewayState): boolean => state === 'open';
export const isDrained = ({ queue }: GatewayState): boolean => queue.queued === 0;

export interface LanAnswer {
  status: number;
  headers: http.IncomingHttpHeaders;
  text: string;
  json(): Record<string, unknown>;
}

/** One request of a program on the LAN. Rejects when the answer breaks off. */
export async function lan(
  url: string,
  options: http.RequestOptions = {},
  body?: Uint8Array | AsyncIterable<Uint8Array>,
): Promise<LanAnswer> {
  const request = http.request(url, { agent: false, ...options });
  const answered = once(request, 'response') as Promise<[http.IncomingMessage]>;
  if (body instanceof Uint8Array || !body) request.end(body);
  else pipeline(Readable.from(body), request).catch(() => {}); // `answered` says so, unless an early answer came
  const [response] = await answered;
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString();
  return { status: response.statusCode!, headers: response.headers, text, json: () => JSON.parse(text) };
}

/** STOW-RS of bytes that nobody reads as DICOM here. */
export const store = (
  url: string,
  body: Uint8Array | AsyncIterable<Uint8Array>,
  path = '/dicom-web/studies',
): Promise<LanAnswer> => lan(url + path, { method: 'POST', headers: { 'content-type': 'application/dicom' } }, body);

export interface Recorder {
  url: string;
  /** Decrypted, and as they came over the wire. */
  plaintext: Buffer[];
  wire: Buffer[];
  close(): Promise<void>;
}

/** Stands in the place of the service: records what it is sent, and passes it on to `upstreamPort`. */
export async function startRecorder(tls: TlsOptions, upstreamPort: number | null): Promise<Recorder> {
  const sockets: Socket[] = [];
  const recorder: Omit<Recorder, 'url' | 'close'> = { plaintext: [], wire: [] };
  const server = createTlsServer({ ALPNProtocols: ['h2'], ...tls }, (socket) => {
    socket.on('error', () => {}).on('data', (chunk) => recorder.plaintext.push(chunk));
    if (upstreamPort === null) return;
    const upstream = tlsConnect({
      host: '127.0.0.1',
      port: upstreamPort,
      ALPNProtocols: ['h2'],
      rejectUnauthorized: false,
    });
    sockets.push(upstream);
    upstream.on('error', () => {}).on('close', () => socket.destroy());
    socket.on('close', () => upstream.destroy());
    socket.pipe(upstream).pipe(socket);
  });
  server.on('tlsClientError', () => {}).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const front = createServer((socket) => {
    const inner = connect((server.address() as AddressInfo).port, '127.0.0.1');
    sockets.push(socket, inner);
    inner.on('error', () => {}).on('close', () => socket.destroy());
    socket.on('error', () => {}).on('close', () => inner.destroy());
    socket.on('data', (chunk: Buffer) => recorder.wire.push(chunk));
    socket.pipe(inner).pipe(socket);
  });
  front.listen(0, '127.0.0.1');
  await once(front, 'listening');
  return {
    ...recorder,
    url: `https://127.0.0.1:${(front.address() as AddressInfo).port}`,
    close: () =>
      new Promise((resolve) => {
        server.close();
        front.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}
