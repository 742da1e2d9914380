/** The transparency log for its monitors and witnesses (C2SP tlog-tiles): checkpoint and hash tiles. */
import { type Context, Hono } from 'hono';
import type { AuditLog } from '../audit/log.ts';
import { errorOf } from '../errors.ts';
import type { DoorEnv } from './door-env.ts';
import { publicRead } from './public-read.ts';

export interface LogDeps {
  log: Pick<AuditLog, 'checkpoint' | 'vkeys' | 'healthy' | 'size' | 'readPublic'>;
}

export function logRoutes({ log }: LogDeps): Hono<DoorEnv> {
  const app = new Hono<DoorEnv>();

  // the log of this year is at the root, too: whoever comes without a year means that one
  publicRead(app, '/checkpoint', (c) => c.text(log.checkpoint()));
  publicRead(app, '/audit/:year{[0-9]{4}}/checkpoint', async (c) => {
    const note = await log.readPublic('checkpoint', Number(c.req.param('year')));
    if (!note) throw errorOf('NOT_FOUND', 'There is no log of that year.');
    return c.text(Buffer.from(note).toString());
  });

  const tile = async (c: Context<DoorEnv>): Promise<Response> => {
    const [, year, path = ''] = /^\/(?:audit\/(\d{4})\/)?(.*)$/.exec(c.req.path) ?? [];
    if (path.startsWith('tile/entries/'))
      throw errorOf('NOT_FOUND', 'Entries hold pseudonyms of patients: they are not published until roles exist.');
    const bytes = await log.readPublic(path, year === undefined ? undefined : Number(year));
    if (!bytes) throw errorOf('NOT_FOUND', 'There is no such tile.');
    const lasting = path.includes('.p/') ? 'no-store' : 'public, max-age=31536000, immutable'; // a full tile never changes
    return c.body(new Uint8Array(bytes), 200, { 'content-type': 'application/octet-stream', 'cache-control': lasting });
  };
  publicRead(app, '/tile/*', tile);
  publicRead(app, '/audit/:year{[0-9]{4}}/tile/*', tile);

  return app;
}
