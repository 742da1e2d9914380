/** Incidents: what happened, for everybody; and their end, for an officer of the manifest. No patient data passes here. */
import { Hono } from 'hono';
import type { Gate } from '../tee/gate.ts';
import type { IncidentDesk } from '../tee/resolution.ts';
import type { DoorEnv } from './door-env.ts';
import { publicRead } from './public-read.ts';
import { acceptNote } from './signed-note.ts';

export interface IncidentDeps {
  desk: IncidentDesk;
  gate: Pick<Gate, 'state'>;
}

/**
 * `GET /api/v1/incidents`: `{ incidents: [{ id, at, codes, evidenceId, state }] }`. `POST /api/v1/incidents/{id}/resolution`
 * takes the signed note of tee/resolution.ts as `text/plain` and answers `{ incident, gate: { open, reasons } }`.
 */
export function incidentRoutes({ desk, gate }: IncidentDeps): Hono<DoorEnv> {
  const app = new Hono<DoorEnv>();
  publicRead(app, '/api/v1/incidents', (c) => c.json({ incidents: desk.list() }));
  acceptNote(app, {
    path: '/api/v1/incidents/:id/resolution',
    perSecond: 100, // a signature takes a millisecond to verify; an officer must get through among strangers
    async take(c, note) {
      const incident = await desk.resolve(c.req.param('id') ?? '', note);
      const { open, reasons } = gate.state();
      return c.json({ incident, gate: { open, reasons } });
    },
  });
  return app;
}
