/** The log as FHIR ndjson, DICOM audit messages (PS3.15 A.5) and CSV (RFC 4180): whole, patients as pseudonyms, harmless. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { OrderBody } from '@abaton/verify';
import { AuditKeys } from '../../src/audit/audit-keys.ts';
import { createAuditReader } from '../../src/audit/audit-reader.ts';
import { createAuditTrail, PID_EPOCH } from '../../src/audit/audit-trail.ts';
import type { ExportedEvent } from '../../src/audit/export-event.ts';
import { EXPORT_FORMATS, exportOrder } from '../../src/officers/audit-orders.ts';
import { tool } from '../imaging/support.ts';
import { everyEvent, NAMED, PATIENT } from './every-event.ts';
import { openYears, scratch, THIS_YEAR } from './support.ts';

const SCHEMA = fileURLToPath(new URL('audit-message-ps315.xsd', import.meta.url));
const AUDIT_KEY = new Uint8Array(32).fill(3);
const keys = new AuditKeys(AUDIT_KEY, 'north');

async function openHouse(t: TestContext) {
  const dir = await scratch(t);
  const log = await openYears(dir);
  const key = { id: randomBytes(8), detail: randomBytes(32) };
  let destroyed = false;
  const accounting = { forRecording: async () => key, find: async () => (destroyed ? null : key) };
  let now = Date.parse('2026-08-20T12:00:00.000Z');
  const nowMs = () => now;
  const trail = createAuditTrail({ log, auditKey: AUDIT_KEY, tenant: 'north', bootId: 'b', lastEntryMs: 0, nowMs });
  trail.useAccountingKeys(accounting);
  const reader = createAuditReader({ trees: () => log.trees(), keys, accounting });
  let isOpen = true;
  const requireOpen = () => assert.ok(isOpen, 'the gate is closed');
  const order = exportOrder({ keys, reader, requireOpen, nowMs } as Parameters<typeof exportOrder>[0]);
  return {
    dir,
    log,
    trail,
    destroy: () => {
      destroyed = true;
    },
    closeGate: () => {
      isOpen = false;
    },
    setNow: (text: string) => {
      now = Date.parse(text);
    },
    async export(body: Omit<OrderBody, 'do'>): Promise<string> {
      const answer = await order({ do: 'audit-export', ...body }).carryOut({
        ...{ id: '', do: '', officer: '' },
        entry: { origin: '', index: 0 },
      });
      assert.ok('stream' in answer);
      let text = '';
      for await (const chunk of answer.stream) text += Buffer.from(chunk);
      return text;
    },
  };
}

const parseFhir = (text: string): ExportedEvent[] =>
  text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line));

/** RFC 4180, as strict as it is written. */
function parseCsv(text: string): string[][] {
  assert.ok(text.endsWith('\r\n'));
  return text
    .slice(0, -2)
    .split(/\r\n(?=(?:[^"]*"[^"]*")*[^"]*$)/)
    .map((line) => {
      assert.match(line, /^"(?:[^"]|"")*"(?:,"(?:[^"]|"")*")*$/);
      return [...line.matchAll(/"((?:[^"]|"")*)"/g)].map(([, field]) => field!.replaceAll('""', '"'));
    });
}

test('every entry is exported in each format, and none of them names the patient', async (t) => {
  const { trail, export: ask } = await openHouse(t);
  const events = everyEvent();
  await trail.recordAll(events);
  const fhir = parseFhir(await ask({ format: 'fhir' }));
  assert.deepEqual(
    fhir.map(({ id }) => id),
    events.map((_, i) => `entry-${THIS_YEAR}-${i}`),
  );
  const csv = parseCsv(await ask({ format: 'csv' }));
  const dicom = await ask({ format: 'dicom' });
  assert.deepEqual([csv.length - 1, dicom.match(/<AuditMessage>/g)?.length], [events.length, events.length]);
  const pid = keys.pid(PATIENT, PID_EPOCH);
  for (const format of EXPORT_FORMATS) {
    const text = await ask({ format });
    assert.ok(text.includes(pid), format);
    const decoded = text.replace(/[A-Za-z0-9+/]{8,}={0,2}/g, (run) => `${run} ${Buffer.from(run, 'base64')}`);
    for (const name of [PATIENT, NAMED]) assert.ok(!decoded.includes(name), `${format} names ${name}`);
  }
  const search = fhir.find(({ subtype }) => subtype.some(({ code }) => code === 'search'))!;
  const { query } = search.entity!.find((entity) => entity.query)!;
  assert.equal(Buffer.from(query!, 'base64').toString(), '?PatientName=&other=&00100010=&limit=');
});

test('DICOM: the file validates against the schema of PS3.15, and so does each of its lines', async (t) => {
  const { dir, trail, export: ask } = await openHouse(t);
  await trail.recordAll(everyEvent());
  const text = await ask({ format: 'dicom' });
  const lines = text.split('\n').slice(2, -2);
  assert.ok(lines.every((line) => /^<AuditMessage>.*<\/AuditMessage>$/.test(line)));
  const file = join(dir, 'messages.xml');
  const validate = async (xml: string) => {
    await writeFile(file, xml);
    return tool(t, 'xmllint', ['--noout', '--nonet', '--schema', SCHEMA, file]);
  };
  const whole = await validate(text);
  if (!whole) return;
  assert.equal(whole.code, 0, whole.output);
  for (const line of [lines[0]!, lines.at(-1)!]) assert.equal((await validate(line))?.code, 0);
  for (const [name, broken] of Object.entries({
    'cut off': text.slice(0, -20),
    'without an outcome': text.replace(/ EventOutcomeIndicator="\d"/, ''),
    'without participants': lines[0]!.replace(/<ActiveParticipant .*<\/ActiveParticipant>/, ''),
    'with an unknown action': text.replace('EventActionCode="C"', 'EventActionCode="X"'),
  }))
    assert.notEqual((await validate(broken))?.code, 0, name);
  // what was hostile is text again for whoever parses it
  await writeFile(file, text);
  const xpath = 'string((//ActiveParticipant[RoleIDCode/@csd-code="IRCP"]/@UserID)[1])';
  const read = Buffer.from(tool(t, 'xmllint', ['--xpath', xpath, file])!.output, 'latin1').toString();
  assert.equal(read.replace(/\n$/, ''), `=HYPERLINK("http://evil.example","<b>&'") ?\u2028`);
});

test('CSV: no field begins like a formula, and every field reads back', async (t) => {
  const { trail, export: ask } = await openHouse(t);
  const formulas = ['=1+1', '+1', '-1', '@SUM(A1)', '\t=1', '\r=1', '\n=1', '"quoted", and more\r\nlines'];
  await trail.recordAll(
    formulas.map((ref) => ({
      ...{ action: 'gate', actor: ref, patient: null, outcome: 'success' },
      object: { kind: ref, ref },
    })),
  );
  const [header, ...rows] = parseCsv(await ask({ format: 'csv' }));
  assert.ok(rows.every((row) => row.length === header!.length));
  for (const row of rows) for (const field of row) assert.doesNotMatch(field, /^[=+\-@\t\r\n]/);
  const actors = rows.map((row) => row[header!.indexOf('actor')]);
  assert.deepEqual(
    actors,
    formulas.map((text, i) => (i < 7 ? `'${text}` : text)),
  );
});

test('a period is found without reading the whole log, to the millisecond', async (t) => {
  const { log, trail, setNow, export: ask } = await openHouse(t);
  const event = { action: 'gate', actor: 'abaton', patient: null, object: null, outcome: 'success' } as const;
  for (let day = 1; day <= 9; day++) {
    setNow(`2026-09-0${day}T00:00:00.000Z`);
    await trail.recordAll(Array.from({ length: 200 }, () => event));
  }
  setNow('2026-09-10T00:00:00.000Z');
  let bundles = 0;
  const entriesOf = log.current().entriesOf.bind(log.current());
  log.current().entriesOf = (n) => {
    bundles++;
    return entriesOf(n);
  };
  const idsOf = async (period: object) => parseFhir(await ask({ format: 'fhir', ...period })).map(({ id }) => id);
  const all = await idsOf({});
  assert.deepEqual([all.length, all[0], all.at(-1)], [1800, `entry-${THIS_YEAR}-0`, `entry-${THIS_YEAR}-1799`]);
  bundles = 0;
  const third = await idsOf({ from: '2026-09-03', to: '2026-09-03' });
  assert.deepEqual([third.length, third[0], third.at(-1)], [200, `entry-${THIS_YEAR}-400`, `entry-${THIS_YEAR}-599`]);
  assert.ok(bundles <= 3, `${bundles} bundles were read`);
  assert.deepEqual(await idsOf({ from: '2026-09-03T00:00:00.001Z', to: '2026-09-03T23:59:59.999Z' }), []);
  assert.deepEqual(await idsOf({ from: '2026-09-30', to: '2026-09-30' }), []);
});

test('it breaks off when the gate closes; a destroyed key leaves the frame', async (t) => {
  const { trail, destroy, closeGate, export: ask } = await openHouse(t);
  await trail.recordAll(everyEvent());
  destroy();
  const [first] = parseFhir(await ask({ format: 'fhir' }));
  assert.ok(first!.extension!.some(({ url }) => url === 'urn:abaton:fhir:detail-destroyed'));
  assert.ok(!first!.agent.some(({ network }) => network?.type === '2'));
  closeGate();
  await assert.rejects(ask({ format: 'fhir' }), /gate is closed/);
});

test('what is no export is refused before anything is recorded', async (t) => {
  const { export: ask } = await openHouse(t);
  for (const body of [{}, { format: 'pdf' }, { format: 'constructor' }, { format: 'csv', patientId: 'x' }])
    await assert.rejects(ask(body as Omit<OrderBody, 'do'>), { code: 'ORDER_INVALID' });
});
