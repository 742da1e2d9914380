/**
 * `POST /sealed`: a whole request inside, for browsers and for paths through a proxy that ends TLS. It is opened while it
 * arrives and goes through the same application as any other; the answer is sealed while it is made. What is wrong before
 * the first chunk has opened is said outside the envelope, everything after it inside.
 */
import { ReadableStream } from 'node:stream/web';
import { type OpenedEnvelope, openEnvelope, SEALED_REQUEST, SEALED_RESPONSE } from '@abaton/client';
import { type Context, Hono } from 'hono';
import { errorOf } from '../../errors.ts';
import type { DoorBindings, FetchHandler } from '../bridge.ts';
import type { DoorEnv } from '../door-env.ts';
import { errorResponse, failureOf } from '../errors.ts';
import { addressOf, createRateLimit } from '../rate-limit.ts';
import type { SealedKeys } from './sealed-keys.ts';

export interface SealedDeps {
  keys: Pick<SealedKeys, 'find'>;
  /** The whole application. */
  handler: FetchHandler;
}

/** What a handler finds in `c.env` when its request came sealed. */
interface SealedBindings extends DoorBindings {
  sealed: true;
}

// opening takes 4 ms of one core with X-Wing, which anybody can ask for: so at most half a core, and others are served
const OPENED_PER_SECOND = 100;
const OPENED_BURST = 200;
/** Envelopes that are still arriving: each may hold a chunk of 64 KiB for as long as its sender is patient. */
const MAX_ARRIVING = 512;
/** RFC 9458 section 5.3: what tells any client of Oblivious HTTP to get new keys. */
const KEY_PROBLEM = {
  type: 'https://iana.org/assignments/http-problem-types#ohttp-key',
  title: 'key identifier unknown',
};

export function sealedRoutes({ keys, handler }: SealedDeps): Hono<DoorEnv> {
  const limit = createRateLimit({ perSecond: OPENED_PER_SECOND, burst: OPENED_BURST, share: 1 });
  const app = new Hono<DoorEnv>();
  let arriving = 0;

  app.post('/sealed', async (c) => {
    if ('sealed' in c.env) throw errorOf('NOT_FOUND', 'There is no envelope within an envelope.');
    if (c.req.header('content-type') !== SEALED_REQUEST)
      throw errorOf('MEDIA_TYPE_UNSUPPORTED', `Send ${SEALED_REQUEST}.`);
    if (!c.req.raw.body) throw errorOf('SEALED_INVALID', 'There is no envelope.');
    limit.take(addressOf(c));
    if (arriving >= MAX_ARRIVING) throw errorOf('OVERLOADED', 'Too many sealed requests are arriving.');
    arriving++;
    let envelope: OpenedEnvelope | null = null;
    c.env.incoming.once('close', () => {
      arriving--;
      void envelope?.cancel().catch(() => {}); // an answer that is cancelled before it begins lets nothing go by itself
    });
    try {
      envelope = await openEnvelope(c.req.raw.body, keys.find);
    } catch (error) {
      const { code, message, status, class: kind } = failureOf(error);
      if (code !== 'SEALED_KEY_UNKNOWN') throw error;
      const problem = { ...KEY_PROBLEM, status, code, message, class: kind, requestId: c.get('requestId') };
      return c.body(JSON.stringify(problem), 422, { 'content-type': 'application/problem+json' });
    }
    const env: SealedBindings = { incoming: c.env.incoming, sealed: true };
    const opened = envelope;
    const response = await answer(c, opened, (request) => handler(request, env));
    return new Response(ReadableStream.from(seal(opened, response)) as BodyInit, {
      headers: { 'content-type': SEALED_RESPONSE, incremental: '?1' },
    });
  });

  app.all('/sealed', (c) => {
    c.header('allow', 'POST');
    throw errorOf('METHOD_NOT_ALLOWED', 'This resource supports POST.');
  });
  return app;
}

/** What the application answers, or why the inner request is none. */
async function answer(
  c: Context<DoorEnv>,
  envelope: OpenedEnvelope,
  handle: (request: Request) => Response | Promise<Response>,
): Promise<Response> {
  let request: Request;
  try {
    request = await toRequest(envelope);
  } catch (error) {
    return errorResponse(c, error, c.get('requestId'));
  }
  return handle(request);
}

/** A request without a body is read to its end first, so that none is served of which a part was taken away. */
async function toRequest(envelope: OpenedEnvelope): Promise<Request> {
  const { method, authority, path, headers, body } = await envelope.readRequest();
  const bodiless = method === 'GET' || method === 'HEAD';
  if (bodiless && !(await body.next()).done) throw errorOf('REQUEST_INVALID', `A ${method} request has no body.`);
  try {
    const init = { method, headers, body: bodiless ? null : ReadableStream.from(body), duplex: 'half' };
    return new Request(`https://${authority}${path}`, init as RequestInit);
  } catch (cause) {
    throw errorOf('REQUEST_INVALID', 'The sealed request has no URL or method of ours.', { cause });
  }
}

async function* seal(envelope: OpenedEnvelope, { status, headers, body }: Response): AsyncGenerator<Uint8Array> {
  try {
    yield* envelope.sealResponse({ status, headers: [...headers] }, body ?? undefined);
  } finally {
    void envelope.cancel().catch(() => {}); // a body that the handler left unread
  }
}
