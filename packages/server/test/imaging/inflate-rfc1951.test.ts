/** RFC 1951 against zlib: what node:zlib deflates comes back, in any pieces; what is changed or cut is refused. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { constants, deflateRawSync, inflateRawSync } from 'node:zlib';
import fc from 'fast-check';
import { createInflater, InflateError } from '../../src/imaging/inflate.ts';
import { inPieces, runs } from './support.ts';

function inflate(pieces: Iterable<Uint8Array>): { bytes: Buffer; ended: 'truncated' | { trailingBytes: number } } {
  const out: Buffer[] = [];
  const inflater = createInflater((block) => void out.push(Buffer.from(block)));
  for (const piece of pieces) inflater.push(piece);
  const ended = inflater.end();
  return { bytes: Buffer.concat(out), ended };
}

/** Text that repeats itself at all distances, then noise, then nothing: each kind of block and code. */
function mixture(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length);
  let state = seed >>> 0;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const kind = (i >> 12) % 3;
    bytes[i] = kind === 0 ? (i * i) % 61 : kind === 1 ? state >>> 24 : 0;
  }
  return bytes;
}

const options = fc.record({
  level: fc.integer({ min: 0, max: 9 }),
  strategy: fc.constantFrom(constants.Z_DEFAULT_STRATEGY, constants.Z_FIXED, constants.Z_HUFFMAN_ONLY, constants.Z_RLE),
  memLevel: fc.integer({ min: 1, max: 9 }),
});

test('every level and strategy of zlib, in any pieces', () => {
  const property = fc.property(
    fc.integer({ min: 0, max: 200_000 }),
    fc.nat(),
    options,
    fc.integer({ min: 1, max: 70_000 }),
    (length, seed, deflate, size) => {
      const bytes = mixture(length, seed);
      const { bytes: back, ended } = inflate(inPieces(deflateRawSync(bytes, deflate), size));
      assert.deepEqual(ended, { trailingBytes: 0 });
      assert.ok(back.equals(bytes));
    },
  );
  fc.assert(property, runs());
});

test('byte by byte, and with bytes behind the end', () => {
  const bytes = mixture(20_000, 1);
  const deflated = Buffer.concat([deflateRawSync(bytes), Buffer.from('behind')]);
  const { bytes: back, ended } = inflate(inPieces(deflated, 1));
  assert.deepEqual(ended, { trailingBytes: 6 });
  assert.ok(back.equals(bytes));
});

test('cut anywhere, it is truncated', () => {
  const deflated = deflateRawSync(mixture(9_000, 2));
  for (let length = 0; length < deflated.length; length += 97)
    assert.equal(inflate([deflated.subarray(0, length)]).ended, 'truncated', `${length} of ${deflated.length}`);
  assert.equal(inflate([deflated.subarray(0, -1)]).ended, 'truncated');
});

test('one flipped bit: zlib and Abaton say the same', () => {
  const good = deflateRawSync(mixture(9_000, 3));
  const property = fc.property(fc.integer({ min: 0, max: good.length * 8 - 1 }), (bit) => {
    const bad = Buffer.from(good);
    bad[bit >> 3]! ^= 1 << (bit & 7);
    let theirs: Buffer | null = null;
    try {
      theirs = inflateRawSync(bad, { maxOutputLength: 2 ** 24 });
    } catch {}
    let ours: Buffer | null = null;
    try {
      const { bytes, ended } = inflate([bad]);
      ours = ended === 'truncated' ? null : bytes;
    } catch (error) {
      assert.ok(error instanceof InflateError);
    }
    assert.equal(ours?.toString('hex'), theirs?.toString('hex'));
  });
  fc.assert(property, { numRuns: process.env.SLOW ? 20_000 : 300 });
});
