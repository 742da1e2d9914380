/** One event of each action, with texts that somebody might put in: what the exports and their validators are tried on. */
import { ACTION_CODES } from '../../src/audit/audit-codes.ts';
import type { AuditAction, AuditEvent } from '../../src/audit/events.ts';
import type { PatientRef } from '../../src/vault/vault.ts';

export const PATIENT = 'patient-reference-of-a-test' as PatientRef;
/** A query that names a patient, in its value and in a name of a parameter. */
export const NAMED = 'Canaria';
const HOSTILE = `=HYPERLINK("http://evil.example","<b>&'") \u0001\u2028`;

export function everyEvent(): AuditEvent[] {
  const request = { id: '00000000-0000-4000-8000-000000000001', address: '192.0.2.7' };
  const byDoor: readonly AuditAction[] = ['create', 'read', 'search', 'denied'];
  const concerned: readonly AuditAction[] = ['create', 'read', 'search', 'execute', 'erase'];
  return (Object.keys(ACTION_CODES) as AuditAction[]).flatMap((action): AuditEvent[] => {
    const event: AuditEvent = {
      action,
      actor: byDoor.includes(action) ? 'anonymous' : action === 'order' || action === 'erase' ? 'officer' : 'abaton',
      patient: concerned.includes(action) ? PATIENT : null,
      object: { kind: 'study', ref: HOSTILE },
      outcome: action === 'denied' ? 'failure' : 'success',
      facts: { officer: HOSTILE, modelDigest: '11'.repeat(32), results: 3, code: 'GATE_CLOSED', do: 'audit-export' },
      detail: {
        study: '1.2.840.1',
        query: `?PatientName=${NAMED}*&${NAMED}%20Zoe=1&00100010=${NAMED}&limit=5`,
        note: `abaton officer order v1 ${NAMED}`,
        cause: HOSTILE,
      },
      ...(byDoor.includes(action) && { request, purposeOfUse: 'HTEST', policies: ['sha256:00'] }),
      breakGlass: 'grant-1',
    };
    const { facts: _, detail: __, ...bare } = event;
    return [event, { ...bare, object: null, outcome: 'failure' }];
  });
}
