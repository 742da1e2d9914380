/** The DICOMweb door: `/dicom-web` with the resources of PS3.18 section 10, Studies Service. */
import { type Context, Hono } from 'hono';
import { errorOf } from '../../errors.ts';
import { requestOf } from '../disclosure.ts';
import type { DoorEnv } from '../door-env.ts';
import { publicOrigin } from '../public-origin.ts';
import type { DicomwebDeps } from './deps.ts';
import { search } from './qido.ts';
import type { Level } from './qido-query.ts';
import { createStore } from './stow.ts';
import { retrieve, retrieveFrames, retrieveMetadata, type Target } from './wado.ts';

const ROOT = '/dicom-web';
const [STUDY, SERIES, INSTANCE] = ['/studies/:study', '/series/:series', '/instances/:instance'];

/** A search opens every row: more at once, also for clients that are gone, would hold up everybody else. */
const MAX_SEARCHES = 8;

export function dicomwebRoutes(deps: DicomwebDeps): Hono<DoorEnv> {
  const app = new Hono<DoorEnv>();
  const store = createStore(deps);
  const base = (c: Context<DoorEnv>) => publicOrigin(c) + ROOT;

  const resources: Record<string, (c: Context<DoorEnv>) => Promise<Response>> = {};
  let searching = 0;
  const searchOf = (level: Level) => async (c: Context<DoorEnv>) => {
    if (searching >= MAX_SEARCHES) throw errorOf('OVERLOADED', 'Too many searches are under way.');
    searching++;
    try {
      return await search(deps, c.req.raw, { level, ...optionalUids(c) }, base(c), requestOf(c));
    } finally {
      searching--;
    }
  };
  for (const [path, level] of [
    ['/studies', 'study'],
    ['/series', 'series'],
    ['/instances', 'instance'],
    [`${STUDY}/series`, 'series'],
    [`${STUDY}/instances`, 'instance'],
    [`${STUDY}${SERIES}/instances`, 'instance'],
  ] as const)
    resources[path] = searchOf(level);
  for (const path of [STUDY, STUDY + SERIES, STUDY + SERIES + INSTANCE] as string[]) {
    resources[path] = (c) => retrieve(deps, c.req.raw, target(c), requestOf(c));
    resources[`${path}/metadata`] = (c) => retrieveMetadata(deps, c.req.raw, target(c), requestOf(c));
  }
  resources[`${STUDY}${SERIES}${INSTANCE}/frames/:frames`] = (c) =>
    retrieveFrames(deps, c.req.raw, target(c) as Required<Target>, c.req.param('frames') ?? '', requestOf(c));

  const storable = ['/studies', STUDY];
  for (const path of storable)
    app.post(ROOT + path, (c) => store(c.req.raw, optionalUids(c).study ?? null, base(c), requestOf(c)));
  for (const [path, answer] of Object.entries(resources)) {
    app.get(ROOT + path, answer);
    app.all(ROOT + path, (c) => {
      c.header('allow', storable.includes(path) ? 'GET, HEAD, POST' : 'GET, HEAD');
      throw errorOf('METHOD_NOT_ALLOWED', 'The resource does not support this method.');
    });
  }
  return app;
}

/** The UIDs that the path names. Throws REQUEST_INVALID for what is none (PS3.5 section 9.1, as far as it matters). */
function optionalUids(c: Context): Partial<Target> {
  const uids: Partial<Target> = {};
  for (const name of ['study', 'series', 'instance'] as const) {
    const uid = c.req.param(name);
    if (uid === undefined) continue;
    if (!/^[0-9.]{1,64}$/.test(uid)) throw errorOf('REQUEST_INVALID', `The ${name} of the path is not a UID.`);
    uids[name] = uid;
  }
  return uids;
}

const target = (c: Context): Target => ({ study: '', ...optionalUids(c) });
