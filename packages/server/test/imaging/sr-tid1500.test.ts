/** The SR against readers that nobody here wrote: dciodvfy (IOD), DicomSRValidator (TID 1500), dsrdump, pydicom. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { AnalysisResult } from '../../src/imaging/analysis.ts';
import { buildDataset } from '../../src/imaging/build.ts';
import type { Dataset } from '../../src/imaging/dataset.ts';
import { buildSr } from '../../src/imaging/sr.ts';
import { text } from '../../src/imaging/values.ts';
import { OUTCOMES, phantom, resultFor } from './results.ts';
import { corpus, corpusFile, corpusPath, pydicom, scan, scratch, tool } from './support.ts';

/** imaging.md: without the options it dies with JAXP0801003. Its exit code is 0 even with errors. */
const JAVA = {
  JAVA_TOOL_OPTIONS: ['xpathTotalOpLimit', 'xpathExprOpLimit', 'xpathExprGrpLimit']
    .map((o) => `-Djdk.xml.${o}=0`)
    .join(' '),
};

const errorsIn = (output: string): string[] => output.split('\n').filter((line) => /^(Error|E:|F:)/.test(line));

/** The SR as a file; returns its path. */
function write(t: TestContext, result: AnalysisResult, source: Dataset): string {
  const file = join(scratch(t), 'sr.dcm');
  writeFileSync(file, buildSr(result, { dataset: source }).part10);
  return file;
}

test('no error in any outcome: dciodvfy and dsrdump', (t) => {
  const source = phantom();
  for (const outcome of OUTCOMES) {
    const file = write(t, resultFor(source, outcome), source);
    const iod = tool(t, 'dciodvfy', [file]);
    const tree = tool(t, 'dsrdump', [file]);
    if (!iod || !tree) return;
    assert.deepEqual([iod.code, errorsIn(iod.output)], [0, []], outcome);
    assert.match(iod.output, /^Comprehensive3DSR/m);
    assert.deepEqual([tree.code, errorsIn(tree.output)], [0, []], outcome);
  }
});

test('no error in TID 1500: DicomSRValidator', (t) => {
  const source = phantom();
  // 5 s each: the outcomes without a score share one tree.
  for (const outcome of process.env.SLOW ? OUTCOMES : (['scored'] as const)) {
    const answer = tool(t, 'DicomSRValidator', [write(t, resultFor(source, outcome), source)], JAVA);
    if (!answer) return;
    assert.match(answer.output, /Found Root Template TID_1500/);
    assert.match(answer.output, /IOD validation complete/);
    assert.deepEqual(
      answer.output.split('\n').filter((line) => /^(Error|Warning)/.test(line)),
      [],
      outcome,
    );
  }
});

test('the validators do find what is wrong', (t) => {
  const source = phantom();
  const { part10 } = buildSr(resultFor(source, 'scored'), { dataset: source });
  const broken = join(scratch(t), 'broken.dcm');
  // An enumerated value that does not exist, and a procedure that is not in CID 100.
  const bytes = Buffer.from(part10)
    .toString('latin1')
    .replace('UNVERIFIED', 'UNVERIFYED')
    .replace('363679005', '363679006');
  writeFileSync(broken, bytes, 'latin1');
  const iod = tool(t, 'dciodvfy', [broken]);
  const template = tool(t, 'DicomSRValidator', [broken], JAVA);
  if (!iod || !template) return;
  assert.notDeepEqual(errorsIn(iod.output), []);
  assert.notDeepEqual(errorsIn(template.output), []);
});

test('pydicom reads what must be in it', (t) => {
  const source = phantom();
  const result = resultFor(source, 'scored');
  const script = `
import json
d = pydicom.dcmread(sys.argv[1])
found = {}
def walk(items):
    for i in items:
        name = i.ConceptNameCodeSequence[0].CodeMeaning if 'ConceptNameCodeSequence' in i else ''
        value = i.get('TextValue') or i.get('UID')
        if i.ValueType == 'CODE': value = i.ConceptCodeSequence[0].CodeMeaning
        if i.ValueType == 'NUM': value = str(i.MeasuredValueSequence[0].NumericValue) + ' ' + i.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue
        if i.ValueType == 'IMAGE': value = i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        if value: found[name] = str(value)
        walk(i.get('ContentSequence', []))
walk(d.ContentSequence)
found['flags'] = ' '.join([d.CompletionFlag, d.VerificationFlag, d.PreliminaryFlag, d.Modality])
found['patient'] = ' '.join([str(d.PatientName), d.PatientID, d.PatientAge, d.QualityControlSubject, d.StudyInstanceUID])
e = d.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
found['evidence'] = e.SeriesInstanceUID + ' ' + e.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
print(json.dumps(found))`;
  const answer = pydicom(t, script, [write(t, result, source)]);
  if (!answer) return;
  const found: Record<string, string> = JSON.parse(answer.output);
  const expected: Record<string, string> = {
    flags: 'COMPLETE UNVERIFIED PRELIMINARY SR',
    patient: 'PHANTOM^ABATON PHANTOM 004Y YES 2.25.123456789',
    evidence: `${text(source, 'SeriesInstanceUID')} ${text(source, 'SOPInstanceUID')}`,
    '': text(source, 'SOPInstanceUID'),
    'Source of Measurement': text(source, 'SOPInstanceUID'),
    'Uncalibrated classifier score, 0 to 1': '0.7312 1',
    'Operating point of the score': '0.4125 1',
    'Score at or above the operating point': 'Yes',
    'Finding that the score is for': 'Pneumonia',
    Finding: 'Pneumonia',
    'Algorithm Name': 'chest-xray-ai',
    'Algorithm Version': '1.0.0',
    'Algorithm Parameters': `model-digest=${'d2'.repeat(32)}`,
    'Status of this result': 'reference model, not for clinical use',
    'Digest of the model': 'd2'.repeat(32),
    'Hash of the attested code': `sha256:${'c4'.repeat(32)}`,
    'Attestation evidence that was valid then': 'e5'.repeat(32),
    'Outcome of the analysis': 'Scored',
  };
  for (const [name, value] of Object.entries(expected)) assert.equal(found[name], value, name);
});

