/** Pixel data of PS3.5 section 8 and Annexes A, D, G: bit-exact against known answers, DCMTK and pydicom. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeGrey, type GreyImage, UndecodableError } from '../../src/imaging/decode.ts';
import { decodeRleFrame, RleError } from '../../src/imaging/rle.ts';
import { number, text } from '../../src/imaging/values.ts';
import {
  corpus,
  corpusFile,
  corpusPath,
  delimiter,
  element,
  fileHead,
  hierarchy,
  ITEM,
  identity,
  imagePixel,
  outcomeOf,
  pydicom,
  runs,
  SEQUENCE_END,
  scan,
  scratch,
  tool,
  UNDEFINED,
} from './support.ts';

const RLE = '1.2.840.10008.1.2.5';
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const bytesOf = ({ samples }: GreyImage): Uint8Array =>
  new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength);

test('the known answer of SOURCES.md: deflated and RLE', (t) => {
  if (!corpus(t)) return;
  const known = '1bee432808f49770bbc30d904e3e744082b0ba41704d4943e7de5bcb3e3d72f9';
  const prefix = 'ts/cs3d__CTImage.dcm_';
  for (const name of [
    'DeflatedExplicitVRLittleEndianTransferSyntax_1.2.840.10008.1.2.1.99',
    `RLELosslessTransferSyntax_${RLE}`,
  ]) {
    const image = decodeGrey(corpusFile(`${prefix}${name}.dcm`));
    assert.equal(sha256(bytesOf(image)), known, name);
    assert.deepEqual([image.width, image.height, image.signed, image.intercept], [512, 512, true, -1024]);
  }
});

test('every grey 8 and 16 bit file in a syntax that is decoded: as DCMTK converts and pydicom reads it', (t) => {
  const rows = corpus(t)?.filter(
    ({ file }) => !/head-ct-ge-tilt\/qact__(?!01)/.test(file!) && outcomeOf([corpusFile(file!)]) === 'read',
  );
  if (!rows) return;
  const directory = scratch(t);
  const pairs: { file: string; converted: string; bytes: number }[] = [];
  for (const { file } of rows) {
    const { dataset, transferSyntaxUid, pixelData } = scan(corpusFile(file!));
    const bits = number(dataset, 'BitsAllocated') ?? 0;
    const grey = text(dataset, 'PhotometricInterpretation').startsWith('MONOCHROME');
    if (
      !pixelData ||
      !grey ||
      ![8, 16].includes(bits) ||
      (pixelData.length === 'encapsulated' && transferSyntaxUid !== RLE)
    )
      continue;
    const converted = join(directory, `${pairs.length}.dcm`);
    const [command, ...args] = transferSyntaxUid === RLE ? ['dcmdrle'] : ['dcmconv', '+te'];
    const answer = tool(t, command!, [...args, corpusPath(file!), converted]);
    if (!answer) return;
    assert.equal(answer.code, 0, `${file}: ${answer.output}`);
    const bytes = (number(dataset, 'Rows')! * number(dataset, 'Columns')! * bits) / 8;
    pairs.push({ file: file!, converted, bytes });
  }
  const script = `
import hashlib
for a in sys.argv[1:]:
    f, n = a.split('=')
    print(hashlib.sha256(pydicom.dcmread(f).PixelData[:int(n)]).hexdigest())`;
  const answer = pydicom(
    t,
    script,
    pairs.map(({ converted, bytes }) => `${converted}=${bytes}`),
  );
  if (!answer) return;
  const theirs = answer.output.trim().split('\n');
  for (const [i, { file }] of pairs.entries())
    assert.equal(sha256(bytesOf(decodeGrey(corpusFile(file)))), theirs[i], file);
  assert.equal(pairs.length, 26);
});

test('what is not decoded says which format it has', (t) => {
  if (!corpus(t)) return;
  const cases: [file: string, message: RegExp][] = [
    ['cxr/pydicomdata__RG1_J2KI.dcm', /JPEG 2000/],
    ['ts/cs3d__CTImage.dcm_JPEGLSLosslessTransferSyntax_1.2.840.10008.1.2.4.80.dcm', /JPEG-LS Lossless/],
    ['pydicom-small/pydicom__SC_rgb_rle.dcm', /greyscale/],
    ['pydicom-small/pydicom__examples_palette.dcm', /greyscale/],
    ['pydicom-small/pydicom__liver_1frame.dcm', /8 nor 16 bits/],
    ['nonimage/pydicom__test-SR.dcm', /no pixel data/],
  ];
  for (const [file, message] of cases)
    assert.throws(
      () => decodeGrey(corpusFile(file)),
      { name: 'UndecodableError', code: 'IMAGE_UNDECODABLE', message },
      file,
    );
  const many = corpusFile('pydicom-small/pydicom__CT_small.dcm');
  assert.throws(() => decodeGrey(many, { maxPixels: 128 * 128 - 1 }), { code: 'IMAGE_UNDECODABLE', message: /pixels/ });
  assert.equal(decodeGrey(many, { maxPixels: 128 * 128 }).width, 128);
});

/** PackBits as PS3.5 section G.3.2 encodes: literal runs only, or replicate runs where bytes repeat. */
function packBits(plane: Uint8Array): Buffer {
  const out: number[] = [];
  for (let at = 0; at < plane.length; ) {
    let run = 1;
    while (run < 128 && plane[at + run] === plane[at]) run++;
    if (run > 1) out.push(257 - run, plane[at]!);
    else out.push(0, plane[at]!);
    at += run;
  }
  if (out.length % 2 === 1) out.push(0);
  return Buffer.from(out);
}

