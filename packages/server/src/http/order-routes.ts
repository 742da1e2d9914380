/** `POST /api/v1/orders`: what an officer of the manifest orders, as a signed note (officers/order-desk.ts). */
import { ReadableStream } from 'node:stream/web';
import { Hono } from 'hono';
import { errorOf } from '../errors.ts';
import type { OrderDesk } from '../officers/order-desk.ts';
import { requestOf } from './disclosure.ts';
import type { DoorEnv } from './door-env.ts';
import { addressOf, createRateLimit } from './rate-limit.ts';
import { readNote, requireNote } from './signed-note.ts';

// a signature takes a millisecond to verify; an officer signs one at a time, and must get through among strangers
const ORDERS_PER_SECOND = 100;
const ORDER_BURST = 100;

/** Answers `{ order: { id, do, officer, entry: { origin, index } }, answer }`, or a stream in the order's own type, its entry in a header. */
export function orderRoutes({ desk }: { desk: OrderDesk }): Hono<DoorEnv> {
  const limit = createRateLimit({ perSecond: ORDERS_PER_SECOND, burst: ORDER_BURST });
  const app = new Hono<DoorEnv>();
  const path = '/api/v1/orders';
  app.post(path, async (c) => {
    requireNote(c);
    limit.take(addressOf(c));
    const { accepted, answer } = await desk.submit(await readNote(c), requestOf(c));
    if ('json' in answer) return c.json({ order: accepted, answer: answer.json });
    return new Response(ReadableStream.from(answer.stream) as BodyInit, {
      headers: {
        'content-type': answer.contentType,
        'x-abaton-order-entry': `${accepted.entry.origin} ${accepted.entry.index}`,
      },
    });
  });
  app.all(path, (c) => {
    c.header('allow', 'POST');
    throw errorOf('METHOD_NOT_ALLOWED', 'This resource supports POST.');
  });
  return app;
}
