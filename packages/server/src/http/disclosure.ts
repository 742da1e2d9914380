/** The last step before patient data leaves: recorded first (I3), and only while the gate is open (I1). */
import { ReadableStream } from 'node:stream/web';
import type { AuditAction, AuditEvent, AuditTrail } from '../audit/events.ts';
import type { Gate } from '../tee/gate.ts';
import type { PatientRef } from '../vault/vault.ts';

/** Who asks: until identity exists, everybody at the door. */
export const DOOR_ACTOR = 'anonymous';

export interface Disclosure extends Pick<AuditEvent, 'object' | 'facts' | 'detail'> {
  action: Extract<AuditAction, 'read' | 'search'>;
  /** Everybody whose data the answer holds: one event each. */
  patients: Iterable<PatientRef>;
}

/** On return the events are durable and the answer may begin. Throws AUDIT_UNAVAILABLE or GATE_CLOSED: it may not. */
export async function permitDisclosure(
  { gate, trail }: { gate: Gate; trail: AuditTrail },
  { patients, ...event }: Disclosure,
): Promise<void> {
  const events = [...new Set(patients)].map(
    (patient): AuditEvent => ({ ...event, actor: DOOR_ACTOR, patient, outcome: 'success' }),
  );
  if (events.length > 0) await trail.recordAll(events);
  gate.requireOpen();
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
