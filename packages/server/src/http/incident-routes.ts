/** Incidents: what happened, for everybody; and their end, for an officer of the manifest. No patient data passes here. */
import { Hono } from 'hono';
import { errorOf } from '../errors.ts';
import type { Gate } from '../tee/gate.ts';
import type { IncidentDesk } from '../tee/resolution.ts';
import type { DoorEnv } from './door-env.ts';
import { publicRead } from './public-read.ts';
import { addressOf, createRateLimit } from './rate-limit.ts';
import { readNote, requireNote } from './signed-note.ts';

export interface IncidentDeps {
  desk: IncidentDesk;
  gate: Pick<Gate, 'state'>;
}

// a signature takes a millisecond to verify; an officer signs one at a time, and must get through among strangers
const RESOLUTIONS_PER_SECOND = 100;
const RESOLUTION_BURST = 100;

/**
 * `GET /api/v1/incidents`: `{ incidents: [{ id, at, codes, evidenceId, state }] }`. `POST /api/v1/incidents/{id}/resolution`
 * takes the signed note of tee/resolution.ts as `text/plain` and answers `{ incident, gate: { open, reasons } }`.
 */
export function incidentRoutes({ desk, gate }: IncidentDeps): Hono<DoorEnv> {
  const limit = createRateLimit({ perSecond: RESOLUTIONS_PER_SECOND, burst: RESOLUTION_BURST });
  const app = new Hono<DoorEnv>();
  publicRead(app, '/api/v1/incidents', (c) => c.json({ incidents: desk.list() }));
  const path = '/api/v1/incidents/:id/resolution';
  app.post(path, async (c) => {
    requireNote(c);
    limit.take(addressOf(c));
    const incident = await desk.resolve(c.req.param('id'), await readNote(c));
    const { open, reasons } = gate.state();
    return c.json({ incident, gate: { open, reasons } });
  });
  app.all(path, (c) => {
    c.header('allow', 'POST');
    throw errorOf('METHOD_NOT_ALLOWED', 'This resource supports POST.');
  });
  return app;
}
