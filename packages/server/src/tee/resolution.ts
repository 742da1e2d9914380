/** How an incident ends: a named officer of the manifest signs its root cause (verify: tlog/incident-resolution.ts). */
import { createHash } from 'node:crypto';
import { parseIncidentResolution, parseOfficerVkey, parseVkey, type Vkey, verifyNote } from '@abaton/verify';
import { errorOf } from '../errors.ts';
import type { Incident } from './incident.ts';
import type { Latch, ListedIncident } from './latch.ts';
import type { SelfAttestationMonitor } from './self-attestation.ts';

/** As in the manifest. */
export interface Officer {
  name: string;
  role: string;
  public_key: string;
}

/** HIPAA names these two (45 CFR 164.308(a)(2), 164.530(a)(1)); an `officer` may sign policies, and resolves nothing. */
const RESOLVING_ROLES: readonly string[] = ['security-officer', 'privacy-officer'];
const MAX_AGE_MS = 15 * 60_000; // signed and posted by one command; the rest is for clocks that differ
const MAX_AHEAD_MS = 5 * 60_000; // between two clocks, RFC 4120 section 7.5.8

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
  /** The first verifier key of the audit log: its name is the origin. */
  logVkey: string;
  nowMs: () => number;
}

/** Throws MANIFEST_INVALID when an officer's key is none. */
export function createIncidentDesk({ latch, monitor, officers, logVkey, nowMs }: IncidentDeskOptions): IncidentDesk {
  const signers = officers.filter(({ role }) => RESOLVING_ROLES.includes(role)).map(parseOfficer);
  const origin = parseVkey(logVkey).name;
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
      const { officer, cause } = verifyResolution(note, { signers, origin, incident, nowMs: nowMs() });
      const causeSha256 = createHash('sha256').update(cause).digest('hex');
      await latch.resolve(id, { facts: { officer, causeSha256 }, detail: { cause, note } });
      await monitor.attest();
      if (!monitor.newest()) await monitor.attest(); // the first was under way when the incident ended, and does not count
      return find(id);
    },
  };
}

interface Signer {
  name: string;
  vkey: Vkey;
}

function parseOfficer({ name, public_key: key }: Officer): Signer {
  try {
    return { name, vkey: parseOfficerVkey(key) };
  } catch (cause) {
    throw errorOf('MANIFEST_INVALID', 'officers: a public_key is no usable verifier key.', { cause });
  }
}

/** Returns who signed, and the cause. Throws RESOLUTION_INVALID. */
function verifyResolution(
  note: string,
  expected: { signers: readonly Signer[]; origin: string; incident: Incident; nowMs: number },
): { officer: string; cause: string } {
  const { signers, origin, incident, nowMs } = expected;
  if (signers.length === 0)
    throw invalid('the manifest names no security-officer or privacy-officer, so that nobody can resolve an incident');
  const { text, officer } = readNote(note, signers);
  const { cause, signedMs, ...signed } = parseIncidentResolution(text);
  if (signed.origin !== origin) throw invalid('it was signed for another log');
  if (signed.incidentId !== incident.id) throw invalid('it was signed for another incident');
  if (nowMs - signedMs > MAX_AGE_MS) throw invalid('it was not signed within the last 15 minutes');
  if (signedMs - nowMs > MAX_AHEAD_MS) throw invalid('it is dated more than five minutes ahead');
  return { officer, cause };
}

function readNote(note: string, signers: readonly Signer[]): { text: string; officer: string } {
  try {
    const { text, signedBy } = verifyNote(
      note,
      signers.map(({ vkey }) => vkey),
    );
    return { text, officer: signers.find(({ vkey }) => vkey === signedBy[0])!.name };
  } catch (cause) {
    throw errorOf(
      'RESOLUTION_INVALID',
      'The resolution is not signed by a security-officer or privacy-officer of the manifest.',
      { cause },
    );
  }
}

const invalid = (why: string) => errorOf('RESOLUTION_INVALID', `The resolution does not hold: ${why}.`);
