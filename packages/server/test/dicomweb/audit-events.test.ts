/**
 * 45 CFR 164.312(b): an access to a canary patient over each route that discloses gives one entry in the log, whole, and
 * nothing that names the patient in clear. 164.528: the accounting of that patient is what was seeded.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createSearch } from '../../../../test/e2e/canary-search.ts';
import { purposeOf } from '../../src/audit/accounting.ts';
import { detailOf } from '../../src/audit/audit-event.ts';
import type { ReadEntry } from '../../src/audit/audit-reader.ts';
import { analyzeStudy } from '../../src/imaging/analyze-study.ts';
import { assertBalp } from '../audit/balp.ts';
import { THIS_YEAR } from '../audit/support.ts';
import { orderText, signNote } from '../officers/support.ts';
import { filesUnder } from '../vault/support.ts';
import { type Ask, ask, multipart } from './client.ts';
import { type House, openHouse } from './house.ts';
import { type Elements, imageFile } from './part10.ts';
import { model, runtime } from './scored-model.ts';

const STUDY = '1.2.840.4711.1';
const SERIES = `${STUDY}.1`;
const INSTANCE = `${SERIES}.1`;
const PATIENT_ID = 'CANARY-4711';
const CANARIES = [PATIENT_ID, 'Zoe^Canaria', STUDY, '127.0.0.1'].map((text) => Buffer.from(text));
const ORIGIN = `test/log/${THIS_YEAR}`;

let house: House;
before(async () => {
  house = await openHouse();
});
after(() => house.close());

const fileOf = (study: string, patientId: string, name: string): Buffer => {
  const more: Elements = { '00100020': ['LO', patientId], '00100010': ['PN', name] };
  return imageFile({ study, series: `${study}.1`, instance: `${study}.1.1`, more });
};
const upload = (study: string, patientId: string, name = 'Doe^Jane'): Ask => ({
  method: 'POST',
  path: '/dicom-web/studies',
  ...multipart([fileOf(study, patientId, name)]),
});

async function analyze(): Promise<void> {
  const { archive, vault, queue, deps } = house;
  const job = await queue.lease('analyze-study', 10_000);
  const route = () => ({ kind: 'run', model }) as const;
  const { gate, trail } = deps;
  await analyzeStudy({ archive, vault, gate, trail, route, runtime, observe() {}, nowMs: Date.now }, job!, true);
}

/** Where an entry of this year stands. */
const at = (index: number) => ({ origin: house.log.current().origin, index });

async function entriesSince(size: number): Promise<ReadEntry[]> {
  return Promise.all(Array.from({ length: house.log.size() - size }, (_, i) => house.reader.read(at(size + i))));
}

const order = (body: Parameters<typeof orderText>[0]): Promise<Awaited<ReturnType<typeof ask>>> =>
  ask(house.port, {
    method: 'POST',
    path: '/api/v1/orders',
    headers: { 'content-type': 'text/plain' },
    body: Buffer.from(signNote(orderText(body, { origin: ORIGIN }), house.officer)),
  });

const [S, E, I] = ['/studies/:study', '/series/:series', '/instances/:instance'];
const FHIR = '/fhir/R4/DiagnosticReport';
/** Every route that takes or gives patient data: template, and how it is asked for the canary. */
const ROUTES: readonly [template: string, action: 'create' | 'read' | 'search', query?: string][] = [
  ['/dicom-web/studies', 'search', `?PatientID=${PATIENT_ID}`],
  ['/dicom-web/series', 'search', `?PatientID=${PATIENT_ID}`],
  ['/dicom-web/instances', 'search', `?PatientID=${PATIENT_ID}`],
  [`/dicom-web${S}/series`, 'search'],
  [`/dicom-web${S}/instances`, 'search'],
  [`/dicom-web${S}${E}/instances`, 'search'],
  [`/dicom-web${S}`, 'read'],
  [`/dicom-web${S}/metadata`, 'read'],
  [`/dicom-web${S}${E}`, 'read'],
  [`/dicom-web${S}${E}/metadata`, 'read'],
  [`/dicom-web${S}${E}${I}`, 'read'],
  [`/dicom-web${S}${E}${I}/metadata`, 'read'],
  [`/dicom-web${S}${E}${I}/frames/:frames`, 'read'],
  ['/api/v1/studies/:study/analysis', 'read'],
  [`${FHIR}/:id`, 'read'],
  [FHIR, 'search', `?identifier=urn:oid:${STUDY}`],
];
const UPLOADS = ['/dicom-web/studies', `/dicom-web${S}`];

test('the table has every route of the application that passes patient data', () => {
  const isPatientData = (path: string) => /^\/(dicom-web|fhir|api\/v1\/studies)\b/.test(path);
  const routes = (method: string) =>
    new Set(
      house.app.routes.filter((route) => route.method === method && isPatientData(route.path)).map((r) => r.path),
    );
  const silent = ['/fhir/R4/metadata']; // says what the server can do
  assert.deepEqual([...routes('GET')].sort(), [...ROUTES.map(([path]) => path), ...silent].sort());
  assert.deepEqual([...routes('POST')].sort(), UPLOADS.toSorted());
});

