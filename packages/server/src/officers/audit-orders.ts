/** The orders that read the log: the accounting of one patient, and an export of everything. Reading is recorded as an order. */
import type { OrderBody } from '@abaton/verify';
import { accountFor, LOOK_BACK_YEARS } from '../audit/accounting.ts';
import type { AuditIndex } from '../audit/audit-index.ts';
import type { AuditKeys } from '../audit/audit-keys.ts';
import type { AuditReader, Period, ReadEntry } from '../audit/audit-reader.ts';
import { PID_EPOCH } from '../audit/audit-trail.ts';
import { CSV_HEADER, csvLine } from '../audit/export-csv.ts';
import { dicomMessage } from '../audit/export-dicom.ts';
import { exportedEvent } from '../audit/export-event.ts';
import type { PatientRef } from '../vault/vault.ts';
import { type OrderHandler, orderInvalid } from './order-desk.ts';

export interface AuditOrderDeps {
  keys: AuditKeys;
  index: AuditIndex;
  reader: AuditReader;
  /** Throws while nothing may leave (I1). */
  requireOpen: () => void;
  patientRef: (issuer: string, patientId: string) => PatientRef;
  nowMs: () => number;
}

/** `{"do":"account","issuer":"","patientId":"…","from"?,"to"?}`: issuer of the patient id, empty where there is none. */
export function accountOrder({ keys, patientRef, requireOpen, nowMs, ...deps }: AuditOrderDeps): OrderHandler {
  return (order) => {
    const { issuer, patientId } = membersOf(order, ['issuer', 'patientId'], ['from', 'to']);
    if (patientId === '') throw orderInvalid('patientId is empty');
    periodOf(order, nowMs()); // what is wrong with it is said before anything is recorded
    const patient = patientRef(issuer!, patientId!);
    const epochs = Array.from({ length: PID_EPOCH }, (_, i) => i + 1);
    const pids = epochs.map((pidEpoch) => ({ pidEpoch, pid: keys.pid(patient, pidEpoch) }));
    return {
      patient,
      async carryOut() {
        requireOpen();
        return { json: await accountFor(pids, periodOf(order, nowMs()), deps) }; // until now: this order stands in it
      },
    };
  };
}

interface Format {
  contentType: string;
  before: string;
  entry: (entry: ReadEntry) => string;
  after: string;
}

/** The XML file is one element around one message a line: cut off, it is no XML any more, and by lines it can be taken apart. */
const FORMATS: Readonly<Record<string, Format>> = {
  fhir: {
    contentType: 'application/fhir+ndjson',
    before: '',
    entry: (entry) => `${JSON.stringify(exportedEvent(entry))}\n`,
    after: '',
  },
  dicom: {
    contentType: 'application/xml; charset=utf-8',
    before: '<?xml version="1.0" encoding="UTF-8"?>\n<AuditMessages>\n',
    entry: (entry) => `${dicomMessage(entry)}\n`,
    after: '</AuditMessages>\n',
  },
  csv: { contentType: 'text/csv; charset=utf-8; header=present', before: CSV_HEADER, entry: csvLine, after: '' },
};

export const EXPORT_FORMATS: readonly string[] = Object.keys(FORMATS);

/** `{"do":"audit-export","format":"fhir|dicom|csv","from"?,"to"?}`; without `from`, from the beginning. */
export function exportOrder({ reader, requireOpen, nowMs }: AuditOrderDeps): OrderHandler {
  return (order) => {
    const { format: name = '' } = membersOf(order, ['format'], ['from', 'to']);
    const format = Object.hasOwn(FORMATS, name) ? FORMATS[name]! : null;
    if (!format) throw orderInvalid(`format is none of ${EXPORT_FORMATS.join(', ')}`);
    periodOf(order, nowMs());
    return {
      patient: null,
      async carryOut() {
        requireOpen();
        const period = { ...periodOf(order, nowMs()), ...(order.from === undefined && { fromMs: 0 }) };
        return { contentType: format.contentType, stream: write(format, reader.readPeriod(period), requireOpen) };
      },
    };
  };
}

/** In chunks, so that a small entry is no chunk of its own. */
const CHUNK_CHARS = 64 * 1024;

async function* write(
  { before, entry, after }: Format,
  entries: AsyncIterable<ReadEntry>,
  requireOpen: () => void,
): AsyncGenerator<Uint8Array> {
  let text = before;
  for await (const each of entries) {
    text += entry(each);
    if (text.length < CHUNK_CHARS) continue;
    requireOpen();
    yield Buffer.from(text);
    text = '';
  }
  requireOpen();
  yield Buffer.from(text + after);
}

/** All of `required`, some of `optional`, nothing else, all strings. */
function membersOf(order: OrderBody, required: string[], optional: string[]): Record<string, string> {
  const { do: _, ...members } = order;
  for (const [name, value] of Object.entries(members))
    if (![...required, ...optional].includes(name) || typeof value !== 'string')
      throw orderInvalid('a member of it is unknown, or no text');
  for (const name of required) if (!(name in members)) throw orderInvalid(`${name} is missing`);
  return members as Record<string, string>;
}

/** Days are whole days of UTC. Default: the six years before now. */
function periodOf({ from, to }: OrderBody, nowMs: number): Period {
  const past = new Date(nowMs);
  past.setUTCFullYear(past.getUTCFullYear() - LOOK_BACK_YEARS);
  const fromMs = from === undefined ? past.getTime() : parseTime(from, 'T00:00:00.000Z');
  const toMs = to === undefined ? nowMs : parseTime(to, 'T23:59:59.999Z');
  if (fromMs > toMs) throw orderInvalid('from is after to');
  return { fromMs, toMs };
}

function parseTime(text: unknown, timeOfDay: string): number {
  const full = /^\d{4}-\d\d-\d\d$/.test(String(text)) ? `${text}${timeOfDay}` : String(text);
  const ms = Date.parse(full);
  if (!Number.isFinite(ms) || new Date(ms).toISOString() !== full)
    throw orderInvalid('from and to are written as 2026-08-20 or 2026-08-20T12:00:00.000Z');
  return ms;
}
