/** What became of a study: its state, and each result with the proof that it stands in the log. */
import { Hono } from 'hono';
import type { AuditTrail } from '../audit/events.ts';
import type { AuditLog } from '../audit/log.ts';
import { errorOf } from '../errors.ts';
import type { StudyArchive } from '../imaging/archive.ts';
import type { Gate } from '../tee/gate.ts';
import { permitDisclosure, requestOf } from './disclosure.ts';
import type { DoorEnv } from './door-env.ts';

export interface AnalysisDeps {
  gate: Gate;
  archive: StudyArchive;
  trail: AuditTrail;
  log: AuditLog;
}

/** Below the idle timeouts of proxies and browsers (60 s and more); the client asks again. */
const MAX_WAIT_MS = 30_000;
/** A change in this process is seen at once; one made by another (a job that died, a second server) after this long. */
const LOOK_MS = 500;

/**
 * `GET /api/v1/studies/{study}/analysis?waitMs=`: `{ state, results: [{ result, proof }] }`. It answers at once when the
 * analysis has ended, else after `waitMs` (default 0) at the latest. NOT_FOUND for a study that is not here.
 */
export function analysisRoutes({ gate, archive, trail, log }: AnalysisDeps): Hono<DoorEnv> {
  const app = new Hono<DoorEnv>();
  const path = '/api/v1/studies/:study/analysis';
  app.get(path, async (c) => {
    gate.requireOpen();
    const study = archive.studyRef(c.req.param('study'));
    const until = performance.now() + parseWait(c.req.query('waitMs'));
    let state = await archive.studyState(study);
    while ((state === 'queued' || state === 'running') && performance.now() < until && !c.env?.incoming?.destroyed) {
      await archive.changed(LOOK_MS);
      state = await archive.studyState(study);
    }
    if (state === 'unknown') throw errorOf('NOT_FOUND', 'There is no such study.');
    const stored = await archive.results(study);
    const results = await Promise.all(
      stored.map(async ({ body, logged }) => ({ result: body, proof: await log.proof(logged) })),
    );
    await permitDisclosure(
      { gate, trail },
      {
        action: 'read',
        request: requestOf(c),
        patients: stored.map(({ patient }) => patient),
        object: { kind: 'result', ref: study },
        facts: { results: results.length, state },
        detail: { study: c.req.param('study') },
      },
    );
    return c.json({ state, results });
  });
  app.all(path, (c) => {
    c.header('allow', 'GET, HEAD');
    throw errorOf('METHOD_NOT_ALLOWED', 'This resource supports GET and HEAD.');
  });
  return app;
}

function parseWait(text = '0'): number {
  if (!/^\d{1,5}$/.test(text) || Number(text) > MAX_WAIT_MS)
    throw errorOf('REQUEST_INVALID', `waitMs must be a whole number from 0 to ${MAX_WAIT_MS}.`);
  return Number(text);
}
