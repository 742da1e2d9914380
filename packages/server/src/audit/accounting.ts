/**
 * Accounting of disclosures of one patient (45 CFR 164.528): date, who received, what, for what purpose. Treatment, payment
 * and health care operations are exempt (164.528(a)(1)(i)) and listed apart; so is what left nobody's hands here. An
 * access whose purpose nobody stated counts as a disclosure.
 */
import { detailOf, type FhirAuditEvent } from './audit-event.ts';
import type { AuditIndex } from './audit-index.ts';
import type { AuditReader, Period, ReadEntry } from './audit-reader.ts';
import type { LogPosition } from './log.ts';

export interface AccountedAccess {
  /** ISO 8601 UTC. */
  at: string;
  /** Where it stands in the log: its proof is to be had by that. */
  entry: LogPosition;
  action: string;
  outcome: 'success' | 'failure';
  /** Null when the accounting key of that time was destroyed. */
  recipient: { name: string; address: string | null } | null;
  what: { kind: string; identifiers: Record<string, unknown> } | null;
  /** HL7 v3 PurposeOfUse; null: not stated. */
  purpose: string | null;
}

export interface Accounting {
  from: string;
  to: string;
  disclosures: AccountedAccess[];
  treatmentPaymentOperations: AccountedAccess[];
  /** Received, analysed, asked about: nothing left. */
  other: AccountedAccess[];
  contentErased: { at: string; by: string; entry: LogPosition; text: string }[];
}

/** 45 CFR 164.528(a)(1): in the six years before the request. */
export const LOOK_BACK_YEARS = 6;

/**
 * Of HL7 v3 PurposeOfUse those that 45 CFR 164.501 calls treatment, payment and operations. HTEST is none: it is accounted
 * for like any other.
 */
const EXEMPT = new Set([
  ...['TREAT', 'ETREAT', 'BTG', 'ERTREAT', 'CAREMGT', 'COC', 'CLINTRL'],
  ...['HPAYMT', 'CLMATTCH', 'COVAUTH', 'COVERAGE', 'ELIGDTRM', 'ELIGVER', 'ENROLLM', 'REMITADV'],
  ...['HOPERAT', 'HACCRED', 'HCOMPL', 'HQUALIMP', 'HOUTCOMS', 'PATADMIN', 'PATSFTY', 'PERFMSR', 'RECORDMGT'],
]);

/** `pids`: the patient's pseudonym of each epoch. Costs as many reads of the log as the patient has entries. */
export async function accountFor(
  pids: readonly { pid: string; pidEpoch: number }[],
  { fromMs, toMs }: Period,
  { index, reader }: { index: Pick<AuditIndex, 'entriesOf'>; reader: Pick<AuditReader, 'read'> },
): Promise<Accounting> {
  const accounting: Accounting = {
    from: new Date(fromMs).toISOString(),
    to: new Date(toMs).toISOString(),
    disclosures: [],
    treatmentPaymentOperations: [],
    other: [],
    contentErased: [],
  };
  for (const { pid, pidEpoch } of pids)
    for (const at of await index.entriesOf(pid, pidEpoch)) {
      const entry = await reader.read(at);
      const timeMs = Date.parse(entry.frame.time);
      if (entry.frame.pid !== pid || timeMs < fromMs || timeMs > toMs) continue; // a row that somebody has added
      add(accounting, entry);
    }
  return accounting;
}

function add(accounting: Accounting, { origin, index, frame, event, opened }: ReadEntry): void {
  const { time: at, action, outcome, facts, object } = frame;
  const entry = { origin, index };
  if (action === 'erase' && outcome === 'success') {
    const by = String(facts.officer ?? frame.actor);
    accounting.contentErased.push({ at, by, entry, text: `content erased on ${at} by ${by}` });
  }
  const purpose = purposeOf(event);
  const access: AccountedAccess = {
    at,
    entry,
    action,
    outcome,
    recipient: opened ? recipientOf(event) : null,
    what: object && { kind: object.kind, identifiers: identifiersOf(event) },
    purpose,
  };
  if ((action !== 'read' && action !== 'search') || outcome === 'failure') accounting.other.push(access);
  else if (purpose !== null && EXEMPT.has(purpose)) accounting.treatmentPaymentOperations.push(access);
  else accounting.disclosures.push(access);
}

export function purposeOf({ agent }: FhirAuditEvent): string | null {
  const requestor = agent.find((each) => each.requestor);
  return requestor?.purposeOfUse?.[0]?.coding[0]?.code ?? null;
}

function recipientOf({ agent }: FhirAuditEvent): AccountedAccess['recipient'] {
  const requestor = agent.find((each) => each.requestor);
  const address = agent.find(({ network }) => network?.type === '2')?.network?.address ?? null;
  return requestor ? { name: requestor.who.identifier?.value ?? 'unknown', address } : null;
}

/** UIDs and ids; what was asked for and by which words is not the patient's. */
function identifiersOf(event: FhirAuditEvent): Record<string, unknown> {
  const { note: _, ...identifiers } = detailOf(event);
  return identifiers;
}
