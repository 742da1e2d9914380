/** FHIR R4 DiagnosticReport, Observation and Device: elements, cardinalities and codes of hl7.org/fhir/R4. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildDataset } from '../../src/imaging/build.ts';
import { buildDiagnosticReport } from '../../src/imaging/fhir.ts';
import { OUTCOMES, phantom, resultFor } from './results.ts';

/** Elements of R4, those that may repeat as 'many'; anything else is no R4. */
const SCHEMA: Record<string, { one: string; many: string; required: string }> = {
  DiagnosticReport: {
    one: 'resourceType id meta language status code subject effectiveDateTime issued conclusion',
    many: 'contained identifier category result imagingStudy conclusionCode',
    required: 'status code',
  },
  Observation: {
    one: 'resourceType id status code subject issued valueQuantity dataAbsentReason device',
    many: 'note component',
    required: 'status code',
  },
  Device: { one: 'resourceType id manufacturer modelNumber', many: 'deviceName version property', required: '' },
};
const STATUS = ['registered', 'partial', 'preliminary', 'final', 'amended', 'corrected', 'appended', 'cancelled'];

type Json = Record<string, unknown>;

function verifyResource(resource: Json): void {
  const type = String(resource.resourceType);
  const schema = SCHEMA[type];
  assert.ok(schema, type);
  const [one, many, required] = [schema.one, schema.many, schema.required].map((names) => names.split(' '));
  for (const [name, value] of Object.entries(resource)) {
    assert.ok(one!.includes(name) || many!.includes(name), `${type}.${name}`);
    assert.equal(Array.isArray(value), many!.includes(name), `${type}.${name}`);
    if (Array.isArray(value)) assert.ok(value.length > 0, `${type}.${name} is empty`);
  }
  for (const name of required!) if (name) assert.ok(name in resource, `${type}.${name}`);
  if (resource.id !== undefined) assert.match(String(resource.id), /^[A-Za-z0-9.-]{1,64}$/);
  if (type !== 'Device') assert.ok(STATUS.includes(String(resource.status)));
}

const json = (...args: Parameters<typeof buildDiagnosticReport>): Json & { contained: Json[] } =>
  JSON.parse(JSON.stringify(buildDiagnosticReport(...args)));

test('each outcome is R4, and they look different', () => {
  const source = phantom();
  const seen = OUTCOMES.map((outcome) => {
    const report = json(resultFor(source, outcome), source);
    verifyResource(report);
    for (const contained of report.contained) verifyResource(contained);
    const [, observation] = report.contained;
    assert.equal(report.status, outcome === 'scored' ? 'preliminary' : 'cancelled');
    assert.equal('valueQuantity' in observation!, outcome === 'scored');
    assert.equal('dataAbsentReason' in observation!, outcome !== 'scored');
    return JSON.stringify([report.conclusionCode, observation!.dataAbsentReason]);
  });
  assert.equal(new Set(seen).size, OUTCOMES.length);
});

test('contained resources are referred to, and refer to nothing that is absent', () => {
  const report = json(resultFor(phantom(), 'scored'), phantom());
  const ids = report.contained.map(({ id }) => `#${id}`).sort();
  const references = [...JSON.stringify(report).matchAll(/"reference":"([^"]+)"/g)]
    .map(([, reference]) => reference!)
    .sort();
  assert.deepEqual(references, ids);
});

test('score, label and proof', () => {
  const report = json(resultFor(phantom(), 'scored'), phantom());
  const [device, observation] = report.contained;
  const properties = (
    device!.property as { type: { coding: [{ code: string }] }; valueCode: [{ text: string }] }[]
  ).map(({ type, valueCode }) => [type.coding[0].code, valueCode[0].text]);
  assert.deepEqual(Object.fromEntries(properties), {
    'model-digest': 'd2'.repeat(32),
    'code-hash': `sha256:${'c4'.repeat(32)}`,
    'evidence-id': 'e5'.repeat(32),
  });
  assert.deepEqual(observation!.valueQuantity, {
    value: 0.7312,
    unit: 'score',
    system: 'http://unitsofmeasure.org',
    code: '1',
  });
  assert.match(String(report.conclusion), /^reference model, not for clinical use\. .*not a probability\.$/);
  assert.equal(report.effectiveDateTime, '2026-11-24');
  assert.deepEqual(report.imagingStudy, [
    { type: 'ImagingStudy', identifier: { system: 'urn:dicom:uid', value: 'urn:oid:2.25.123456789' } },
  ]);
});

test('a finding is concluded only above the operating point, and never of a phantom', () => {
  const source = phantom();
  const { finding } = resultFor(source, 'scored');
  const concluded = (about: object) =>
    JSON.stringify(json(resultFor(source, 'scored', about), source).conclusionCode).includes('233604007');
  assert.ok(concluded({}));
  assert.ok(!concluded({ finding: { ...finding!, aboveOperatingPoint: false } }));
  assert.ok(!concluded({ demonstration: true, label: 'demonstration, not a finding' }));
  const demonstration = json(
    resultFor(source, 'scored', { demonstration: true, label: 'demonstration, not a finding' }),
    source,
  );
  assert.match(JSON.stringify(demonstration.meta), /HTEST/);
  assert.match(String(demonstration.conclusion), /^demonstration, not a finding\./);
});

test('a study that names no patient', () => {
  const source = buildDataset({ StudyDate: 'CANARY', PatientID: '' });
  const report = json(resultFor(phantom(), 'failed'), source);
  verifyResource(report);
  assert.deepEqual(report.subject, { type: 'Patient', display: 'not identified in the study' });
  assert.ok(!('effectiveDateTime' in report));
});
