/** The phantom: a valid CR image (dciodvfy) that says of itself that it is no patient, and has something to see. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { decodeGrey } from '../../src/imaging/decode.ts';
import { squash, toGrey8 } from '../../src/imaging/preprocess.ts';
import { ageInYears, text } from '../../src/imaging/values.ts';
import { phantom, phantomFile } from './results.ts';
import { scan, scratch, tool } from './support.ts';

test('dciodvfy finds no error, DCMTK renders it', (t) => {
  const directory = scratch(t);
  const file = join(directory, 'phantom.dcm');
  writeFileSync(file, phantomFile());
  const iod = tool(t, 'dciodvfy', [file]);
  const rendered = tool(t, 'dcm2pnm', [file, join(directory, 'phantom.pgm')]);
  if (!iod || !rendered) return;
  assert.deepEqual([iod.code, iod.output.match(/^Error/gm)], [0, null], iod.output);
  assert.match(iod.output, /^CRImage/m);
  assert.equal(rendered.code, 0, rendered.output);
});

test('it is marked as quality control, and routed as a chest of that age', () => {
  const source = phantom();
  const marks = [
    'QualityControlSubject',
    'QualityControlImage',
    'BurnedInAnnotation',
    'PatientName',
    'Modality',
    'BodyPartExamined',
  ] as const;
  assert.deepEqual(
    marks.map((keyword) => text(source, keyword)),
    ['YES', 'YES', 'NO', 'PHANTOM^ABATON', 'CR', 'CHEST'],
  );
  assert.equal(ageInYears(source), 4);
  assert.deepEqual(phantomFile(), phantomFile());
  assert.notEqual(scan(phantomFile()).sopInstanceUid, scan(phantomFile()).seriesInstanceUid);
});

test('lungs are dark, the spine is bright, the heart lies to the patient’s left', () => {
  const pixels = squash(toGrey8(decodeGrey(phantomFile()), { lowPercentile: 1, highPercentile: 99 }), 64, 64);
  const mean = (x0: number, x1: number, y0: number, y1: number): number => {
    let sum = 0;
    for (let y = y0; y < y1; y++) for (let x = x0; x < x1; x++) sum += pixels[y * 64 + x]!;
    return sum / ((x1 - x0) * (y1 - y0));
  };
  const rightLung = mean(14, 22, 20, 40);
  const leftLung = mean(44, 52, 20, 40);
  const spine = mean(30, 34, 10, 50);
  const air = mean(0, 4, 40, 60);
  assert.ok(
    air < rightLung && rightLung < spine - 80 && leftLung < spine - 80,
    `${air} ${rightLung} ${leftLung} ${spine}`,
  );
  assert.ok(mean(36, 44, 34, 44) > mean(20, 28, 34, 44) + 20); // the image's right is the patient's left
});
