/** PS3.10 files that were built to be refused: each by its own name, at once, in bounded memory, and telling nothing. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { constants, deflateRawSync } from 'node:zlib';
import fc from 'fast-check';
import { DICOM_FAILURES, DicomError } from '../../src/imaging/dicom-failures.ts';
import { createScanner } from '../../src/imaging/scan.ts';
import {
  delimiter,
  element,
  fileHead,
  goodDataSet,
  goodFile,
  hierarchy,
  ITEM,
  ITEM_END,
  identity,
  imagePixel,
  inPieces,
  outcomeOf,
  rawHead,
  runs,
  SC,
  SEQUENCE_END,
  scan,
  scanPieces,
  UNDEFINED,
} from './support.ts';

const DEFLATED = '1.2.840.10008.1.2.1.99';
const JPEG = '1.2.840.10008.1.2.4.50';
const image = (...parts: Buffer[]) => Buffer.concat([fileHead(), identity(), hierarchy(), ...parts]);
const pixels = (bytes: number) => element(0x7fe00010, 'OB', Buffer.alloc(bytes));
const encapsulated = (...parts: Buffer[]) =>
  Buffer.concat([fileHead(JPEG), identity(), hierarchy(), ...parts, element(0x7fe00010, 'OB', '', UNDEFINED)]);
const fragment = (bytes: number) => Buffer.concat([delimiter(ITEM, bytes), Buffer.alloc(bytes)]);
const end = delimiter(SEQUENCE_END);
const nested = (depth: number) =>
  Buffer.concat([
    ...Array.from({ length: depth }, () =>
      Buffer.concat([element(0x0040a730, 'SQ', '', UNDEFINED), delimiter(ITEM, UNDEFINED)]),
    ),
    ...Array.from({ length: depth }, () => Buffer.concat([delimiter(ITEM_END), end])),
  ]);
/** The file meta information claims that many bytes of the data set. */
const withGroupLength = (more: number) => {
  const file = goodFile();
  file.writeUInt32LE(file.readUInt32LE(140) + more, 140);
  return file;
};
const preamble = (hex: string) => Buffer.concat([fileHead(undefined, Buffer.from(hex, 'hex')), goodDataSet()]);

const ACCEPTED: Record<string, Buffer> = {
  'a good file': goodFile(),
  'a TIFF preamble': preamble('49492a0008000000'),
  'a deflated data set': Buffer.concat([fileHead(DEFLATED), deflateRawSync(goodDataSet())]),
  'a deflated data set, padded': Buffer.concat([fileHead(DEFLATED), deflateRawSync(goodDataSet()), Buffer.alloc(1)]),
  'fragments for each frame': Buffer.concat([
    encapsulated(imagePixel(4, 6, 8, '2')),
    fragment(0),
    fragment(8),
    fragment(6),
    end,
  ]),
  '64 nested sequences': Buffer.concat([rawHead(), hierarchy(), nested(64)]),
  'pixels padded to an even length': image(imagePixel(3, 3), pixels(10)),
  'a private SOP Class': Buffer.concat([
    fileHead(undefined, undefined, '').subarray(0, 132),
    // file meta information without the SOP Class, which then cannot contradict the data set
    Buffer.from('02000000554c04001c000000', 'hex'),
    element(0x00020010, 'UI', '1.2.840.10008.1.2.1'),
    element(0x00080016, 'UI', '1.3.46.670589.5.0.1'),
    element(0x00080018, 'UI', '1.2.3.4'),
    hierarchy(),
  ]),
};

