/** Where a witness that cannot be reached brings its cosignatures. They vouch for themselves: anybody may bring them. */
import { Hono } from 'hono';
import type { Witnessing } from '../audit/witnessing/witnessing.ts';
import { errorOf } from '../errors.ts';
import type { DoorEnv } from './door-env.ts';
import { addressOf, createRateLimit } from './rate-limit.ts';
import { readNote, requireNote } from './signed-note.ts';

/** A checkpoint with signatures of seven years and 16 witnesses, 3.3 kB each with ML-DSA-44. */
const MAX_NOTE_BYTES = 64 * 1024;
// verifying takes milliseconds; a witness comes once a second
const NOTES_PER_SECOND = 40;
const NOTE_BURST = 80;

/** `POST /api/v1/cosignatures`, `text/plain`: a checkpoint of this log with cosignatures under it. Answers `{ witnesses: n }`. */
export function witnessRoutes({ witnessing }: { witnessing: Pick<Witnessing, 'accept'> }): Hono<DoorEnv> {
  const limit = createRateLimit({ perSecond: NOTES_PER_SECOND, burst: NOTE_BURST });
  const app = new Hono<DoorEnv>();
  const path = '/api/v1/cosignatures';
  app.post(path, async (c) => {
    requireNote(c);
    limit.take(addressOf(c));
    return c.json(await witnessing.accept(await readNote(c, MAX_NOTE_BYTES)));
  });
  app.all(path, (c) => {
    c.header('allow', 'POST');
    throw errorOf('METHOD_NOT_ALLOWED', 'This resource supports POST.');
  });
  return app;
}
