/** What came of a study: `/api/v1/studies/{}/analysis` with its proof, the SR over DICOMweb, and FHIR R4. */
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { digestResult } from '@abaton/client';
import { verifyLogProof } from '@abaton/verify';
import { analyzeStudy } from '../../src/imaging/analyze-study.ts';
import { THIS_YEAR } from '../audit/support.ts';
import { ask, multipart } from './client.ts';
import { type House, openHouse } from './house.ts';
import { type Elements, imageFile } from './part10.ts';
import { model, runtime } from './scored-model.ts';

const STUDY = '1.2.840.99.1';
const ANALYSIS = `/api/v1/studies/${STUDY}/analysis`;
const FHIR = '/fhir/R4';

let house: House;
before(async () => {
  house = await openHouse();
});
after(() => house.close());
beforeEach(() => {
  house.events.length = 0;
});

async function store(study: string, patientId = 'P-77', instance = '1'): Promise<void> {
  const more: Elements = {
    '00100020': ['LO', patientId],
    '00100010': ['PN', 'Doe^Jane'],
    '00080020': ['DA', '20240105'],
  };
  const file = imageFile({ study, series: `${study}.1`, instance: `${study}.1.${instance}`, more });
  const answer = await ask(house.port, { method: 'POST', path: '/dicom-web/studies', ...multipart([file]) });
  assert.equal(answer.status, 200);
}

async function analyze(kind: 'run' | 'no-model'): Promise<void> {
  const { archive, vault, queue, deps } = house;
  const job = await queue.lease('analyze-study', 10_000);
  assert.ok(job);
  const route = () => (kind === 'run' ? { kind, model } : { kind });
  const analysis = {
    archive,
    vault,
    gate: deps.gate,
    trail: deps.trail,
    route,
    runtime,
    observe() {},
    nowMs: Date.now,
  };
  assert.equal(await analyzeStudy(analysis, job, true), 'done');
}

const get = async (path: string, version: 1 | 2 = 1) => {
  const answer = await ask(house.port, { path, version });
  return { status: answer.status, type: answer.headers['content-type'], json: JSON.parse(answer.body.toString()) };
};

test('a study is unknown, then queued, then complete; a waiting client hears of it', async () => {
  assert.equal((await get(ANALYSIS)).status, 404);
  await store(STUDY);
  assert.deepEqual((await get(ANALYSIS)).json, { state: 'queued', results: [] });
  assert.deepEqual(
    house.events.map(({ action }) => action),
    ['create'],
    'a state alone discloses nothing',
  );
  const waiting = get(`${ANALYSIS}?waitMs=30000`, 2);
  await sleep(150);
  await analyze('run');
  const { json } = await waiting;
  assert.equal(json.state, 'complete');
  assert.equal(json.results.length, 1);
  const [{ result, proof }] = json.results;
  assert.equal(result.studyInstanceUid, STUDY);
  assert.equal(result.finding.score, 0.75);

  // The proof: the entry is in the log whose key signs the checkpoint, and it is about this very result.
  const vkeys = house.log.vkeys();
  assert.equal(verifyLogProof(proof, vkeys).origin, `test/log/${THIS_YEAR}`);
  assert.equal(JSON.parse(proof.entry).facts.resultDigest, digestResult(result));
  assert.notEqual(digestResult({ ...result, outcome: 'failed' }), digestResult(result));
  assert.throws(() => verifyLogProof({ ...proof, index: proof.index + 1 }, vkeys));
  assert.throws(() => verifyLogProof({ ...proof, entry: proof.entry.replace('success', 'failure') }, vkeys));
});

test('a result is recorded as read before it is disclosed', async (t) => {
  t.after(() => {
    house.world.diskFull = false;
    house.world.attested = true;
  });
  const { json } = await get(ANALYSIS);
  const id = json.results[0].result.diagnosticReportId;
  const paths = [ANALYSIS, `${FHIR}/DiagnosticReport/${id}`, `${FHIR}/DiagnosticReport?identifier=urn:oid:${STUDY}`];
  house.events.length = 0;
  for (const path of paths) assert.equal((await get(path)).status, 200);
  const ref = house.archive.studyRef(STUDY);
  assert.deepEqual(
    house.events.map(({ action, object }) => [action, object]),
    ['read', 'read', 'search'].map((action) => [action, { kind: 'result', ref }]),
  );
  for (const path of paths) {
    house.world.diskFull = true;
    const down = await get(path);
    assert.equal(down.status, 503);
    assert.ok(!JSON.stringify(down.json).includes(STUDY));
    house.world.diskFull = false;
    while (!house.log.healthy()) await sleep(20);
  }
  house.world.attested = false;
  for (const path of paths) assert.equal((await get(path)).status, 503);
});

test('waitMs has a form and a limit', async () => {
  for (const wait of ['-1', '30001', 'x', '1.5', ''])
    assert.equal((await get(`${ANALYSIS}?waitMs=${wait}`)).status, 400);
  assert.equal((await get(`${ANALYSIS}?waitMs=30000`)).json.state, 'complete', 'nothing to wait for');
});

