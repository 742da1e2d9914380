/** HTTP/1.1 as guest agents speak it: JSON with Content-Length, ASCII only, over a private unix socket. */
import { lstat, unlink } from 'node:fs/promises';
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import { connect } from 'node:net';

/** Refuses a request; the message goes back to the caller. */
export class RequestError extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** Room for any report data, path or payload to sign; no memory to fill. */
const MAX_BODY_BYTES = 2 ** 20;

/** The body as text. Throws RequestError 413 beyond the limit and 400 unless it is UTF-8. */
export async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  // Left before its end, the stream must stay open: the refusal goes out on the same connection.
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BODY_BYTES) throw new RequestError(413, `Body of more than ${MAX_BODY_BYTES} bytes`);
    chunks.push(chunk);
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks));
  } catch {
    throw new RequestError(400, 'Body is not UTF-8');
  }
}

export function parseObject(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // not JSON: refused below
  }
  throw new RequestError(400, 'Body is not a JSON object');
}

/** What a caller got wrong beyond the form: an unknown name, a malformed key. */
export function orRefuse<T>(compute: () => T): T {
  try {
    return compute();
  } catch (error) {
    throw new RequestError(400, (error as Error).message);
  }
}

export interface Answer {
  type: string;
  body: string | Buffer;
  headers?: Record<string, string>;
}

/** dstack's JavaScript SDK counts characters against Content-Length: all else than ASCII is escaped. */
export const jsonAnswer = (value: unknown): Answer => ({
  type: 'application/json',
  body: JSON.stringify(value).replace(
    /[^\0-\x7e]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  ),
});

/** Serves what `handle` returns, with Content-Length; what it throws as `{ "error": … }`. */
export const listener =
  (handle: (request: IncomingMessage, url: URL) => Promise<Answer>): RequestListener =>
  async (request: IncomingMessage, response: ServerResponse) => {
    let status = 200;
    let answer: Answer;
    try {
      const url = URL.parse(request.url ?? '/', 'http://localhost');
      if (!url) throw new RequestError(400, 'Not a path');
      answer = await handle(request, url);
    } catch (error) {
      status = error instanceof RequestError ? error.status : 500;
      answer = jsonAnswer({ error: error instanceof RequestError ? error.message : 'Internal error' });
    }
    response.writeHead(status, {
      'content-type': answer.type,
      'content-length': Buffer.byteLength(answer.body),
      ...answer.headers,
      ...(request.complete ? {} : { connection: 'close' }), // an unread body would be taken for the next request
    });
    response.end(answer.body);
  };

/** Whether a process still listens there. */
const answers = (path: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(path);
    socket.once('error', () => resolve(false));
    socket.once('connect', () => resolve(true)).once('connect', () => socket.destroy());
  });

/** Serves on a unix socket of mode 0600, replacing a dead socket but neither a live one nor another file. */
export async function listenUnix(onRequest: RequestListener, path: string): Promise<Server> {
  const stat = await lstat(path).catch(() => null);
  if (stat?.isSocket() && !(await answers(path))) await unlink(path);
  const server = createServer(onRequest);
  const previous = process.umask(0o177); // bind happens within listen()
  try {
    server.listen(path);
  } finally {
    process.umask(previous);
  }
  return listening(server);
}

/** Serves on a loopback port; 0 takes a free one. */
export const listenLoopback = (onRequest: RequestListener, port: number): Promise<Server> =>
  listening(createServer(onRequest).listen(port, '127.0.0.1'));

const listening = (server: Server): Promise<Server> =>
  new Promise((resolve, reject) => {
    server.once('listening', () => resolve(server)).once('error', reject);
  });

export const closeServer = (server: Server): Promise<void> =>
  new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
