/**
 * Events become log entries: JCS JSON, version 1, with whatever identifies somebody keyed or sealed. The frame stands in
 * clear, for whoever is given the entry with its proof; the sealed detail is a FHIR AuditEvent (audit-event.ts).
 */
import { randomBytes } from 'node:crypto';
import { AbatonError, canonicalize, parseVkey } from '@abaton/verify';
import { errorOf } from '../errors.ts';
import type { AccountingKey, AccountingKeys } from '../vault/keys.ts';
import type { PatientRef } from '../vault/vault.ts';
import { buildAuditEvent } from './audit-event.ts';
import { AuditKeys } from './audit-keys.ts';
import type { AuditEvent, AuditTrail } from './events.ts';
import type { AuditLog, LogEnd } from './log.ts';

/** One entry, parsed. Every member is always present; RFC 8785 gives it one text. */
export interface AuditEntry {
  v: 1;
  /** ISO 8601 UTC with milliseconds; never before the entry above it (I11). */
  time: string;
  /** Id of the boot that wrote it. */
  boot: string;
  action: AuditEvent['action'];
  actor: string;
  /** Pseudonym of the patient and the epoch of its key (see AuditKeys); both null when no patient is concerned. */
  pid: string | null;
  pidEpoch: number | null;
  object: { kind: string; ref: string } | null;
  outcome: AuditEvent['outcome'];
  facts: Record<string, string | number | boolean | null>;
  /** 16 random bytes, base64url: leaf hashes are public, and without it one could test a guess at a whole entry. */
  salt: string;
  /** Sealed, base64url: a FHIR AuditEvent (of earlier releases: what the event said, or null). */
  detail: string | null;
}

/** What stands in clear. */
export type AuditFrame = Omit<AuditEntry, 'detail'>;

/** Begins with 1; later epochs come with the rotation of keys. */
export const PID_EPOCH = 1;
const SALT_BYTES = 16;

export interface AuditTrailOptions {
  log: Pick<AuditLog, 'append' | 'begin' | 'vkeys'>;
  /** 32 bytes, derived from the TEE. */
  auditKey: Uint8Array;
  tenant: string;
  /** Id of this boot, random: it selects the key that details are sealed under. */
  bootId: string;
  /** Time of the newest entry (tee/log-tail.ts): nothing is recorded as older (I11). -Infinity for an empty log. */
  lastEntryMs: number;
  nowMs: () => number;
}

/** A trail that begins before the keys of patients are open. */
export interface OpenAuditTrail extends AuditTrail {
  /** From now on patients can be recorded; until then an event about one is refused, as AUDIT_UNAVAILABLE. */
  useAccountingKeys(keys: AccountingKeys): void;
}

export function createAuditTrail(options: AuditTrailOptions): OpenAuditTrail {
  const { log, auditKey, tenant, bootId, nowMs } = options;
  const keys = new AuditKeys(auditKey, tenant);
  const server = parseVkey(log.vkeys()[0]!).name;
  let lastMs = options.lastEntryMs;
  let accounting: AccountingKeys | null = null;

  const format = (event: AuditEvent, accountingKey: AccountingKey | null): string => {
    const { action, actor, patient, object, outcome, facts = {} } = event;
    lastMs = Math.max(lastMs, nowMs());
    const frame: AuditFrame = {
      v: 1,
      time: new Date(lastMs).toISOString(),
      boot: bootId,
      action,
      actor,
      pid: patient === null ? null : keys.pid(patient, PID_EPOCH),
      pidEpoch: patient === null ? null : PID_EPOCH,
      object,
      outcome,
      facts,
      salt: randomBytes(SALT_BYTES).toString('base64url'),
    };
    const detail = keys.sealDetail(bootId, frame, buildAuditEvent(frame, { ...event, server }), accountingKey);
    return canonicalize({ ...frame, detail });
  };

  const firstOfYear = ({ origin, size, root }: LogEnd) => {
    const facts = { previousOrigin: origin, previousSize: size, previousRoot: root };
    const about = { action: 'log-begin', actor: 'abaton', patient: null, object: null, outcome: 'success' } as const;
    return Buffer.from(format({ ...about, facts }, null));
  };

  // Formatted and queued in one turn: their order in the log is the order of their times.
  const append = (event: AuditEvent, accountingKey: AccountingKey | null) => {
    const entry = Buffer.from(format(event, accountingKey));
    log.begin(new Date(lastMs).getUTCFullYear(), firstOfYear);
    return log.append(entry);
  };
  const keyOf = async (patient: PatientRef): Promise<AccountingKey> => {
    if (!accounting) throw errorOf('AUDIT_UNAVAILABLE', 'The accounting keys of patients are not open yet.');
    try {
      return await accounting.forRecording(patient);
    } catch (cause) {
      if (cause instanceof AbatonError && cause.code === 'SEAL_BROKEN') throw cause; // no retry mends it
      throw errorOf('AUDIT_UNAVAILABLE', 'The accounting key of a patient cannot be had.', { cause });
    }
  };
  return {
    // what concerns nobody is queued in the turn of the call: an incident does not wait for a database
    async record(event, permit) {
      const accountingKey = event.patient === null ? null : await keyOf(event.patient);
      permit?.();
      return append(event, accountingKey);
    },
    async recordAll(events, permit) {
      const accountingKeys = await Promise.all(events.map(({ patient }) => (patient === null ? null : keyOf(patient))));
      permit?.();
      return Promise.all(events.map((event, i) => append(event, accountingKeys[i]!)));
    },
    useAccountingKeys(opened) {
      accounting = opened;
    },
  };
}
