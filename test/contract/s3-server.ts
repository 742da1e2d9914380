/**
 * An S3 server on loopback: s3rver, which nobody here wrote. It knows no conditional put, so the front of it here does what
 * the Amazon S3 User Guide says under "Conditional writes" (If-None-Match: 412 when the key is there), unless told not to.
 */
import type { Cipheriv, Decipheriv } from 'node:crypto';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';

interface S3rverOptions {
  directory: string;
  silent: boolean;
  configureBuckets: { name: string }[];
}
interface S3rver {
  configureBuckets(): Promise<unknown>;
  callback(): (request: IncomingMessage, response: ServerResponse) => Promise<void>;
}
const require = createRequire(import.meta.url);
const S3rver = require('s3rver') as new (options: S3rverOptions) => S3rver;

// s3rver encrypts its continuation tokens by DES, which OpenSSL 3 does not have.
const crypto = require('node:crypto') as Record<string, (...args: unknown[]) => Cipheriv | Decipheriv>;
for (const name of ['createCipheriv', 'createDecipheriv']) {
  const create = crypto[name]!;
  crypto[name] = (cipher, ...rest) =>
    cipher === 'des' ? create('aes-128-ctr', Buffer.alloc(16), Buffer.alloc(16)) : create(cipher, ...rest);
}

export interface S3Server {
  /** Where its files lie, for a look at everything that is stored. */
  directory: string;
  port: number;
  /** A `BLOBS_URL` of a prefix that nobody else uses. */
  newUrl(): string;
  /** Asked for each request: a status to answer instead, 'hang up', 'hang up after' (it is done, and nobody says so), or null. */
  fault: (request: IncomingMessage) => number | 'hang up' | 'hang up after' | null;
  /** Every request so far, as `METHOD path`. */
  requests: string[];
}

const BUCKET = 'abaton';

export async function startS3({ conditionalPut = true } = {}): Promise<S3Server> {
  const directory = mkdtempSync(join(tmpdir(), 'abaton-s3-'));
  const s3rver = new S3rver({ directory, silent: true, configureBuckets: [{ name: BUCKET }] });
  await s3rver.configureBuckets();
  const handle = s3rver.callback();
  /** Keys whose first put is under way. */
  const arriving = new Set<string>();
  const server = createServer((request, response) => {
    const path = decodeURIComponent((request.url ?? '').split('?')[0]!);
    it.requests.push(`${request.method} ${path}`);
    const fault = it.fault(request);
    if (fault === 'hang up') return void request.socket.destroy();
    if (typeof fault === 'number') return void request.resume().on('end', () => response.writeHead(fault).end());
    if (fault === 'hang up after')
      response.writeHead = () => {
        request.socket.destroy();
        return response;
      };
    const object = statSync(join(directory, `${path}._S3rver_object`), { throwIfNoEntry: false });
    if (request.method === 'GET' && request.headers.range && object?.size === 0)
      return void response.writeHead(416).end(); // s3rver promises a byte that is not there
    if (request.method === 'PUT' && request.headers['if-none-match'] === '*' && conditionalPut) {
      if (arriving.has(path) || object) return void request.resume().on('end', () => response.writeHead(412).end());
      arriving.add(path);
      response.on('close', () => arriving.delete(path));
    }
    void handle(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  after(() => {
    server.closeAllConnections();
    server.close();
    rmSync(directory, { recursive: true, force: true });
  });
  let urls = 0;
  const it: S3Server = {
    directory,
    port,
    newUrl: () => `http://S3RVER:S3RVER@127.0.0.1:${port}/${BUCKET}/test${urls++}?region=us-east-1`,
    fault: () => null,
    requests: [],
  };
  return it;
}