/** Concept meanings and values in the order of the tree, as dsrdump shows them. */
const words = (result: AnalysisResult, source = phantom()): string =>
  Buffer.from(buildSr(result, { dataset: source }).part10).toString('latin1');

test('outcomes look different, and only a score is a number or a finding', () => {
  const source = phantom();
  const documents = OUTCOMES.map((outcome) => words(resultFor(source, outcome)));
  assert.equal(new Set(documents).size, OUTCOMES.length);
  for (const [i, document] of documents.entries()) {
    const scored = OUTCOMES[i] === 'scored';
    assert.equal(document.includes('NUM '), scored, OUTCOMES[i]);
    assert.equal(document.includes('Pneumonia'), scored, OUTCOMES[i]);
    assert.equal(document.includes('COMPLETE'), scored, OUTCOMES[i]);
    assert.ok(document.includes('UNVERIFIED'));
  }
  const finding = resultFor(source, 'scored').finding!;
  const asserted = (about: Partial<AnalysisResult>) => words(resultFor(source, 'scored', about)).includes('121071');
  assert.ok(asserted({}));
  assert.ok(!asserted({ finding: { ...finding, score: 0.1, aboveOperatingPoint: false } }));
  assert.ok(!asserted({ demonstration: true, label: 'demonstration, not a finding' }));
});

test('the same result gives the same bytes; another id, other UIDs; the same study, a new series', () => {
  const source = phantom();
  const one = buildSr(resultFor(source, 'scored'), { dataset: source });
  assert.deepEqual(buildSr(resultFor(source, 'scored'), { dataset: source }), one);
  const other = buildSr(resultFor(source, 'scored', { id: 'a2'.repeat(32) }), { dataset: source });
  assert.notEqual(other.header.sopInstanceUid, one.header.sopInstanceUid);
  assert.notEqual(other.header.seriesInstanceUid, one.header.seriesInstanceUid);
  assert.equal(one.header.studyInstanceUid, text(source, 'StudyInstanceUID'));
  assert.notEqual(one.header.seriesInstanceUid, text(source, 'SeriesInstanceUID'));
  assert.equal(one.header.patientId, 'PHANTOM');
});

test('content times are in the zone of the source', () => {
  const source = phantom();
  const at = (offset: string | undefined) => {
    const zoned = buildDataset(
      { TimezoneOffsetFromUTC: offset },
      [...source.values()].filter(({ tag }) => tag !== 0x00080201),
    );
    const { dataset } = buildSr(resultFor(zoned, 'scored'), { dataset: zoned }).header;
    return [text(dataset, 'ContentDate'), text(dataset, 'ContentTime'), text(dataset, 'TimezoneOffsetFromUTC')].join(
      ' ',
    );
  };
  assert.equal(at('+0000'), '20261124 223005 +0000');
  assert.equal(at('+0530'), '20261125 040005 +0530');
  assert.equal(at('-0800'), '20261124 143005 -0800');
  assert.equal(at(undefined), '20261124 223005 ');
});

test('real headers: character sets and study attributes survive, and add no error of their own', (t) => {
  if (!corpus(t)) return;
  const files = [
    'charset/pydicom__chrH31.dcm',
    'charset/pydicom__chrX1.dcm',
    'charset/pydicom__chrRuss.dcm',
    'cxr/pydicomdata__RG1_J2KI.dcm',
    'cxr/presidio__0_ORIGINAL_compressed.dcm',
    'series/head-ct-ge-tilt/qact__01.dcm',
    'pydicom-small/pydicom__MR_small_implicit.dcm',
  ];
  for (const name of files) {
    const source = scan(corpusFile(name)).dataset;
    const { header } = buildSr(resultFor(source, 'scored'), { dataset: source });
    assert.equal(text(header.dataset, 'PatientName'), text(source, 'PatientName'), name);
    const iod = tool(t, 'dciodvfy', [write(t, resultFor(source, 'scored'), source)]);
    const input = tool(t, 'dciodvfy', [corpusPath(name)]);
    if (!iod || !input) return;
    const inherited = new Set(errorsIn(input.output));
    assert.deepEqual(
      errorsIn(iod.output).filter((line) => !inherited.has(line)),
      [],
      name,
    );
  }
});
