/** Events become log entries: JCS JSON, version 1, with whatever identifies somebody keyed or sealed. */
import { randomBytes } from 'node:crypto';
import { canonicalize } from '@abaton/verify';
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
  /** Sealed, base64url; null when there is none. */
  detail: string | null;
}

/** Begins with 1; later epochs come with the rotation of keys. */
const PID_EPOCH = 1;
const SALT_BYTES = 16;

export interface AuditTrailOptions {
  log: Pick<AuditLog, 'append' | 'begin'>;
  /** 32 bytes, derived from the TEE. */
  auditKey: Uint8Array;
  tenant: string;
  /** Id of this boot, random: it selects the key that details are sealed under. */
  bootId: string;
  /** Time of the newest entry (tee/log-tail.ts): nothing is recorded as older (I11). -Infinity for an empty log. */
  lastEntryMs: number;
  nowMs: () => number;
}

export function createAuditTrail(options: AuditTrailOptions): AuditTrail {
  const { log, auditKey, tenant, bootId, nowMs } = options;
  const keys = new AuditKeys(auditKey, tenant);
  let lastMs = options.lastEntryMs;

  const format = ({ action, actor, patient, object, outcome, facts = {}, detail }: AuditEvent): string => {
    lastMs = Math.max(lastMs, nowMs());
    const entry: Omit<AuditEntry, 'detail'> = {
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
    return canonicalize({ ...entry, detail: detail === undefined ? null : keys.sealDetail(bootId, entry, detail) });
  };

  const firstOfYear = ({ origin, size, root }: LogEnd) =>
    Buffer.from(
      format({
        ...{ action: 'log-begin', actor: 'abaton', patient: null, object: null, outcome: 'success' },
        facts: { previousOrigin: origin, previousSize: size, previousRoot: root },
      }),
    );

  const record = async (event: AuditEvent) => {
    const entry = Buffer.from(format(event));
    log.begin(new Date(lastMs).getUTCFullYear(), firstOfYear);
    return log.append(entry);
  };
  // Formatted and queued in this turn: their order in the log is the order of their times.
  return { record, recordAll: (events) => Promise.all(events.map(record)) };
}