test('the SR is found and retrieved like any instance', async () => {
  const { json: series } = await get(`/dicom-web/studies/${STUDY}/series?Modality=SR`);
  assert.equal(series.length, 1);
  const { json } = await get(`${ANALYSIS}`);
  const { sr } = json.results[0].result;
  assert.deepEqual(series[0]['0020000E'].Value, [sr.seriesInstanceUid]);
  const path = `/dicom-web/studies/${STUDY}/series/${sr.seriesInstanceUid}/instances/${sr.sopInstanceUid}`;
  const answer = await ask(house.port, { path, headers: { accept: 'application/dicom' } });
  assert.equal(answer.status, 200);
  assert.equal(answer.body.toString('latin1', 128, 132), 'DICM');
  const { json: studies } = await get('/dicom-web/studies');
  assert.deepEqual(studies[0]['00080061'].Value, ['OT', 'SR']);
});

test('DiagnosticReport: read and search (FHIR R4 http.html)', async () => {
  const { json: analysis } = await get(ANALYSIS);
  const id = analysis.results[0].result.diagnosticReportId;
  const one = await get(`${FHIR}/DiagnosticReport/${id}`);
  assert.equal(one.type, 'application/fhir+json');
  assert.equal(one.json.resourceType, 'DiagnosticReport');
  assert.equal(one.json.id, id);
  assert.equal(one.json.status, 'preliminary');
  assert.deepEqual(one.json.subject.identifier, { value: 'P-77' });

  for (const identifier of [`urn:oid:${STUDY}`, `urn:dicom:uid%7Curn:oid:${STUDY}`]) {
    const { json: bundle } = await get(`${FHIR}/DiagnosticReport?identifier=${identifier}`);
    const base = `https://127.0.0.1:${house.port}${FHIR}`;
    assert.equal(bundle.resourceType, 'Bundle');
    assert.equal(bundle.type, 'searchset');
    assert.equal(bundle.total, 1);
    assert.equal(bundle.link[0].relation, 'self');
    const fullUrl = `${base}/DiagnosticReport/${id}`;
    assert.deepEqual(bundle.entry, [{ fullUrl, resource: one.json, search: { mode: 'match' } }]);
  }
  const { json: none } = await get(`${FHIR}/DiagnosticReport?identifier=urn:oid:1.9`);
  assert.deepEqual([none.total, none.entry], [0, undefined], 'FHIR JSON has no empty arrays');
});

test('a study without a model has a report too, and it is not negative', async () => {
  const study = '1.2.840.99.2';
  await store(study);
  await analyze('no-model');
  const { json: bundle } = await get(`${FHIR}/DiagnosticReport?identifier=urn:oid:${study}`);
  assert.equal(bundle.entry[0].resource.status, 'cancelled');
  assert.deepEqual(bundle.entry[0].resource.subject.identifier, { value: 'P-77' });
});

test('errors under /fhir are OperationOutcomes', async () => {
  for (const [path, status, code] of [
    ['/DiagnosticReport/unknown', 404, 'not-found'],
    ['/DiagnosticReport', 400, 'invalid'],
    ['/DiagnosticReport?identifier=secret', 400, 'invalid'],
    [`/DiagnosticReport?identifier=urn:oid:${STUDY}&patient=secret`, 400, 'invalid'],
  ] as const) {
    const answer = await get(FHIR + path);
    assert.equal(answer.status, status, path);
    assert.equal(answer.type, 'application/fhir+json');
    assert.equal(answer.json.resourceType, 'OperationOutcome');
    assert.equal(answer.json.issue[0].code, code);
    assert.ok(!JSON.stringify(answer.json).includes('secret'));
  }
  const xml = await ask(house.port, { path: `${FHIR}/metadata`, headers: { accept: 'application/fhir+xml' } });
  assert.equal(xml.status, 406);
  assert.equal((await ask(house.port, { method: 'DELETE', path: `${FHIR}/DiagnosticReport/1` })).status, 405);
});

test('the CapabilityStatement says what is served', async () => {
  const { json } = await get(`${FHIR}/metadata`);
  // Elements that are required in R4, and `implementation`, since `kind` is instance.
  for (const name of ['status', 'date', 'kind', 'fhirVersion', 'format', 'rest', 'implementation'])
    assert.ok(json[name]);
  assert.equal(json.resourceType, 'CapabilityStatement');
  assert.deepEqual(
    json.rest[0].resource.map(({ type }: { type: string }) => type),
    ['DiagnosticReport'],
  );
});

test('a study that holds two patients is out of scope, whichever image a model would take', async () => {
  const study = '1.2.3.77';
  await store(study, 'P-1', '1');
  await store(study, 'P-2', '2');
  await analyze('run');
  const { json } = await get(`/api/v1/studies/${study}/analysis`);
  const { outcome, finding, reasons } = json.results[0].result;
  assert.deepEqual([outcome, finding, reasons], ['out-of-scope', null, ['the study holds more than one patient']]);
});