test('an access to the canary over each route is one entry, and a whole one', async (t) => {
  const pidOf = ({ frame }: ReadEntry) => frame.pid;
  const pids = new Set<string | null>();
  const check = (entry: ReadEntry, action: 'create' | 'read' | 'search', requestId: string | undefined) => {
    const { frame, event } = entry;
    assert.deepEqual([frame.action, frame.actor, frame.outcome], [action, 'anonymous', 'success']);
    assertBalp(event, action);
    assert.equal(purposeOf(event), 'HTEST');
    const client = event.agent.find(({ requestor }) => requestor)!;
    assert.equal(client.network?.address, '127.0.0.1');
    assert.match(client.policy![0]!, /^urn:abaton:policy:sha256:[0-9a-f]{64}$/);
    assert.equal(event.entity!.find(({ type }) => type.code === 'XrequestId')!.what!.identifier!.value, requestId);
    pids.add(frame.pid);
  };
  let size = house.log.size();
  const stored = await ask(house.port, upload(STUDY, PATIENT_ID, 'Zoe^Canaria'));
  const [created, ...others] = await entriesSince(size);
  assert.deepEqual([stored.status, others], [200, []]);
  check(created!, 'create', stored.headers['x-request-id']);
  await analyze();
  const ref = house.archive.studyRef(STUDY);
  const [result] = await house.archive.results(ref);
  for (const [template, action, query = ''] of ROUTES)
    await t.test(`${template}${query && '?…'}`, async () => {
      const named = { study: STUDY, series: SERIES, instance: INSTANCE, frames: '1', id: result!.id };
      const path = template.replace(/:(\w+)/g, (_, name: keyof typeof named) => named[name]);
      size = house.log.size();
      const answer = await ask(house.port, { path: path + query });
      assert.equal(answer.status, 200, answer.body.toString());
      const entries = await entriesSince(size);
      assert.equal(entries.length, 1);
      check(entries[0]!, action, answer.headers['x-request-id']);
      const queryEntity = entries[0]!.event.entity!.find((each) => each.query !== undefined);
      if (query && template !== FHIR) assert.equal(Buffer.from(queryEntity!.query!, 'base64').toString(), query);
    });
  assert.equal(pids.size, 1);
  assert.match(pidOf(created!)!, /^[a-z2-7]{26}$/);
});

test('what the model did is an entry with model, code and evidence', async () => {
  for (let i = 0; i < house.log.size(); i++) {
    const { frame, event } = await house.reader.read(at(i));
    if (frame.action !== 'execute') continue;
    const urls = event.extension!.map(({ url }) => url.replace('urn:abaton:fhir:', ''));
    assert.deepEqual(urls, ['model-digest', 'code-hash', 'evidence-id', 'detail']);
    assert.equal(detailOf(event).studyInstanceUid, STUDY);
    return;
  }
  assert.fail('no such entry');
});

test('a search that returns 30 patients writes 30 entries, one for each', async () => {
  const patients = Array.from({ length: 30 }, (_, i) => `MANY-${i}`);
  for (const [i, patient] of patients.entries())
    assert.equal((await ask(house.port, upload(`1.2.840.99.${i + 1}`, patient))).status, 200);
  const size = house.log.size();
  const { status, body } = await ask(house.port, { path: '/dicom-web/studies?PatientID=MANY-*' });
  assert.deepEqual([status, JSON.parse(body.toString()).length], [200, 30]);
  const entries = await entriesSince(size);
  assert.equal(new Set(entries.map(({ frame }) => frame.pid)).size, 30);
  assert.equal(entries.length, 30);
  for (const { event } of entries) assertBalp(event, 'search');
});

test('a refusal of patient data is an entry: the closed gate, and an upload that is not taken', async () => {
  const size = house.log.size();
  house.world.attested = false;
  assert.equal((await ask(house.port, { path: `/dicom-web/studies/${STUDY}` })).status, 503);
  house.world.attested = true;
  const bad = { method: 'POST', path: '/dicom-web/studies', headers: { 'content-type': 'application/dicom' } };
  assert.equal((await ask(house.port, { ...bad, body: Buffer.from(PATIENT_ID) })).status, 409);
  assert.equal((await ask(house.port, { ...bad, headers: { 'content-type': 'text/html' } })).status, 415);
  assert.equal((await ask(house.port, { path: '/dicom-web/studies/1.2.3' })).status, 404);
  while (house.log.size() < size + 3) await new Promise((resolve) => setTimeout(resolve, 5));
  const entries = await entriesSince(size);
  assert.deepEqual(
    entries.map(({ frame, event }) => [frame.action, event.type.code, event.outcomeDesc, frame.object?.ref]),
    [
      ['denied', '110113', 'GATE_CLOSED', '/dicom-web/studies/:study'],
      ['denied', '110113', 'NOTHING_STORED', '/dicom-web/studies'],
      ['denied', '110113', 'MEDIA_TYPE_UNSUPPORTED', '/dicom-web/studies'],
    ],
  );
});