const REFUSED: Record<string, [code: keyof typeof DICOM_FAILURES, file: Buffer]> = {
  empty: ['DICOM_NOT', Buffer.alloc(0)],
  'a web page': ['DICOM_NOT', Buffer.from('<html>'.padEnd(400))],
  'an ELF program': ['DICOM_NOT', Buffer.from('7f454c46'.padEnd(400, '0'), 'hex')],
  'a bare data set, explicit': ['DICOM_FILE_META_MISSING', goodDataSet()],
  'a bare data set, implicit': [
    'DICOM_FILE_META_MISSING',
    Buffer.from('080005000a00000049534f5f49522031303020'.padEnd(400, '0'), 'hex'),
  ],
  'file meta information without preamble': ['DICOM_FILE_META_MISSING', goodFile().subarray(132)],
  'a wrong group length': ['DICOM_FILE_META_WRONG', withGroupLength(element(0x00080016, 'UI', SC).length)],
  'no group length': ['DICOM_FILE_META_WRONG', Buffer.concat([goodFile().subarray(0, 132), goodFile().subarray(144)])],
  'no transfer syntax': ['DICOM_TRANSFER_SYNTAX_MISSING', Buffer.concat([fileHead(''), goodDataSet()])],
  'an unknown transfer syntax': [
    'DICOM_TRANSFER_SYNTAX_UNKNOWN',
    Buffer.concat([fileHead('1.2.840.10008.1.2.4.9999'), goodDataSet()]),
  ],
  'a PE preamble': ['DICOM_PREAMBLE_EXECUTABLE', preamble('4d5a9000')],
  'an ELF preamble': ['DICOM_PREAMBLE_EXECUTABLE', preamble('7f454c460201')],
  'a Mach-O preamble': ['DICOM_PREAMBLE_EXECUTABLE', preamble('cffaedfe')],
  'a script preamble': ['DICOM_PREAMBLE_EXECUTABLE', preamble(Buffer.from('#!/bin/sh\n').toString('hex'))],
  'another preamble': ['DICOM_PREAMBLE_UNKNOWN', preamble('00000001')],
  'a DICOMDIR': [
    'DICOM_SOP_CLASS_UNSUPPORTED',
    Buffer.from(
      goodFile().toString('latin1').replace('1.2.840.10008.5.1.4.1.1.7\0', '1.2.840.10008.1.3.10\0\0\0\0\0\0'),
      'latin1',
    ),
  ],
  'another instance in the file meta information': [
    'DICOM_IDENTITY_WRONG',
    Buffer.concat([fileHead(undefined, undefined, '1.2.3.5'), goodDataSet()]),
  ],
  'a UID that is none': [
    'DICOM_IDENTITY_WRONG',
    Buffer.concat([fileHead(undefined, undefined, '1.2.x'), identity('1.2.x'), hierarchy()]),
  ],
  'no Study Instance UID': [
    'DICOM_IDENTITY_MISSING',
    Buffer.concat([fileHead(), identity(), element(0x0020000e, 'UI', '1.2')]),
  ],
  'no identity at all': ['DICOM_IDENTITY_MISSING', fileHead()],
  'the wrong length for its pixels': ['DICOM_PIXELS_LENGTH_WRONG', image(imagePixel(4, 6), pixels(26))],
  'pixels that are too few': ['DICOM_PIXELS_LENGTH_WRONG', image(imagePixel(4, 6), pixels(22))],
  'pixels for one of two frames': ['DICOM_PIXELS_LENGTH_WRONG', image(imagePixel(4, 6, 8, '2'), pixels(24))],
  'an image without pixels': ['DICOM_PIXELS_MISSING', image(imagePixel(4, 6))],
  'one fragment for two frames': [
    'DICOM_PIXELS_MISSING',
    Buffer.concat([encapsulated(imagePixel(4, 6, 8, '2')), fragment(0), fragment(8), end]),
  ],
  'huge Rows × Columns': ['DICOM_PIXELS_IMPLAUSIBLE', image(imagePixel(65_535, 65_535), pixels(24))],
  'huge Rows × Columns, compressed': [
    'DICOM_PIXELS_IMPLAUSIBLE',
    Buffer.concat([encapsulated(imagePixel(65_535, 65_535)), fragment(0), fragment(8), end]),
  ],
  'no rows': ['DICOM_PIXELS_IMPLAUSIBLE', image(imagePixel(0, 6), pixels(24))],
  'a negative number of frames': ['DICOM_PIXELS_IMPLAUSIBLE', image(imagePixel(4, 6, 8, '-1'), pixels(24))],
  '17 bits': ['DICOM_PIXELS_IMPLAUSIBLE', image(imagePixel(4, 6, 17), pixels(24))],
  'fragments under a native syntax': [
    'DICOM_ENCAPSULATION_WRONG',
    image(imagePixel(4, 6), element(0x7fe00010, 'OB', '', UNDEFINED), fragment(0), fragment(8), end),
  ],
  'native pixels under a compressed syntax': [
    'DICOM_ENCAPSULATION_WRONG',
    Buffer.concat([fileHead(JPEG), identity(), hierarchy(), imagePixel(4, 6), pixels(24)]),
  ],
  'fragments without their end': [
    'DICOM_TRUNCATED',
    Buffer.concat([encapsulated(imagePixel(4, 6)), fragment(0), fragment(8)]),
  ],
  'a fragment of undefined length': [
    'DICOM_LENGTH_WRONG',
    Buffer.concat([encapsulated(imagePixel(4, 6)), fragment(0), delimiter(ITEM, UNDEFINED)]),
  ],
  'an element among fragments': [
    'DICOM_STRUCTURE_WRONG',
    Buffer.concat([encapsulated(imagePixel(4, 6)), fragment(0), element(0x00080005, 'CS', 'ISO_IR 6')]),
  ],
  'a value past the end of its item': [
    'DICOM_LENGTH_WRONG',
    Buffer.concat([
      fileHead(),
      identity(),
      element(0x00081140, 'SQ', Buffer.concat([delimiter(ITEM, 8), element(0x00081150, 'UI', '1.2', 900)])),
    ]),
  ],
  'an item past the end of its sequence': [
    'DICOM_LENGTH_WRONG',
    Buffer.concat([fileHead(), identity(), element(0x00081140, 'SQ', delimiter(ITEM, 800)), hierarchy()]),
  ],
  'text of undefined length': [
    'DICOM_LENGTH_WRONG',
    Buffer.concat([fileHead(), identity(), element(0x00091010, 'UT', '', UNDEFINED)]),
  ],
  'a delimiter without a sequence': ['DICOM_STRUCTURE_WRONG', Buffer.concat([fileHead(), identity(), end])],
  'pixel data twice, as floats and as words': [
    'DICOM_STRUCTURE_WRONG',
    image(imagePixel(4, 6, 32), element(0x7fe00008, 'OF', Buffer.alloc(96)), pixels(96)),
  ],
  'a group of commands': ['DICOM_STRUCTURE_WRONG', Buffer.concat([fileHead(), element(0x00000002, 'UI', '1.2')])],
  'an element twice': [
    'DICOM_ORDER_WRONG',
    Buffer.concat([fileHead(), identity(), element(0x00100020, 'LO', 'A'), element(0x00100020, 'LO', 'B')]),
  ],
  'a second patient behind the pixels': [
    'DICOM_ORDER_WRONG',
    Buffer.concat([goodFile(), element(0x00100020, 'LO', 'B')]),
  ],
  'a VR of two spaces': ['DICOM_VR_WRONG', Buffer.concat([fileHead(), identity(), element(0x00100020, '  ', 'A')])],
  'nested 65 deep': ['DICOM_TOO_DEEP', Buffer.concat([fileHead(), identity(), hierarchy(), nested(65)])],
  'nested 100,000 deep': ['DICOM_TOO_DEEP', Buffer.concat([fileHead(), identity(), hierarchy(), nested(100_000)])],
  'a deflated data set that is cut': [
    'DICOM_TRUNCATED',
    Buffer.concat([fileHead(DEFLATED), deflateRawSync(goodDataSet()).subarray(0, -3)]),
  ],
  'nothing after the file meta information of a deflated file': ['DICOM_TRUNCATED', fileHead(DEFLATED)],
  'a deflated data set that is none': [
    'DICOM_DEFLATE_CORRUPT',
    Buffer.concat([fileHead(DEFLATED), Buffer.alloc(40, 0xff)]),
  ],
  'a file behind the deflated data set': [
    'DICOM_DEFLATE_CORRUPT',
    Buffer.concat([fileHead(DEFLATED), deflateRawSync(goodDataSet()), Buffer.alloc(64)]),
  ],
  'a cut data set, whole deflate stream': [
    'DICOM_TRUNCATED',
    Buffer.concat([fileHead(DEFLATED), deflateRawSync(goodDataSet().subarray(0, -3))]),
  ],
  'a deflate bomb': [
    'DICOM_DEFLATE_BOMB',
    Buffer.concat([
      fileHead(DEFLATED),
      deflateRawSync(Buffer.concat([identity(), element(0x00091010, 'OB', Buffer.alloc(2 ** 26))]), {
        level: constants.Z_BEST_COMPRESSION,
      }),
    ]),
  ],
};

