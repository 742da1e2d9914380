/** Typed reads (PS3.5 section 6.2): values as they should be, and junk, on which nothing throws. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { buildDataset } from '../../src/imaging/build.ts';
import type { Dataset } from '../../src/imaging/dataset.ts';
import { toDicomJson } from '../../src/imaging/dicom-json.ts';
import { ATTRIBUTES, type Keyword } from '../../src/imaging/tags.ts';
import { ageInYears, items, number, numbers, text, texts } from '../../src/imaging/values.ts';
import { runs } from './support.ts';

const raw = (keyword: Keyword, vr: string, value: string | Uint8Array): Dataset => {
  const [tag] = ATTRIBUTES[keyword];
  return new Map([[tag, { tag, vr, value: Buffer.from(value as string, 'latin1') }]]);
};

test('text: padding, spaces, several values, one value with backslashes', () => {
  assert.equal(text(raw('PatientID', 'LO', ' AB 12 '), 'PatientID'), 'AB 12');
  assert.equal(text(raw('SOPInstanceUID', 'UI', '1.2.3\0'), 'SOPInstanceUID'), '1.2.3');
  assert.deepEqual(texts(raw('ImageType', 'CS', 'ORIGINAL\\PRIMARY \\'), 'ImageType'), ['ORIGINAL', 'PRIMARY', '']);
  assert.deepEqual(texts(raw('TextValue', 'UT', ' a\\b '), 'TextValue'), [' a\\b']);
  assert.equal(text(new Map(), 'PatientID'), '');
});

test('numbers of every VR, whatever the dictionary says', () => {
  assert.equal(number(raw('Rows', 'US', Uint8Array.of(0, 2)), 'Rows'), 512);
  assert.equal(number(raw('PixelPaddingValue', 'SS', Uint8Array.of(0x30, 0xf8)), 'PixelPaddingValue'), -2000);
  assert.deepEqual(numbers(raw('PixelSpacing', 'DS', '0.5\\ 1e-1 '), 'PixelSpacing'), [0.5, 0.1]);
  assert.deepEqual(numbers(raw('PixelSpacing', 'DS', 'x\\2'), 'PixelSpacing'), [Number.NaN, 2]);
  assert.equal(number(raw('NumberOfFrames', 'IS', ''), 'NumberOfFrames'), null);
  assert.equal(number(raw('Rows', 'US', Uint8Array.of(1)), 'Rows'), null);
});

test('age: stated, computed, contradictory, unreadable', () => {
  const age = (PatientAge: string, PatientBirthDate = '', StudyDate = '') =>
    ageInYears(buildDataset({ PatientAge, PatientBirthDate, StudyDate }));
  assert.equal(age('004Y'), 4);
  assert.equal(age('018M'), 1.5);
  assert.ok(Math.abs(age('052W')! - 1) < 0.01);
  assert.ok(Math.abs(age('365D')! - 1) < 0.01);
  assert.ok(Math.abs(age('', '20200301', '20260301')! - 6) < 0.01);
  assert.ok(Math.abs(age('', '2020.03.01', '20260301')! - 6) < 0.01);
  assert.equal(age('005Y', '20200401', '20260301'), 5);
  // A year that contradicts the other source is no knowledge.
  assert.equal(age('004Y', '19600101', '20260101'), null);
  for (const bad of ['4Y', '04Y', '004', '004y', '-04Y', '999Y', '', 'CANARY']) assert.equal(age(bad), null, bad);
  assert.equal(age('', '20260301', '20200301'), null);
  assert.equal(age('', '20200230', '20260301'), null);
});

test('junk: every read of every VR answers, and DICOM JSON can be written', () => {
  const vrs = ['AE', 'AT', 'CS', 'DA', 'DS', 'FD', 'IS', 'LO', 'OB', 'PN', 'SV', 'UI', 'UN', 'US', 'UT', 'ZZ'];
  const keywords = Object.keys(ATTRIBUTES) as Keyword[];
  const property = fc.property(
    fc.constantFrom(...keywords),
    fc.constantFrom(...vrs),
    fc.uint8Array(),
    (keyword, vr, value) => {
      const dataset = raw(keyword, vr, value);
      text(dataset, keyword);
      numbers(dataset, keyword);
      ageInYears(dataset);
      assert.deepEqual(items(dataset, keyword), []);
      JSON.parse(JSON.stringify(toDicomJson(dataset)));
    },
  );
  fc.assert(property, { ...runs(), numRuns: process.env.SLOW ? 50_000 : 500 });
});
