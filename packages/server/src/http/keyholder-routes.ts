/** Where the keyholder comes: what is wanted of him, and what he brings. A share comes over a connection that he has verified. */
import { Hono } from 'hono';
import type { KeyholderDesk } from '../vault/keyholder-desk.ts';
import type { DoorEnv } from './door-env.ts';
import { publicRead } from './public-read.ts';
import { acceptNote } from './signed-note.ts';

/**
 * `GET /api/v1/keyholder`: `{ subject, wanted, retired }`. `POST /api/v1/keyholder/share` and `…/destroyed` take his signed
 * notes as `text/plain` and answer `{ accepted: true }`.
 */
export function keyholderRoutes({ desk }: { desk: Pick<KeyholderDesk, 'wishes' | 'take'> }): Hono<DoorEnv> {
  const app = new Hono<DoorEnv>();
  publicRead(app, '/api/v1/keyholder', async (c) => c.json(await desk.wishes()));
  for (const path of ['/api/v1/keyholder/share', '/api/v1/keyholder/destroyed'])
    acceptNote(app, {
      path,
      perSecond: 80, // a signature takes a millisecond to verify; he comes once a second while something is wanted
      async take(c, note) {
        await desk.take(note);
        return c.json({ accepted: true });
      },
    });
  return app;
}
