/** Resources that anybody may read, from a page of any origin: an independent page must be able to check this server. */
import type { Context, Hono } from 'hono';
import { errorOf } from '../errors.ts';
import type { DoorEnv } from './door-env.ts';

/** Declares GET (and with it HEAD); every other method answers METHOD_NOT_ALLOWED, as RFC 9110 section 15.5.6 asks. */
export function publicRead(
  app: Hono<DoorEnv>,
  path: string,
  read: (c: Context<DoorEnv>) => Response | Promise<Response>,
): void {
  app.get(path, async (c) => {
    c.header('access-control-allow-origin', '*');
    return read(c);
  });
  app.all(path, (c) => {
    c.header('allow', 'GET, HEAD');
    throw errorOf('METHOD_NOT_ALLOWED', 'This resource supports GET and HEAD.');
  });
}