test('the accounting is what was seeded, and outlives the content until its own key is destroyed', async () => {
  const account = async (patientId: string) => {
    const answer = await order({ do: 'account', issuer: '', patientId });
    assert.equal(answer.status, 200, answer.body.toString());
    return JSON.parse(answer.body.toString()).answer;
  };
  const first = await account(PATIENT_ID);
  assert.equal(first.disclosures.length, ROUTES.length);
  for (const { recipient, purpose, outcome } of first.disclosures)
    assert.deepEqual([recipient, purpose, outcome], [{ name: 'anonymous', address: '127.0.0.1' }, 'HTEST', 'success']);
  assert.deepEqual(
    first.other.map(({ action }: { action: string }) => action),
    ['create', 'execute', 'order'],
    'with the reading of the log itself',
  );
  assert.deepEqual([first.treatmentPaymentOperations, first.contentErased], [[], []]);
  assert.ok(!JSON.stringify(first).includes('MANY'));

  const patient = house.vault.patientRef('test', '', PATIENT_ID);
  const event = { actor: 'anonymous', patient, object: { kind: 'study', ref: 's' }, outcome: 'success' } as const;
  await house.trail.record({ ...event, action: 'read', purposeOfUse: 'TREAT' });
  // as erasure does it: the content's key goes, and an entry says so
  await house.db.query('delete from patient_keys where patient = $1', [patient]);
  house.keys.forget();
  await house.trail.record({ ...event, actor: 'officer', action: 'erase', facts: { officer: 'Petra' } });
  assert.equal((await ask(house.port, { path: `/dicom-web/studies/${STUDY}` })).status, 500);
  const second = await account(PATIENT_ID);
  assert.deepEqual(second.disclosures.slice(0, ROUTES.length), first.disclosures);
  assert.equal(second.treatmentPaymentOperations.length, 1);
  assert.match(second.contentErased[0].text, /^content erased on \d{4}-.*Z by Petra$/);

  // rows that are lost are found again from the log; rows that were added count for nothing
  await house.db.query('delete from audit_index where entry > 5', []);
  assert.deepEqual((await account(PATIENT_ID)).disclosures, second.disclosures);
  await account('NOBODY');
  const { frame } = await house.reader.read(at(house.log.size() - 1));
  await house.db.query('update audit_index set pid = $1 where entry = 0', [frame.pid]);
  const nobody = await account('NOBODY');
  assert.deepEqual(
    nobody.other.map(({ action }: { action: string }) => action),
    ['order', 'order'],
  );

  await house.keys.destroyAccountingKey(patient);
  const third = await account(PATIENT_ID);
  assert.equal(
    third.disclosures.length,
    second.disclosures.length + 1,
    'that it was is still there, not what it was for',
  );
  for (const { recipient, purpose } of third.disclosures) assert.deepEqual([recipient, purpose], [null, null]);
});

test('an accounting of a period, and what is no period', async () => {
  const answer = await order({ do: 'account', issuer: '', patientId: 'MANY-1', from: '2001-01-01', to: '2001-12-31' });
  assert.deepEqual(JSON.parse(answer.body.toString()).answer.disclosures, []);
  for (const members of [
    { from: '2026-02-30' },
    { to: 'today' },
    { from: '2026-01-02', to: '2026-01-01' },
    { patient: 'x' },
    { patientId: '' },
    { issuer: 1 },
  ])
    assert.equal((await order({ do: 'account', issuer: '', patientId: 'MANY-1', ...members })).status, 403);
});

test('while the gate is closed neither accounting nor export leaves', async () => {
  house.world.attested = false;
  for (const body of [
    { do: 'account', issuer: '', patientId: PATIENT_ID },
    { do: 'audit-export', format: 'fhir' },
  ])
    assert.equal((await order(body)).status, 503);
  house.world.attested = true;
});

test('nothing that names the patient, the study or the client stands in clear, in the log or beside it', async () => {
  const search = createSearch(CANARIES);
  const files = await filesUnder(house.dir);
  assert.ok([...files.keys()].some((name) => name.startsWith(`log/${THIS_YEAR}/wal`)));
  for (const [name, bytes] of files) {
    if (name.startsWith('tee/')) continue; // the software TEE of the test
    assert.deepEqual(search(bytes), [], name);
  }
  for (let n = 0; n * 256 < house.log.size(); n++)
    for (const entry of await house.log.current().entriesOf(n)) assert.deepEqual(search(Buffer.from(entry)), []);
  assert.ok(search(Buffer.from(`x${PATIENT_ID}x`)).length > 0, 'the search finds what is there');
});
