/** Where the keyholder comes: what is wanted of him, and what he brings. A share comes over a connection that he has verified. */
import { Hono } from 'hono';
import { errorOf } from '../errors.ts';
import type { KeyholderDesk } from '../vault/keyholder-desk.ts';
import type { DoorEnv } from './door-env.ts';
import { publicRead } from './public-read.ts';
import { addressOf, createRateLimit } from './rate-limit.ts';
import { readNote, requireNote } from './signed-note.ts';

// a signature takes a millisecond to verify; a keyholder comes once a second while something is wanted
const NOTES_PER_SECOND = 40;
const NOTE_BURST = 80;

/**
 * `GET /api/v1/keyholder`: `{ subject, wanted, retired }`. `POST /api/v1/keyholder/share` and `…/destroyed` take his signed
 * notes as `text/plain` and answer `{ accepted: true }`.
 */
export function keyholderRoutes({ desk }: { desk: Pick<KeyholderDesk, 'wishes' | 'take'> }): Hono<DoorEnv> {
  const limit = createRateLimit({ perSecond: NOTES_PER_SECOND, burst: NOTE_BURST });
  const app = new Hono<DoorEnv>();
  publicRead(app, '/api/v1/keyholder', async (c) => c.json(await desk.wishes()));
  for (const path of ['/api/v1/keyholder/share', '/api/v1/keyholder/destroyed']) {
    app.post(path, async (c) => {
      requireNote(c);
      limit.take(addressOf(c));
      await desk.take(await readNote(c));
      return c.json({ accepted: true });
    });
    app.all(path, (c) => {
      c.header('allow', 'POST');
      throw errorOf('METHOD_NOT_ALLOWED', 'This resource supports POST.');
    });
  }
  return app;
}
