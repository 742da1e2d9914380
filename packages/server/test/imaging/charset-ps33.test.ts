/** PS3.3 C.12.1.1.2: patient names in the character sets of the corpus, as pydicom reads them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeText } from '../../src/imaging/charset.ts';
import { toDicomJson } from '../../src/imaging/dicom-json.ts';
import { text } from '../../src/imaging/values.ts';
import { corpus, corpusFile, corpusPath, outcomeOf, pydicom, scan } from './support.ts';

test('the names of the corpus', (t) => {
  const files = corpus(t)
    ?.filter(
      ({ group, file }) =>
        (group === 'charset' || file!.includes('GH1301')) && outcomeOf([corpusFile(file!)]) === 'read',
    )
    .map(({ file }) => file!);
  if (!files) return;
  const script = `
import json
print(json.dumps({f: str(pydicom.dcmread(f).PatientName) for f in sys.argv[1:]}))`;
  const answer = pydicom(t, script, files.map(corpusPath));
  if (!answer) return;
  const names: Record<string, string> = JSON.parse(answer.output);
  // pydicom 2.3.1 leaves the escape sequences of this one in; the name is that of PS3.5 section K.3.
  names[corpusPath('charset/fodicom__chrGB2312.dcm')] = 'Zhang^XiaoDong=张^小东';
  assert.equal(files.length, 9);
  for (const file of files)
    assert.equal(text(scan(corpusFile(file)).dataset, 'PatientName').replace(/=$/, ''), names[corpusPath(file)], file);
});

test('bytes that no set explains become U+FFFD, and nothing throws', () => {
  assert.equal(decodeText(Buffer.from('41e9', 'hex'), []), 'A\ufffd');
  assert.equal(decodeText(Buffer.from('41e9', 'hex'), ['ISO_IR 999']), 'A\ufffd');
  assert.match(decodeText(Buffer.from('411b2442ff', 'hex'), ['', 'ISO 2022 IR 87']), /^A/);
  assert.match(decodeText(Buffer.from('1b', 'hex'), ['', 'ISO 2022 IR 87']), /^/);
});

test('an item with its own character set, in DICOM JSON', () => {
  const inner = new Map([
    [0x00080005, { tag: 0x00080005, vr: 'CS', value: Buffer.from('ISO_IR 100') }],
    [0x00100010, { tag: 0x00100010, vr: 'PN', value: Buffer.from('Jérôme', 'latin1') }],
  ]);
  const outer = new Map([
    [0x00080005, { tag: 0x00080005, vr: 'CS', value: Buffer.from('ISO_IR 192') }],
    [0x00100010, { tag: 0x00100010, vr: 'PN', value: Buffer.from('王') }],
    [0x00321064, { tag: 0x00321064, vr: 'SQ', value: [inner] }],
  ]);
  const json = toDicomJson(outer);
  assert.deepEqual(json['00100010'], { vr: 'PN', Value: [{ Alphabetic: '王' }] });
  assert.deepEqual(json['00321064']?.Value, [
    { '00080005': { vr: 'CS', Value: ['ISO_IR 192'] }, '00100010': { vr: 'PN', Value: [{ Alphabetic: 'Jérôme' }] } },
  ]);
});