test('what is good is read', () => {
  for (const [name, file] of Object.entries(ACCEPTED)) assert.equal(outcomeOf([file]), 'read', name);
});

test('what is bad is refused by its own name, whole and in pieces of 7 bytes', () => {
  for (const [name, [code, file]] of Object.entries(REFUSED)) {
    assert.equal(outcomeOf([file]), code, name);
    if (file.length < 10_000) assert.equal(outcomeOf(inPieces(file, 7)), code, `${name}, in pieces`);
  }
  const untested = Object.keys(DICOM_FAILURES).filter(
    (code) => !Object.values(REFUSED).some(([tested]) => tested === code),
  );
  assert.deepEqual(untested, ['DICOM_TOO_LARGE', 'DICOM_HEADER_TOO_LARGE', 'STUDY_MISMATCH', 'DUPLICATE_INSTANCE']);
});

test('limits: the instance, the header; a long value is left out, and so is a sequence that does not fit', () => {
  assert.equal(outcomeOf([goodFile()], { maxInstanceBytes: goodFile().length }), 'read');
  assert.equal(outcomeOf([goodFile()], { maxInstanceBytes: goodFile().length - 1 }), 'DICOM_TOO_LARGE');
  assert.equal(outcomeOf([goodFile()], { maxHeaderBytes: 1000 }), 'DICOM_HEADER_TOO_LARGE');
  assert.equal(scan(goodFile(), { maxValueBytes: 32 }).patientId, 'CANARY-ID');
  assert.ok(scan(goodFile()).dataset.has(0x00081140));

  const long = Buffer.concat([rawHead(), element(0x00091010, 'OB', Buffer.alloc(2000)), hierarchy()]);
  assert.ok(scan(long).dataset.has(0x00091010));
  assert.ok(!scan(long, { maxValueBytes: 1999 }).dataset.has(0x00091010));

  const item = Buffer.concat([delimiter(ITEM, 16), element(0x00081150, 'UI', '1.2.3.45')]);
  const many = Buffer.concat([rawHead(), element(0x00081140, 'SQ', Buffer.concat(Array(100).fill(item))), hierarchy()]);
  const kept = scan(many).dataset.get(0x00081140)?.value;
  assert.equal(Array.isArray(kept) && kept.length, 100);
  const header = scan(many, { maxHeaderBytes: 20_000 });
  assert.ok(!header.dataset.has(0x00081140) && header.studyInstanceUid === '1.2.3.1');
});

