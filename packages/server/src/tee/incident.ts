/**
 * Incidents as they stand in the log. An `incident` entry opens one, an `incident-resolved` entry ends it, and every `boot`
 * and `attest` entry says which are open: so that a start has to read back no further than one attestation interval, and a
 * boot without a single proof no further than the boot before. Public facts only.
 */
import { randomBytes } from 'node:crypto';
import { canonicalize } from '@abaton/verify';
import type { AuditEntry } from '../audit/audit-trail.ts';
import type { AuditEvent } from '../audit/events.ts';
import type { AuditLog } from '../audit/log.ts';
import { errorOf } from '../errors.ts';

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

/** The fact of that name in `boot` and `attest` entries. An incident has 200 bytes, and each has a code that no other has. */
export const openIncidentsFact = (open: readonly Incident[]): { openIncidents: string } => ({
  openIncidents: canonicalize(open),
});

/** What a start has to know of the life before it. Throws LOG_CORRUPT, AUDIT_UNAVAILABLE. */
export async function readLogTail(
  log: Pick<AuditLog, 'size' | 'entry'>,
): Promise<{ lastEntryMs: number; openIncidents: Incident[] }> {
  let lastEntryMs = Number.NEGATIVE_INFINITY;
  const opened: Incident[] = [];
  const resolved = new Set<string>();
  const stillOpen = (before: Incident[]): Incident[] => {
    const later = opened.filter(({ id }) => !before.some((other) => other.id === id)).reverse();
    return [...before, ...later].filter(({ id }) => !resolved.has(id));
  };
  for (let index = log.size() - 1; index >= 0; index--) {
    const { time, action, object, facts } = parseEntry(await log.entry(index), index);
    if (lastEntryMs === Number.NEGATIVE_INFINITY) lastEntryMs = Date.parse(time);
    const id = object?.kind === 'incident' ? object.ref : '';
    if (action === 'incident') opened.push({ id, ...parseFacts(facts) });
    if (action === 'incident-resolved') resolved.add(id);
    if (typeof facts.openIncidents === 'string')
      return { lastEntryMs, openIncidents: stillOpen(JSON.parse(facts.openIncidents)) };
    if (action === 'boot') break; // of a release that knew no incidents
  }
  return { lastEntryMs, openIncidents: stillOpen([]) };
}

const parseFacts = ({ at, codes, evidenceId }: AuditEntry['facts']): Omit<Incident, 'id'> => ({
  at: String(at),
  codes: String(codes).split(' '),
  evidenceId: typeof evidenceId === 'string' ? evidenceId : null,
});

/** The log has proven the entry to be ours; this only finds out what it is. */
function parseEntry(bytes: Uint8Array, index: number): AuditEntry {
  try {
    const entry = JSON.parse(Buffer.from(bytes).toString()) as AuditEntry;
    if (Number.isFinite(Date.parse(entry.time)) && typeof entry.facts === 'object') return entry;
  } catch {}
  throw errorOf('LOG_CORRUPT', `Entry ${index} of the audit log is no audit entry.`);
}
