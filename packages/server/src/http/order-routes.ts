/** `POST /api/v1/orders`: what an officer of the manifest orders, as a signed note (officers/order-desk.ts). */
import { ReadableStream } from 'node:stream/web';
import { Hono } from 'hono';
import type { OrderDesk } from '../officers/order-desk.ts';
import { requestOf } from './disclosure.ts';
import type { DoorEnv } from './door-env.ts';
import { acceptNote } from './signed-note.ts';

/** Answers `{ order: { id, do, officer, entry: { origin, index } }, answer }`, or a stream in the order's own type, its entry in a header. */
export function orderRoutes({ desk }: { desk: OrderDesk }): Hono<DoorEnv> {
  const app = new Hono<DoorEnv>();
  acceptNote(app, {
    path: '/api/v1/orders',
    perSecond: 100, // a signature takes a millisecond to verify; an officer must get through among strangers
    async take(c, note) {
      const { accepted, answer } = await desk.submit(note, requestOf(c));
      if ('json' in answer) return c.json({ order: accepted, answer: answer.json });
      const { origin, index } = accepted.entry;
      return new Response(ReadableStream.from(answer.stream) as BodyInit, {
        headers: { 'content-type': answer.contentType, 'x-abaton-order-entry': `${origin} ${index}` },
      });
    },
  });
  return app;
}