test('cut at any offset, nothing is read', () => {
  const trailing = element(0xfffcfffc, 'OB', Buffer.alloc(10)).length;
  for (const [name, file] of Object.entries(ACCEPTED)) {
    if (name === 'a private SOP Class' || name.startsWith('64') || name.includes('padded')) continue;
    for (let length = 0; length < file.length; length++) {
      // Without its trailing padding the file is whole.
      if (name !== 'fragments for each frame' && length === file.length - trailing) continue;
      assert.notEqual(outcomeOf([file.subarray(0, length)]), 'read', `${name}: ${length} of ${file.length}`);
    }
  }
});

test('the split into chunks changes nothing: the header, and the refusal', () => {
  const files = [...Object.values(ACCEPTED), ...Object.values(REFUSED).map(([, file]) => file)].filter(
    (f) => f.length < 10_000,
  );
  const property = fc.property(fc.constantFrom(...files), fc.array(fc.integer({ min: 0, max: 400 })), (file, sizes) => {
    const pieces: Buffer[] = [];
    let at = 0;
    for (const size of sizes) {
      pieces.push(file.subarray(at, at + size));
      at += size;
    }
    pieces.push(file.subarray(at));
    const whole = outcomeOf([file]);
    assert.equal(outcomeOf(pieces), whole);
    if (whole === 'read') assert.deepEqual(scanPieces(pieces), scan(file));
  });
  fc.assert(property, { numRuns: process.env.SLOW ? 10_000 : 300 });
});

