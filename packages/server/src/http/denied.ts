/** Which answers are refusals of patient data, to be recorded as such: the gate was closed, or an upload was not taken. */
import type { Context } from 'hono';
import { routePath } from 'hono/route';
import type { Denial } from '../audit/denials.ts';
import type { Gate } from '../tee/gate.ts';
import { atDoor, requestOf } from './disclosure.ts';
import type { DoorEnv } from './door-env.ts';
import { failureOf } from './errors.ts';

const PATIENT_DATA = /^\/(dicom-web|fhir\/R4|api\/v1\/studies)\//;

/** Null for everything else. Called when the answer is made. */
export function denialOf(c: Context<DoorEnv>, gate: Pick<Gate, 'state'>): Denial | null {
  if (!PATIENT_DATA.test(c.req.path)) return null;
  const { status } = c.res;
  const code = c.error ? failureOf(c.error).code : 'NOTHING_STORED';
  const isUpload = c.req.method === 'POST' && status >= 400 && status < 500;
  if (code !== 'GATE_CLOSED' && !isUpload) return null;
  return {
    ...atDoor(gate, requestOf(c)),
    object: { kind: 'route', ref: routePath(c, -1) },
    facts: { code, status, method: c.req.method === 'POST' ? 'POST' : 'GET' },
  };
}
