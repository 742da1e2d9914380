/** How an incident ends: a named officer of the manifest signs its root cause (verify: incident-resolution.ts). */
import { createHash } from 'node:crypto';
import { parseIncidentResolution } from '@abaton/verify';
import { errorOf } from '../errors.ts';
import {
  type NoteKind,
  noteInvalid,
  type Officer,
  parseSigners,
  type Signer,
  verifyOfficerNote,
  verifyOursAndFresh,
} from '../officers/officer-note.ts';
import { OFFICES } from '../officers/roles.ts';
import type { Incident } from './incident.ts';
import type { Latch, ListedIncident } from './latch.ts';
import type { SelfAttestationMonitor } from './self-attestation.ts';

const RESOLUTION: NoteKind = { name: 'resolution', code: 'RESOLUTION_INVALID' };

export interface IncidentDesk {
  list(): readonly ListedIncident[];
  /**
   * Ends the incident when the note holds. On return `incident-resolved` is durable and a proof that began after it has
   * been made, which opens the gate if it verified. Throws INCIDENT_UNKNOWN, RESOLUTION_INVALID, AUDIT_UNAVAILABLE.
   */
  resolve(id: string, note: string): Promise<ListedIncident>;
}

export interface IncidentDeskOptions {
  latch: Latch;
  monitor: Pick<SelfAttestationMonitor, 'attest' | 'newest'>;
  officers: readonly Officer[];
  /** Verifier keys of the audit log: their names are the origins. */
  logVkeys: () => readonly string[];
  nowMs: () => number;
}

/** Throws MANIFEST_INVALID when an officer's key is none. */
export function createIncidentDesk({ latch, monitor, officers, logVkeys, nowMs }: IncidentDeskOptions): IncidentDesk {
  const signers = parseSigners(officers, OFFICES);
  const find = (id: string): ListedIncident => {
    const incident = latch.list().find((each) => each.id === id);
    if (!incident) throw errorOf('INCIDENT_UNKNOWN', 'There is no such incident.');
    return incident;
  };
  return {
    list: () => latch.list(),
    async resolve(id, note) {
      const incident = find(id);
      if (incident.state === 'resolved') throw invalid('the incident is resolved already');
      const { officer, cause } = verifyResolution(note, { signers, logVkeys: logVkeys(), incident, nowMs: nowMs() });
      const causeSha256 = createHash('sha256').update(cause).digest('hex');
      await latch.resolve(id, { facts: { officer, causeSha256 }, detail: { cause, note } });
      await monitor.attest();
      if (!monitor.newest()) await monitor.attest(); // the first was under way when the incident ended, and does not count
      return find(id);
    },
  };
}

/** Returns who signed, and the cause. Throws RESOLUTION_INVALID. */
function verifyResolution(
  note: string,
  expected: { signers: readonly Signer[]; logVkeys: readonly string[]; incident: Incident; nowMs: number },
): { officer: string; cause: string } {
  const { signers, logVkeys, incident, nowMs } = expected;
  if (signers.length === 0)
    throw invalid('the manifest names no security-officer or privacy-officer, so that nobody can resolve an incident');
  const { text, signer } = verifyOfficerNote(note, signers, RESOLUTION);
  const { cause, ...signed } = parseIncidentResolution(text);
  verifyOursAndFresh(signed, { logVkeys, nowMs }, RESOLUTION);
  if (signed.incidentId !== incident.id) throw invalid('it was signed for another incident');
  return { officer: signer.name, cause };
}

const invalid = (why: string) => noteInvalid(RESOLUTION, why);
