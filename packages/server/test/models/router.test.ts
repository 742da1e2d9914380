/** Routing by declared attributes (PS3.3 C.7.3.1.1.1, C.7.2.2, C.8.1.1) and the scope of the card. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildDataset, type Values } from '../../src/imaging/build.ts';
import type { Routing } from '../../src/models/model.ts';
import { loadRegistry } from '../../src/models/registry.ts';
import { createRouter } from '../../src/models/router.ts';
import { MODELS } from './fixtures.ts';

const route = createRouter((await loadRegistry(MODELS, ['chest-xray-ai'])).models);
const inScope = {
  Modality: 'CR',
  BodyPartExamined: 'CHEST ',
  PatientAge: '003Y',
  ViewPosition: 'AP',
  Rows: 1024,
  Columns: 224,
};
const routed = (values: Values): Routing => route(buildDataset({ ...inScope, ...values }));
const reasonsOf = (routing: Routing): string[] => (routing.kind === 'out-of-scope' ? routing.reasons : [routing.kind]);

test('CR, DX and RG of the chest at 1 to 5 years run; other modalities and body parts have no model', () => {
  for (const Modality of ['CR', 'DX', 'RG']) assert.equal(routed({ Modality }).kind, 'run');
  for (const BodyPartExamined of ['CHEST', 'THORAX']) assert.equal(routed({ BodyPartExamined }).kind, 'run');
  for (const values of [{ Modality: 'CT' }, { Modality: '' }, { BodyPartExamined: 'HAND' }, { BodyPartExamined: '' }])
    assert.equal(routed(values).kind, 'no-model');
  assert.equal(route(new Map()).kind, 'no-model');
});

const AGES: [string, Values, string][] = [
  ['the first month in scope', { PatientAge: '012M' }, 'run'],
  ['the last year', { PatientAge: '005Y' }, 'run'],
  ['eleven months', { PatientAge: '011M' }, 'patient age 0 years is outside 1–5 years'],
  ['six years', { PatientAge: '006Y' }, 'patient age 6 years is outside 1–5 years'],
  ['an adult', { PatientAge: '041Y' }, 'patient age 41 years is outside 1–5 years'],
  ['no age', { PatientAge: '' }, 'patient age is not stated'],
  ['no age, a birth date alone', { PatientAge: '', PatientBirthDate: '20200101' }, 'patient age is not stated'],
  ['two ages', { PatientAge: ['003Y', '070Y'] }, 'patient age is unreadable, or contradicts the birth date'],
  [
    'an unreadable birth date beside an age',
    { PatientBirthDate: '19O50101', StudyDate: '20130713' },
    'patient age is unreadable, or contradicts the birth date',
  ],
  [
    'a birth date that nothing dates the study by',
    { PatientBirthDate: '19500101' },
    'patient age is unreadable, or contradicts the birth date',
  ],
  ['birth and study date', { PatientAge: '', PatientBirthDate: '20210601', StudyDate: '20250531' }, 'run'],
  [
    'birth and study date of an adult',
    { PatientAge: '', PatientBirthDate: '19760616', StudyDate: '20130713' },
    'patient age 37 years is outside 1–5 years',
  ],
  [
    'a birth date that contradicts the age',
    { PatientBirthDate: '19760616', StudyDate: '20130713' },
    'patient age is unreadable, or contradicts the birth date',
  ],
  ['an age without unit', { PatientAge: '003' }, 'patient age is unreadable, or contradicts the birth date'],
  ['an age that would identify', { PatientAge: '104Y' }, 'patient age over 89 years is outside 1–5 years'],
];
for (const [name, values, expected] of AGES) {
  test(`${name}: ${expected}`, () => {
    assert.deepEqual(reasonsOf(routed(values)), [expected]);
  });
}

test('lateral views, several frames and raw detector data are out of scope; every reason is given', () => {
  assert.deepEqual(reasonsOf(routed({ ViewPosition: 'LL' })), ['the view is not frontal']);
  assert.equal(routed({ ViewPosition: '' }).kind, 'run', 'often left empty');
  assert.deepEqual(reasonsOf(routed({ NumberOfFrames: '2' })), ['the image has more than one frame']);
  assert.equal(
    reasonsOf(routed({ PatientAge: '041Y', ViewPosition: 'LL', PresentationIntentType: 'FOR PROCESSING' })).length,
    3,
  );
});

test('no reason repeats anything of the header but the age', () => {
  const canary = 'CANARY';
  const reasons = reasonsOf(
    routed({
      PatientAge: canary,
      ViewPosition: canary,
      NumberOfFrames: canary,
      PatientBirthDate: canary,
      PatientName: canary,
    }),
  );
  assert.equal(reasons.length, 3);
  assert.ok(!reasons.join().includes(canary));
});

test('an image smaller than what the model was trained on is out of scope', () => {
  for (const size of [{ Rows: 223 }, { Columns: 1 }, { Rows: undefined }])
    assert.deepEqual(reasonsOf(routed(size)), ['the image is smaller than 224 × 224 pixels']);
});

test('an attribute with two values where one decides routes nowhere', () => {
  assert.equal(routed({ Modality: ['CR', 'CT'] }).kind, 'no-model');
  assert.equal(routed({ BodyPartExamined: ['CHEST', 'HAND'] }).kind, 'no-model');
});
