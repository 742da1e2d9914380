/** Where a witness that cannot be reached brings its cosignatures. They vouch for themselves: anybody may bring them. */
import { Hono } from 'hono';
import type { Witnessing } from '../audit/witnessing/witnessing.ts';
import type { DoorEnv } from './door-env.ts';
import { acceptNote } from './signed-note.ts';

/** `POST /api/v1/cosignatures`, `text/plain`: a checkpoint of this log with cosignatures under it. Answers `{ witnesses: n }`. */
export function witnessRoutes({ witnessing }: { witnessing: Pick<Witnessing, 'accept'> }): Hono<DoorEnv> {
  const app = new Hono<DoorEnv>();
  acceptNote(app, {
    path: '/api/v1/cosignatures',
    perSecond: 80, // verifying takes milliseconds; a witness comes some times a second
    maxBytes: 64 * 1024, // signatures of seven years and 16 witnesses, 3.3 kB each with ML-DSA-44
    take: async (c, note) => c.json(await witnessing.accept(note)),
  });
  return app;
}