test('changed bytes end as a header or a DicomError, and never as anything else', () => {
  const change = fc.tuple(fc.integer({ min: 0, max: goodFile().length - 1 }), fc.integer({ min: 0, max: 255 }));
  const property = fc.property(
    fc.constantFrom(...Object.values(ACCEPTED)),
    fc.array(change, { minLength: 1 }),
    (good, changes) => {
      const file = Buffer.from(good);
      for (const [at, byte] of changes) if (at < file.length) file[at] = byte;
      outcomeOf([file]);
    },
  );
  fc.assert(property, { numRuns: process.env.SLOW ? 100_000 : 1000 });
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 2000 }), (bytes) => void outcomeOf([bytes])),
    runs(),
  );
});

test('what a refused file has said about itself can be reported, and its error says nothing of it', () => {
  const scanner = createScanner();
  const cut = goodFile().subarray(0, -40);
  const refuse = () => {
    scanner.push(cut);
    scanner.end();
  };
  assert.throws(refuse, (error: unknown) => {
    assert.ok(error instanceof DicomError);
    assert.equal(error.failureReason, DICOM_FAILURES.DICOM_TRUNCATED.reason);
    assert.doesNotMatch(`${error.message}${error.stack}`, /CANARY|1\.2\.3\.\d/);
    return true;
  });
  assert.equal(scanner.reference().sopInstanceUid, '1.2.3.4');
  assert.equal(scanner.reference().studyInstanceUid, '1.2.3.1');
  assert.throws(() => scanner.push(Buffer.alloc(1)), { code: 'DICOM_TRUNCATED' });
});

/** name → how it must end. The bound is the one of the door (96 MB), of which V8's young generation takes up to 48. */
const STREAMS: Record<string, string> = {
  '2 GB of pixels': 'read',
  '2 GB in one fragment': 'read',
  '4,000,000 fragments without bytes': 'read',
  'a value of 4 GB in the header': 'DICOM_TRUNCATED',
  'endless elements': 'DICOM_HEADER_TOO_LARGE',
  'endless items': 'read',
  '100,000 nested sequences': 'DICOM_TOO_DEEP',
  'deflate bomb': 'DICOM_DEFLATE_BOMB',
  'a byte at a time': 'read',
  'huge Rows × Columns': 'DICOM_PIXELS_IMPLAUSIBLE',
};

test('memory stays within 96 MB whatever is sent', () => {
  const probe = fileURLToPath(new URL('memory-probe.ts', import.meta.url));
  for (const [name, expected] of Object.entries(STREAMS)) {
    const { outcome, grownBytes } = JSON.parse(
      execFileSync(process.execPath, [probe, name], { encoding: 'utf8', timeout: 120_000 }),
    );
    assert.equal(outcome, expected, name);
    assert.ok(grownBytes < 96 * 2 ** 20, `${name}: ${grownBytes} bytes`);
  }
});
