/** What a start has to know of the life before it, read backward from the end of the log. */
import { parseEntry } from '../audit/audit-reader.ts';
import type { AuditEntry } from '../audit/audit-trail.ts';
import type { AuditLog } from '../audit/log.ts';
import type { Incident } from './incident.ts';

export interface LogTail {
  /** Time of the newest entry, milliseconds since 1970; -Infinity for an empty log. */
  lastEntryMs: number;
  /** Oldest first. */
  openIncidents: Incident[];
}

/**
 * Every boot and proof says which incidents are open. This ends after two of them: the newest says which were open then, and
 * before it may stand the resolution of one that it still names, which was recorded while the proof was. A log of a release that knew no incidents is read to
 * its beginning, once. Throws LOG_CORRUPT, AUDIT_UNAVAILABLE.
 */
export async function readLogTail(log: Pick<AuditLog, 'backward'>): Promise<LogTail> {
  let lastEntryMs = Number.NEGATIVE_INFINITY;
  /** By id, newest first: a commit that failed after all may have left an entry twice. */
  const found = new Map<string, Incident>();
  const resolved = new Set<string>();
  let lists = 0;
  for await (const { first, entries } of log.backward()) {
    for (let at = entries.length - 1; at >= 0 && lists < 2; at--) {
      const { time, action, object, facts } = parseEntry(Buffer.from(entries[at]!).toString(), first + at);
      if (lastEntryMs === Number.NEGATIVE_INFINITY) lastEntryMs = Date.parse(time);
      const id = object?.kind === 'incident' ? object.ref : '';
      if (action === 'incident' && lists === 0) found.set(id, { id, ...parseFacts(facts) });
      if (action === 'incident-resolved') resolved.add(id);
      if (typeof facts.openIncidents !== 'string') continue;
      const listed = JSON.parse(facts.openIncidents) as Incident[];
      if (++lists === 1) for (const incident of listed.reverse()) found.set(incident.id, incident);
    }
    if (lists === 2) break;
  }
  return { lastEntryMs, openIncidents: [...found.values()].reverse().filter(({ id }) => !resolved.has(id)) };
}

const parseFacts = ({ at, codes, evidenceId }: AuditEntry['facts']): Omit<Incident, 'id'> => ({
  at: String(at),
  codes: String(codes).split(' '),
  evidenceId: typeof evidenceId === 'string' ? evidenceId : null,
});