function rleFrame(planes: Buffer[]): Buffer {
  const header = Buffer.alloc(64);
  header.writeUInt32LE(planes.length, 0);
  let offset = 64;
  for (const [i, plane] of planes.entries()) {
    header.writeUInt32LE(offset, 4 + 4 * i);
    offset += plane.length;
  }
  return Buffer.concat([header, ...planes]);
}

test('RLE: any two planes come back, most significant first; cut, they are refused', () => {
  const property = fc.property(fc.uint8Array({ minLength: 2, maxLength: 600 }), (values) => {
    const pixels = values.length >> 1;
    const words = values.subarray(0, 2 * pixels);
    const high = words.filter((_, i) => i % 2 === 1);
    const low = words.filter((_, i) => i % 2 === 0);
    const frame = rleFrame([packBits(high), packBits(low)]);
    assert.deepEqual(decodeRleFrame(frame, pixels, 2), words);
    assert.throws(() => decodeRleFrame(frame.subarray(0, -2), pixels, 2), RleError);
    assert.throws(() => decodeRleFrame(frame, pixels + 1, 2), RleError);
    assert.throws(() => decodeRleFrame(frame, pixels, 1), RleError);
  });
  fc.assert(property, runs());
});

test('RLE: changed bytes are pixels or an error, within the frame', () => {
  const ramp = Buffer.from(Array.from({ length: 100 }, (_, i) => i >> 2));
  const frame = rleFrame([packBits(Buffer.alloc(100, 3)), packBits(ramp)]);
  const property = fc.property(fc.nat(frame.length - 1), fc.nat(255), (at, byte) => {
    const bad = Buffer.from(frame);
    bad[at] = byte;
    try {
      assert.equal(decodeRleFrame(bad, 100, 2).length, 200);
    } catch (error) {
      assert.ok(error instanceof RleError);
    }
  });
  fc.assert(property, { numRuns: process.env.SLOW ? 20_000 : 500 });
});

test('a broken RLE frame in a good file is undecodable', () => {
  const file = (frame: Buffer) =>
    Buffer.concat([
      fileHead(RLE),
      identity(),
      hierarchy(),
      imagePixel(4, 6),
      element(0x7fe00010, 'OB', '', UNDEFINED),
      delimiter(ITEM),
      delimiter(ITEM, frame.length),
      frame,
      delimiter(SEQUENCE_END),
    ]);
  const good = rleFrame([packBits(Buffer.alloc(24, 9))]);
  assert.deepEqual(decodeGrey(file(good)).samples, new Uint8Array(24).fill(9));
  for (const bad of [good.subarray(0, 64), good.subarray(0, 40), rleFrame([packBits(Buffer.alloc(22, 9))])])
    assert.throws(() => decodeGrey(file(bad)), UndecodableError);
});
