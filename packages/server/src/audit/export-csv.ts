/**
 * The log as CSV (RFC 4180: CRLF, every field quoted). Spreadsheets run what begins like a formula: such a field gets an
 * apostrophe before it (OWASP, "CSV Injection").
 */
import { purposeOf } from './accounting.ts';
import type { ReadEntry } from './audit-reader.ts';
import { type ExportedEvent, exportedEvent } from './export-event.ts';

const COLUMNS: readonly [string, (event: ExportedEvent, entry: ReadEntry) => unknown][] = [
  ['log', (_, { origin }) => origin],
  ['entry', (_, { index }) => index],
  ['time', (_, { frame }) => frame.time],
  ['action', (_, { frame }) => frame.action],
  ['outcome', (_, { frame }) => frame.outcome],
  ['actor', (_, { frame }) => frame.actor],
  ['address', ({ agent }) => agent.find(({ network }) => network?.type === '2')?.network?.address],
  ['purpose', (event) => purposeOf(event)],
  ['policies', ({ agent }) => agent.flatMap(({ policy = [] }) => policy).join(' ')],
  ['patient', (_, { frame }) => frame.pid],
  ['patient epoch', (_, { frame }) => frame.pidEpoch],
  ['object kind', (_, { frame }) => frame.object?.kind],
  ['object', ({ entity = [] }) => entity.find(({ type, what }) => type.code === '2' && what)?.what?.identifier?.value],
  ['request', ({ entity = [] }) => entity.find(({ type }) => type.code === 'XrequestId')?.what?.identifier?.value],
  ['facts', (_, { frame }) => JSON.stringify(frame.facts)],
  ['opened', (_, { opened }) => opened],
];

export const CSV_HEADER = line(COLUMNS.map(([name]) => name));

export function csvLine(entry: ReadEntry): string {
  const event = exportedEvent(entry);
  return line(COLUMNS.map(([, read]) => read(event, entry) ?? ''));
}

function line(values: readonly unknown[]): string {
  const fields = values.map(String).map((text) => (/^[=+\-@\t\r\n]/.test(text) ? `'${text}` : text));
  return `${fields.map((text) => `"${text.replaceAll('"', '""')}"`).join(',')}\r\n`;
}
