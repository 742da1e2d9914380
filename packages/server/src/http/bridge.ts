/**
 * Between Node's HTTP/1.1 and HTTP/2 servers and a fetch handler. Own, because @hono/node-server answers and prints the
 * message of a failing body stream, and here a message outside our table may hold anything. Both directions stream:
 * a chunk is read when the handler asks for it, and written when the client has taken the one before.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { constants, type Http2ServerRequest, type Http2ServerResponse } from 'node:http2';
import { ReadableStream } from 'node:stream/web';

export type Incoming = IncomingMessage | Http2ServerRequest;
export type Outgoing = ServerResponse | Http2ServerResponse;

/** What a handler finds in `c.env`. */
export interface DoorBindings {
  incoming: Incoming;
}

export type FetchHandler = (request: Request, env: DoorBindings) => Response | Promise<Response>;

/**
 * Apache mod_reqtimeout's `MinRate=500`: a client that owes us bytes for longer than its patience plus the time that
 * they take at 500 bytes/s is cut. Only time in which we wait for it counts, not time in which we are slow.
 */
const BODY_MIN_BYTES_PER_MS = 0.5;

/**
 * After an answer that did not wait for the whole body, HTTP/1.1 reads on for so long or so much, so that the client sees
 * the answer rather than a reset connection.
 */
const LINGER_MS = 2_000;
const LINGER_BYTES = 16 * 2 ** 20;

export interface ExchangeOptions {
  handler: FetchHandler;
  /** How long a body may stand still before its rate counts. */
  bodyPatienceMs: number;
  /** The client waits for `100 Continue`, which goes out only when the handler wants the body. */
  continueFirst: boolean;
}

/** Serves one exchange. Never throws. */
export async function serveExchange(incoming: Incoming, outgoing: Outgoing, options: ExchangeOptions): Promise<void> {
  const { handler, bodyPatienceMs, continueFirst } = options;
  outgoing.on('error', () => {}); // the client went away; `close` follows
  try {
    const body = readBody(incoming, bodyPatienceMs, () => continueFirst && outgoing.writeContinue());
    const request = toRequest(incoming, body);
    const response = request ? await handler(request, { incoming }) : new Response(null, { status: 400 });
    await sendResponse(response, outgoing);
    settleBody(incoming, outgoing);
  } catch {
    cut(outgoing); // a body that fails half-way: the client must not take the part for the whole
  }
}

/** Null for a request that has no URL of ours: absolute-form, authority-form, or a host that is none. */
function toRequest(incoming: Incoming, body: AsyncIterable<Uint8Array>): Request | null {
  const { method = 'GET', url = '' } = incoming;
  const host = 'authority' in incoming ? incoming.authority || incoming.headers.host : incoming.headers.host;
  const address = `https://${host}${url}`;
  if (!url.startsWith('/') || !host || /[/?#@\\]/.test(host) || !URL.canParse(address)) return null;
  const headers = new Headers();
  for (let i = 0; i < incoming.rawHeaders.length; i += 2) {
    const name = incoming.rawHeaders[i]!;
    if (!name.startsWith(':')) headers.append(name, incoming.rawHeaders[i + 1]!);
  }
  try {
    const bodiless = method === 'GET' || method === 'HEAD';
    const init = { method, headers, body: bodiless ? null : ReadableStream.from(body), duplex: 'half' };
    return new Request(address, init as RequestInit);
  } catch {
    return null; // a method that fetch does not know, such as TRACE
  }
}

/** Runs from the handler's first read on, and leaves the stream usable when the handler stops early. */
async function* readBody(incoming: Incoming, patienceMs: number, onFirstRead: () => void): AsyncGenerator<Uint8Array> {
  onFirstRead();
  const lookMs = Math.min(1_000, patienceMs);
  let waiting = true;
  let waitedMs = 0;
  let bytes = 0;
  const watch = setInterval(() => {
    if (waiting) waitedMs += lookMs;
    if (waitedMs > patienceMs + bytes / BODY_MIN_BYTES_PER_MS) incoming.destroy(new Error('too slow'));
  }, lookMs).unref();
  incoming.once('close', () => clearInterval(watch)); // a reader that is let go in the middle of a wait does not come back
  try {
    for await (const chunk of incoming.iterator({ destroyOnReturn: false })) {
      waiting = false;
      bytes += chunk.length;
      yield chunk;
      waiting = true;
    }
  } finally {
    clearInterval(watch);
  }
}

async function sendResponse({ status, headers, body }: Response, outgoing: Outgoing): Promise<void> {
  if (isGone(outgoing)) return void (await body?.cancel());
  const node = outgoing as ServerResponse; // both have these methods; TypeScript cannot call a union of their overloads
  for (const [name, value] of headers) node.appendHeader(name, value); // `append` keeps several Set-Cookie apart
  node.writeHead(status);
  for await (const chunk of body ?? []) {
    if (!node.write(chunk) && !isGone(outgoing)) await writable(outgoing);
    if (isGone(outgoing)) return; // leaving the loop cancels the source
  }
  outgoing.end();
}

const isGone = (outgoing: Outgoing): boolean =>
  'stream' in outgoing ? outgoing.stream.destroyed || outgoing.stream.closed : outgoing.destroyed;

/** Until there is room, or nobody to write to. */
function writable(outgoing: Outgoing): Promise<void> {
  return new Promise((resolve) => {
    const settle = () => {
      outgoing.off('drain', settle).off('close', settle);
      resolve();
    };
    outgoing.on('drain', settle).on('close', settle);
  });
}

/** Deals with a body that the handler left unread, and that the client may still be sending. */
function settleBody(incoming: Incoming, outgoing: Outgoing): void {
  if ('stream' in outgoing) {
    const { stream } = outgoing;
    if (stream.endAfterHeaders || incoming.readableEnded) return;
    // RFC 9113, 8.1: after a complete response the server may ask the client to stop, with NO_ERROR
    outgoing.once('finish', () => stream.close(constants.NGHTTP2_NO_ERROR));
    return;
  }
  incoming.on('error', () => {}).resume(); // what has arrived is let go
  if (incoming.complete) return;
  let left = LINGER_BYTES;
  const timer = setTimeout(() => incoming.destroy(), LINGER_MS).unref();
  incoming.once('close', () => clearTimeout(timer));
  incoming.on('data', (chunk: Buffer) => {
    left -= chunk.length;
    if (left < 0) incoming.destroy();
  });
}

function cut(outgoing: Outgoing): void {
  if ('stream' in outgoing) outgoing.stream?.close(constants.NGHTTP2_INTERNAL_ERROR);
  else outgoing.destroy();
}
