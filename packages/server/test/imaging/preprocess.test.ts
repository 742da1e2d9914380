/** Preprocessing, step by step: by hand for the grey scale, against Pillow for the resize. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { type GreyImage, UndecodableError } from '../../src/imaging/decode.ts';
import { squash, toGrey8 } from '../../src/imaging/preprocess.ts';
import { runs } from './support.ts';

const whole = { lowPercentile: 0, highPercentile: 100 };

function grey(samples: number[], about: Partial<GreyImage> = {}, window = whole): number[] {
  const image: GreyImage = {
    width: samples.length,
    height: 1,
    samples: (about.bitsStored ?? 12) > 8 ? Uint16Array.from(samples) : Uint8Array.from(samples),
    bitsStored: 12,
    highBit: (about.bitsStored ?? 12) - 1,
    signed: false,
    inverted: false,
    slope: 1,
    intercept: 0,
    padding: null,
    ...about,
  };
  return [...toGrey8(image, window).pixels];
}

test('the window maps its ends to 0 and 255, and clamps beyond', () => {
  assert.deepEqual(grey([0, 1000, 2000]), [0, 128, 255]);
  const ramp = Array.from({ length: 101 }, (_, i) => i * 10);
  const clamped = grey(ramp, {}, { lowPercentile: 10, highPercentile: 90 });
  assert.deepEqual([clamped[0], clamped[10], clamped[50], clamped[90], clamped[100]], [0, 0, 128, 255, 255]);
});

test('an image that shows nothing is not decoded: one value, or padding alone', () => {
  assert.throws(() => grey([5, 5, 5]), UndecodableError);
  assert.throws(() => grey([1, 2, 3], { padding: [0, 9] }), UndecodableError);
  assert.throws(() => grey([0, 0], { bitsStored: 8, highBit: 7 }), UndecodableError);
});

test('8-bit images are taken as they are', () => {
  assert.deepEqual(grey([3, 100, 200], { bitsStored: 8, highBit: 7 }), [3, 100, 200]);
  assert.deepEqual(grey([3, 100, 200], { bitsStored: 8, highBit: 7, inverted: true }), [252, 155, 55]);
  assert.deepEqual(grey([3, 100, 200], { bitsStored: 8, highBit: 7, slope: 2, intercept: -50 }), [3, 100, 200]);
});

test('bits beyond Bits Stored are overlays, not pixels; High Bit may be elsewhere', () => {
  assert.deepEqual(grey([0xf000, 0x03e8, 0xf7d0]), [0, 128, 255]);
  assert.deepEqual(grey([0x0000, 0x3e80, 0x7d0f], { highBit: 15 }), [0, 128, 255]);
});

test('signed values', () => {
  const words = (values: number[]) => values.map((value) => value & 0xffff);
  const signed = { bitsStored: 16, highBit: 15, signed: true };
  assert.deepEqual(grey(words([-1000, 0, 1000]), signed), [0, 128, 255]);
  assert.deepEqual(grey([0xc18, 0x000, 0x3e8], { signed: true }), [0, 128, 255]);
});

test('padding is in no percentile, and black whatever the polarity', () => {
  const padded = { bitsStored: 16, highBit: 15, signed: true, padding: [-2000, -2000] as [number, number] };
  const samples = [-2000, 0, 500, 1000].map((value) => value & 0xffff);
  assert.deepEqual(grey(samples, padded), [0, 0, 128, 255]);
  assert.deepEqual(grey(samples, { ...padded, inverted: true }), [0, 255, 127, 0]);
});

test('a negative slope turns the scale round, MONOCHROME1 turns it once more', () => {
  assert.deepEqual(grey([0, 1000, 2000], { slope: -1, intercept: 2000 }), [255, 128, 0]);
  assert.deepEqual(grey([0, 1000, 2000], { inverted: true }), [255, 127, 0]);
  assert.deepEqual(grey([0, 1000, 2000], { slope: -1, inverted: true }), [0, 127, 255]);
});

test('a positive linear rescale changes nothing', () => {
  const property = fc.property(
    fc.uniqueArray(fc.nat(4095), { minLength: 2 }),
    fc.constantFrom(0.25, 2, 16),
    fc.integer({ min: -2048, max: 2048 }),
    (samples, slope, intercept) => {
      const window = { lowPercentile: 1, highPercentile: 99 };
      assert.deepEqual(grey(samples, { slope, intercept }, window), grey(samples, {}, window));
    },
  );
  fc.assert(property, runs());
});

/** Vectors made by Pillow; vectors/imaging/README.md says how. */
const pillow: { from: [number, number]; to: [number, number]; sha256: string }[] = JSON.parse(
  readFileSync(new URL('../vectors/imaging/pillow-bilinear.json', import.meta.url), 'utf8'),
);

function pattern(width: number, height: number): Uint8Array {
  const pixels = new Uint8Array(width * height);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      pixels[y * width + x] =
        (Math.floor(x / 7) + Math.floor(y / 5)) % 2 === 1
          ? (x * x + 3 * y * y + x * y) % 251
          : (x + y) % 3 === 0
            ? 255
            : 0;
  return pixels;
}

test('squash is Pillow, to the bit', () => {
  for (const { from, to, sha256 } of pillow) {
    const [width, height] = from;
    const out = squash({ width, height, pixels: pattern(width, height) }, ...to);
    assert.equal(createHash('sha256').update(out).digest('hex'), sha256, `${from} → ${to}`);
    const other = pattern(width, height);
    other[0]! ^= 0xff;
    assert.notDeepEqual(squash({ width, height, pixels: other }, ...to), out);
  }
});

test('squash keeps a constant, and its own size', () => {
  const size = fc.integer({ min: 1, max: 40 });
  const property = fc.property(size, size, size, size, fc.nat(255), (width, height, w, h, value) => {
    const pixels = new Uint8Array(width * height).fill(value);
    assert.deepEqual(squash({ width, height, pixels }, w, h), new Uint8Array(w * h).fill(value));
    const same = pattern(width, height);
    assert.deepEqual(squash({ width, height, pixels: same }, width, height), same);
  });
  fc.assert(property, runs());
});
