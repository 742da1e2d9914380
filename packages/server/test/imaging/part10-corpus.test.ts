/** PS3.10 files of the shared corpus: each is read as manifest.csv describes it, or refused by the name in the table. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { DICOM_FAILURES } from '../../src/imaging/dicom-failures.ts';
import { number, text } from '../../src/imaging/values.ts';
import { type CorpusRow, corpus, corpusFile, corpusPath, inPieces, outcomeOf, pydicom, scan } from './support.ts';

/** file → [code, why it is right to refuse it] */
const REFUSALS: Record<string, [code: string, why: string]> = JSON.parse(
  readFileSync(new URL('../vectors/dicom-refusals.json', import.meta.url), 'utf8'),
);

/** PS3.6 Table A-1: the names that manifest.csv uses. */
const SOP_CLASSES: Record<string, string> = {
  'Secondary Capture Image Storage': '7',
  'Computed Radiography Image Storage': '1',
  'CT Image Storage': '2',
  'Enhanced CT Image Storage': '2.1',
  'MR Image Storage': '4',
  'Enhanced MR Image Storage': '4.1',
  'Ultrasound Image Storage': '6.1',
  'Ultrasound Multi-frame Image Storage': '3.1',
  'Nuclear Medicine Image Storage': '20',
  'RT Dose Storage': '481.2',
  'Segmentation Storage': '66.4',
  'Parametric Map Storage': '30',
  'Basic Text SR Storage': '88.11',
  'Enhanced SR Storage': '88.22',
  'Comprehensive SR Storage': '88.33',
  '12-lead ECG Waveform Storage': '9.1.1',
};

/** The manifest cuts what it has no name for, a private UID, to 40 characters. US has a retired UID besides. */
const nameOf = (uid: string): string =>
  uid === '1.2.840.10008.5.1.4.1.1.6'
    ? 'Ultrasound Image Storage'
    : (Object.keys(SOP_CLASSES).find((name) => uid === `1.2.840.10008.5.1.4.1.1.${SOP_CLASSES[name]}`) ??
      uid.slice(0, 40));

function facts(row: CorpusRow) {
  const [bitsAllocated = '', bitsStored = ''] = (row.bits_alloc_stored ?? '').split('/');
  return {
    transferSyntaxUid: row.transfer_syntax_uid,
    sopClass: row.sop_class,
    modality: row.modality,
    rows: row.rows,
    columns: row.cols,
    frames: row.frames,
    bitsAllocated,
    bitsStored,
    photometric: row.photometric,
    totalBytes: row.bytes,
  };
}

test('each of the 182 files is read as described, or refused by name', (t) => {
  const rows = corpus(t);
  if (!rows) return;
  assert.equal(rows.length, 182);
  const refused: string[] = [];
  for (const row of rows) {
    const file = row.file!;
    const expected = REFUSALS[file];
    if (expected) {
      assert.throws(() => scan(corpusFile(file)), { code: expected[0] }, file);
      refused.push(file);
      continue;
    }
    const header = scan(corpusFile(file));
    const shown = (keyword: Parameters<typeof number>[1]) => String(number(header.dataset, keyword) ?? '');
    const read = {
      transferSyntaxUid: header.transferSyntaxUid,
      sopClass: nameOf(header.sopClassUid),
      modality: text(header.dataset, 'Modality'),
      rows: shown('Rows'),
      columns: shown('Columns'),
      frames: shown('NumberOfFrames'),
      bitsAllocated: shown('BitsAllocated'),
      bitsStored: shown('BitsStored'),
      photometric: text(header.dataset, 'PhotometricInterpretation'),
      totalBytes: String(header.totalBytes),
    };
    assert.deepEqual(read, facts(row), file);
  }
  assert.deepEqual(refused.toSorted(), Object.keys(REFUSALS).toSorted());
});

test('every refusal has a code of the table, and its own Failure Reason', () => {
  for (const [file, [code]] of Object.entries(REFUSALS)) assert.ok(code in DICOM_FAILURES, file);
  const reasons = Object.values(DICOM_FAILURES).map(({ reason }) => reason);
  assert.equal(new Set(reasons).size, reasons.length);
});

test('the malformed files end at once, within 64 MB, whether they come whole or byte by byte', (t) => {
  const rows = corpus(t)?.filter(({ group }) => group === 'malformed');
  if (!rows) return;
  assert.equal(rows.length, 15);
  const before = process.memoryUsage().rss;
  for (const { file } of rows) {
    const bytes = corpusFile(file!);
    for (const size of [bytes.length, 1])
      assert.equal(outcomeOf(inPieces(bytes, size)), REFUSALS[file!]?.[0] ?? 'read', file);
  }
  assert.ok(process.memoryUsage().rss - before < 64 * 2 ** 20);
});

test('pydicom reads the same values', (t) => {
  const rows = corpus(t)?.filter(({ file }) => !(file! in REFUSALS) && !file!.startsWith('series/'));
  if (!rows) return;
  const script = `
import json
out = {}
for f in sys.argv[1:]:
    d = pydicom.dcmread(f, force=True, stop_before_pixels=True)
    out[f] = [str(d.get(k, '') or '') for k in ('SOPInstanceUID', 'StudyInstanceUID', 'SeriesInstanceUID')] + sorted(
        '%08x' % e.tag for e in d if e.tag.element != 0 and e.tag < 0x7fe00008)
print(json.dumps(out))`;
  const answer = pydicom(
    t,
    script,
    rows.map(({ file }) => corpusPath(file!)),
  );
  if (!answer) return;
  assert.equal(answer.code, 0, answer.output);
  const theirs: Record<string, string[]> = JSON.parse(answer.output);
  for (const { file } of rows) {
    const header = scan(corpusFile(file!));
    const tags = [...header.dataset.keys()].filter((tag) => (tag & 0xffff) !== 0);
    const ours = [
      header.sopInstanceUid,
      header.studyInstanceUid,
      header.seriesInstanceUid,
      ...tags.map((tag) => tag.toString(16).padStart(8, '0')).sort(),
    ];
    assert.deepEqual(ours, theirs[corpusPath(file!)], file);
  }
});
