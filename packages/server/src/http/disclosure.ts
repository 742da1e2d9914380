/** The last step before patient data leaves: recorded first (I3), and only while the gate is open (I1). */
import { ReadableStream } from 'node:stream/web';
import type { Context } from 'hono';
import { ACCESS_POLICY_SHA256 } from '../access-policy.ts';
import { type AuditAction, type AuditEvent, type AuditRequest, type AuditTrail, purposeIn } from '../audit/events.ts';
import type { Gate } from '../tee/gate.ts';
import type { PatientRef } from '../vault/vault.ts';
import type { DoorEnv } from './door-env.ts';

/** Who asks: until identity exists, everybody at the door. */
export const DOOR_ACTOR = 'anonymous';

/** The request as its events name it. */
export const requestOf = (c: Context<DoorEnv>): AuditRequest => ({
  id: c.get('requestId'),
  address: c.env?.incoming?.socket?.remoteAddress ?? '',
});

/** What every event of the door says: who asked, for what, and which policy let it pass. */
export const atDoor = (gate: Pick<Gate, 'state'>, request: AuditRequest) => ({
  actor: DOOR_ACTOR,
  request,
  purposeOfUse: purposeIn(gate.state().mode),
  policies: [`sha256:${ACCESS_POLICY_SHA256}`],
});

export interface Disclosure extends Pick<AuditEvent, 'object' | 'facts' | 'detail'> {
  action: Extract<AuditAction, 'read' | 'search'>;
  request: AuditRequest;
  /** Everybody whose data the answer holds: one event each. */
  patients: Iterable<PatientRef>;
}

/** On return the events are durable and the answer may begin. Throws AUDIT_UNAVAILABLE or GATE_CLOSED: it may not. */
export async function permitDisclosure(
  { gate, trail }: { gate: Gate; trail: AuditTrail },
  { patients, request, ...event }: Disclosure,
): Promise<void> {
  const events = [...new Set(patients)].map(
    (patient): AuditEvent => ({ ...event, ...atDoor(gate, request), patient, outcome: 'success' }),
  );
  const requireOpen = () => void gate.requireOpen();
  if (events.length > 0) await trail.recordAll(events, requireOpen);
  requireOpen();
}

/** A body of these chunks, each asked for when the one before is taken. It breaks off when the gate closes. */
export function bodyWhileOpen(gate: Gate, source: AsyncIterable<Uint8Array>): BodyInit {
  async function* guarded(): AsyncGenerator<Uint8Array> {
    for await (const chunk of source) {
      gate.requireOpen();
      yield chunk;
    }
  }
  return ReadableStream.from(guarded()) as BodyInit;
}
