/** A TLS 1.3 + HTTP/2 listener that answers as a test says: what a client may meet that our own server never does. */

import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import http2 from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import { parsePolicy } from '@abaton/verify';
import { type AttestedServer, startAttested } from '../../server/test/tee/attested-server.ts';

export type Answer = (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders, socket: Socket) => void;

export interface HostileDoor {
  url: string;
  port: number;
  /** `METHOD path` of each request, without the query. */
  requests: string[];
  /** Takes effect with the next request. */
  answer: Answer;
  close(): Promise<void>;
}

/** Behind the very key that the evidence of `attested` names. */
export async function openHostileDoor(
  { key }: Pick<AttestedServer, 'key'>,
  options: http2.SecureServerOptions = {},
): Promise<HostileDoor> {
  const server = http2.createSecureServer({
    key: key.keyPem,
    cert: key.chainPem.join('\n'),
    minVersion: 'TLSv1.3',
    ...options,
  });
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => sockets.add(socket));
  server.on('sessionError', () => {});
  server.on('stream', (stream, headers) => {
    stream.on('error', () => {});
    door.requests.push(`${headers[':method']} ${headers[':path']?.split('?')[0]}`);
    door.answer(stream, headers, stream.session!.socket as unknown as Socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const door: HostileDoor = {
    url: `https://127.0.0.1:${port}`,
    port,
    requests: [],
    answer: (stream) => json(stream, 404, { code: 'NOT_FOUND', message: randomUUID() }),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
  return door;
}

export function json(stream: http2.ServerHttp2Stream, status: number, body: unknown): void {
  stream.respond({ ':status': status, 'content-type': 'application/json' });
  stream.end(JSON.stringify(body));
}

/** The nonce that the client put in its question for evidence. */
export const nonceOf = (headers: http2.IncomingHttpHeaders): string =>
  new URL(headers[':path']!, 'https://x').searchParams.get('nonce') ?? '';

/** Answers `/attestation` genuinely, and everything else with `other`. */
export const attesting =
  (attested: Pick<AttestedServer, 'evidence'>, other: Answer): Answer =>
  (stream, headers, socket) => {
    if (!headers[':path']!.startsWith('/attestation')) return other(stream, headers, socket);
    attested.evidence.evidenceFor(nonceOf(headers)).then((evidence) => json(stream, 200, evidence));
  };

/** What the client demands: this software TEE, whose evidence is then good for synthetic data. */
export const trustIn = ({ tee }: Pick<AttestedServer, 'tee'>, url: string) => ({
  url,
  policy: parsePolicy(tee.policy),
  acceptedRootsSha256: [tee.rootSha256],
});

export { type AttestedServer, startAttested };
