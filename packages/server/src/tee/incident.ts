/**
 * Incidents as they stand in the log. An `incident` entry opens one, an `incident-resolved` entry ends it, and every `boot`
 * and `attest` entry says which are open, so that a start need not read far back (log-tail.ts). Public facts only.
 */
import { randomBytes } from 'node:crypto';
import { canonicalize } from '@abaton/verify';
import type { AuditEvent } from '../audit/events.ts';

export interface Incident {
  /** 16 hex digits, drawn at random: a resolution names it, and so holds for no other. */
  id: string;
  /** ISO 8601 UTC. */
  at: string;
  /** Of kind `integrity`. */
  codes: string[];
  /** SHA-256 of the quote that failed, hex; null when there was none. */
  evidenceId: string | null;
}

const ID_BYTES = 8;

export function createIncident(codes: readonly string[], evidenceId: string | null, nowMs: number): Incident {
  const id = randomBytes(ID_BYTES).toString('hex');
  return { id, at: new Date(nowMs).toISOString(), codes: [...codes], evidenceId };
}

export const incidentEvent = ({ id, at, codes, evidenceId }: Incident): AuditEvent => ({
  action: 'incident',
  actor: 'abaton',
  patient: null,
  object: { kind: 'incident', ref: id },
  outcome: 'failure',
  facts: { at, codes: codes.join(' '), evidenceId },
});

/** The fact of that name in `boot` and `attest` entries. An incident has 200 bytes, and each brings a code that the others have not. */
export const openIncidentsFact = (open: readonly Incident[]): { openIncidents: string } => ({
  openIncidents: canonicalize(open),
});
