/** Scans a stream that no memory could hold, and prints how the scan ended and how much memory it took at most. */
import { deflateRawSync } from 'node:zlib';
import { createScanner } from '../../src/imaging/scan.ts';
import {
  delimiter,
  element,
  fileHead,
  goodFile,
  hierarchy,
  ITEM,
  identity,
  imagePixel,
  UNDEFINED,
  us,
} from './support.ts';

const chunk = Buffer.alloc(65_536);

function* repeat(bytes: Uint8Array, times: number): Generator<Uint8Array> {
  for (let i = 0; i < times; i++) yield bytes;
}

/** Elements in ascending order, as small as they get: 16,000,000 × 8 bytes. */
function* smallElements(): Generator<Uint8Array> {
  for (let group = 0x0009; group < 0x0109; group += 2) {
    const bytes = Buffer.alloc(8 * 0xf000);
    for (let i = 0; i < 0xf000; i++) {
      bytes.writeUInt16LE(group, 8 * i);
      bytes.writeUInt16LE(i + 0x1000, 8 * i + 2);
      bytes.write('LO', 8 * i + 4, 'latin1');
    }
    yield bytes;
  }
}

/** 2 GB that are one deflated block of zeros after another: 65,536 out of 80 in. */
const zeros = deflateRawSync(Buffer.alloc(2 ** 24), { level: 9, finishFlush: 2 });

const STREAMS: Record<string, () => Generator<Uint8Array>> = {
  *'2 GB of pixels'() {
    yield Buffer.concat([fileHead(), identity(), hierarchy(), imagePixel(32, 32_768, 16, '1024')]);
    yield element(0x7fe00010, 'OW', '', 2 ** 31);
    yield* repeat(chunk, 2 ** 15);
  },
  *'2 GB in one fragment'() {
    yield Buffer.concat([fileHead('1.2.840.10008.1.2.4.50'), identity(), hierarchy(), imagePixel(512, 512)]);
    yield element(0x7fe00010, 'OB', '', UNDEFINED);
    yield Buffer.concat([delimiter(ITEM), delimiter(ITEM, 2 ** 31)]);
    yield* repeat(chunk, 2 ** 15);
    yield delimiter(0xfffee0dd);
  },
  *'4,000,000 fragments without bytes'() {
    yield Buffer.concat([fileHead('1.2.840.10008.1.2.4.50'), identity(), hierarchy(), imagePixel(512, 512)]);
    yield element(0x7fe00010, 'OB', '', UNDEFINED);
    yield* repeat(Buffer.concat(Array.from({ length: 8192 }, () => delimiter(ITEM))), 2 ** 9);
    yield delimiter(0xfffee0dd);
  },
  *'a value of 4 GB in the header'() {
    yield Buffer.concat([
      fileHead(),
      identity(),
      element(0x00090010, 'LO', 'X'),
      element(0x00091010, 'OB', '', UNDEFINED - 1),
    ]);
    yield* repeat(chunk, 2 ** 15);
  },
  *'endless elements'() {
    yield Buffer.concat([fileHead(), identity()]);
    yield* smallElements();
  },
  *'endless items'() {
    yield Buffer.concat([fileHead(), identity(), element(0x00081140, 'SQ', '', UNDEFINED)]);
    yield* repeat(Buffer.concat(Array.from({ length: 8192 }, () => delimiter(ITEM))), 2 ** 9);
    yield delimiter(0xfffee0dd);
    yield Buffer.concat([hierarchy(), imagePixel(1, 1), element(0x7fe00010, 'OB', Buffer.alloc(2))]);
  },
  *'100,000 nested sequences'() {
    yield Buffer.concat([fileHead(), identity()]);
    const level = Buffer.concat([element(0x0040a730, 'SQ', '', UNDEFINED), delimiter(ITEM, UNDEFINED)]);
    yield* repeat(Buffer.concat(Array.from({ length: 1000 }, () => level)), 100);
  },
  *'deflate bomb'() {
    yield fileHead('1.2.840.10008.1.2.1.99');
    const start = Buffer.concat([identity(), element(0x00091010, 'OB', '', UNDEFINED - 1)]);
    yield deflateRawSync(start, { finishFlush: 2 });
    yield* repeat(zeros, 128);
  },
  *'a byte at a time'() {
    for (const byte of goodFile()) yield Uint8Array.of(byte);
  },
  *'huge Rows × Columns'() {
    yield Buffer.concat([
      fileHead('1.2.840.10008.1.2.4.90'),
      identity(),
      hierarchy(),
      element(0x00280002, 'US', us(1)),
    ]);
    yield imagePixel(65_535, 65_535, 16).subarray(10);
    yield element(0x7fe00010, 'OB', '', UNDEFINED);
    yield Buffer.concat([delimiter(ITEM), delimiter(ITEM, 8), Buffer.alloc(8), delimiter(0xfffee0dd)]);
  },
};

const name = process.argv[2] ?? '';
createScanner().push(goodFile().subarray(0, 200)); // what loading and the first call cost is not the stream's
const before = process.memoryUsage().rss;
const startMs = performance.now();
let outcome = 'read';
let bytes = 0;
try {
  const scanner = createScanner();
  for (const piece of STREAMS[name]!()) {
    bytes += piece.length;
    scanner.push(piece);
  }
  scanner.end();
} catch (error) {
  outcome = (error as { code?: string }).code ?? String(error);
}
const peak = process.resourceUsage().maxRSS * 1024;
const ms = Math.round(performance.now() - startMs);
process.stdout.write(JSON.stringify({ outcome, bytes, grownBytes: Math.max(0, peak - before), ms }));
