/** The transparency log for its monitors and witnesses (C2SP tlog-tiles): checkpoint and hash tiles. */
import { Hono } from 'hono';
import type { AuditLog } from '../audit/log.ts';
import { errorOf } from '../errors.ts';
import type { DoorEnv } from './door-env.ts';
import { publicRead } from './public-read.ts';

export interface LogDeps {
  log: Pick<AuditLog, 'checkpoint' | 'vkeys' | 'healthy' | 'size'>;
  /** Reads one hash tile, named as in tlog-tiles (`tile/0/x001/234.p/5`); null for every other name. */
  readTile: (path: string) => Promise<Uint8Array | null>;
}

export function logRoutes({ log, readTile }: LogDeps): Hono<DoorEnv> {
  const app = new Hono<DoorEnv>();

  publicRead(app, '/checkpoint', (c) => c.text(log.checkpoint()));

  publicRead(app, '/tile/entries/*', () => {
    throw errorOf('NOT_FOUND', 'Entries hold pseudonyms of patients: they are not published until roles exist.');
  });

  publicRead(app, '/tile/*', async (c) => {
    const path = c.req.path.slice(1);
    const tile = await readTile(path);
    if (!tile) throw errorOf('NOT_FOUND', 'There is no such tile.');
    const lasting = path.includes('.p/') ? 'no-store' : 'public, max-age=31536000, immutable'; // a full tile never changes
    return c.body(new Uint8Array(tile), 200, { 'content-type': 'application/octet-stream', 'cache-control': lasting });
  });

  return app;
}
