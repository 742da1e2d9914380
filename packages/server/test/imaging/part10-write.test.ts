/** PS3.10 writer: what is written is read back, by Abaton, by pydicom and by DCMTK. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { buildDataset } from '../../src/imaging/build.ts';
import type { Dataset } from '../../src/imaging/dataset.ts';
import { toDicomJson } from '../../src/imaging/dicom-json.ts';
import { deriveUid } from '../../src/imaging/uids.ts';
import { writePart10 } from '../../src/imaging/write.ts';
import { corpus, corpusFile, outcomeOf, pydicom, RAW, runs, scan, scratch, tool } from './support.ts';

const IDENTITY = {
  SOPClassUID: RAW,
  SOPInstanceUID: '1.2.3.4',
  StudyInstanceUID: '1.2.3.1',
  SeriesInstanceUID: '1.2.3.2',
};

/** One element of each kind of VR, text of odd lengths, nested. */
const sample = (name: string): Dataset =>
  buildDataset({
    ...IDENTITY,
    PatientName: name,
    ImageType: ['DERIVED', 'SECONDARY'],
    Rows: 3,
    PixelSpacing: [0.5, 0.25],
    NumberOfFrames: 7,
    EncapsulatedDocument: Uint8Array.of(1, 2, 3, 4),
    ReferencedStudySequence: [],
    ReferencedSeriesSequence: [
      buildDataset({
        SeriesInstanceUID: '1.2.3',
        ReferencedSOPSequence: [buildDataset({ ReferencedSOPInstanceUID: '1.2' })],
      }),
      buildDataset({}),
    ],
    PatientID: '',
  });

test('written and read back: the same values', () => {
  const property = fc.property(fc.string({ unit: 'grapheme-ascii', maxLength: 64 }), (name) => {
    const dataset = sample(name);
    const header = scan(writePart10(dataset));
    assert.equal(header.sopInstanceUid, '1.2.3.4');
    assert.deepEqual(toDicomJson(header.dataset), toDicomJson(dataset));
  });
  fc.assert(property, runs());
});

test('the headers of the corpus survive: scan, write, scan', (t) => {
  const rows = corpus(t)?.filter(
    ({ file, group }) => group === 'nonimage' && outcomeOf([corpusFile(file!)]) === 'read',
  );
  if (!rows) return;
  let files = 0;
  for (const { file } of rows) {
    const { dataset, pixelData } = scan(corpusFile(file!));
    if (pixelData) continue;
    assert.deepEqual(toDicomJson(scan(writePart10(dataset)).dataset), toDicomJson(dataset), file);
    files++;
  }
  assert.ok(files >= 6, String(files));
});

test('pydicom and dcmdump read it', (t) => {
  const file = join(scratch(t), 'written.dcm');
  writeFileSync(file, writePart10(sample('Odd')));
  const script = `
d = pydicom.dcmread(sys.argv[1])
print(d.file_meta.MediaStorageSOPInstanceUID, d.PatientName, [float(x) for x in d.PixelSpacing], d.Rows, int(d.NumberOfFrames),
      d.ReferencedSeriesSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID, len(d.ReferencedSeriesSequence))`;
  const read = pydicom(t, script, [file]);
  if (!read) return;
  assert.equal(read.output.trim(), '1.2.3.4 Odd [0.5, 0.25] 3 7 1.2 2');
  const dump = tool(t, 'dcmdump', [file]);
  assert.equal(dump?.code, 0, dump?.output);
  assert.doesNotMatch(dump!.output, /^[EW]: /m);
});

test('UIDs that follow from their names: valid, and another name gives another', () => {
  const property = fc.property(fc.array(fc.string(), { minLength: 1 }), (parts) => {
    const uid = deriveUid(...parts);
    assert.match(uid, /^2\.25\.[1-9]\d{0,38}$/);
    assert.equal(deriveUid(...parts), uid);
    assert.notEqual(deriveUid(...parts, ''), uid);
  });
  fc.assert(property, runs());
  assert.notEqual(deriveUid('a', 'b'), deriveUid('ab'));
});
