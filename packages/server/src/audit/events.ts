/** What is recorded. An event is durable before what it speaks of is disclosed (I3). */
import type { PatientRef } from '../vault/vault.ts';
import type { LogPosition } from './log.ts';

/** Codes of IHE BALP / FHIR R4 AuditEvent (restful-interaction), and our own for what happens without a request. */
export type AuditAction =
  | 'create'
  | 'read'
  | 'search'
  | 'execute'
  | 'boot'
  | 'log-begin'
  | 'attest'
  | 'gate'
  | 'denied'
  | 'incident'
  | 'incident-resolved'
  | 'alert'
  | 'keyholder'
  | 'order'
  | 'erase';

/** The request that an event belongs to. Sealed. */
export interface AuditRequest {
  /** Drawn by the door: never the client's own. */
  id: string;
  /** Of the other end of the connection; a gateway's or a proxy's, where one stands between. */
  address: string;
}

export interface AuditEvent {
  action: AuditAction;
  /** Who: until identity exists, 'anonymous' for the door, 'abaton' for the server itself, 'officer' for an officer's signature. */
  actor: string;
  /** Whose data; null when no patient is concerned. Logged as a keyed pseudonym. */
  patient: PatientRef | null;
  /** What, in kinds and opaque references: 'study', 'instance', 'result', 'query'. */
  object: { kind: string; ref: string } | null;
  outcome: 'success' | 'failure';
  /** Public facts: digests, model ids, counts, reason codes. Never anything identifying. */
  facts?: Record<string, string | number | boolean | null>;
  /** Identifying detail (UIDs, raw query): sealed before it is written. */
  detail?: Record<string, unknown>;
  /** Null and absent: none, the server acted by itself. Sealed, as what follows. */
  request?: AuditRequest | null;
  /** HL7 v3 PurposeOfUse (https://terminology.hl7.org/CodeSystem/v3-ActReason), as far as it is known. */
  purposeOfUse?: string | null;
  /** Ids of the policies that decided. */
  policies?: readonly string[];
  /** Id of the grant under which the usual rules were broken. */
  breakGlass?: string | null;
}

/** While there is no identity nobody states a purpose; without mode `phi` there is nothing but health system testing. */
export const purposeIn = (mode: string): string | null => (mode === 'phi' ? null : 'HTEST');

export interface AuditTrail {
  /**
   * On return the event is durable in the log. Throws AUDIT_UNAVAILABLE, or SEAL_BROKEN when the patient's accounting key does
   * not open, and then nothing may be disclosed. `permit` is asked in the turn in which the event takes its place, after all
   * waiting; what it throws is thrown, and nothing is recorded: so the log tells of no act behind the entry that forbids it.
   */
  record(event: AuditEvent, permit?: () => void): Promise<LogPosition>;
  recordAll(events: readonly AuditEvent[], permit?: () => void): Promise<LogPosition[]>;
}
