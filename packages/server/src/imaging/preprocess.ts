/**
 * Stored values to what a model was trained on, in this order: mask and sign → padding out → rescale → percentile
 * window to 0..255 → MONOCHROME1 inversion, last and once → squash. Golden tests pin each step, since a model's
 * figures hold for exactly this.
 */
import { type GreyImage, UndecodableError } from './decode.ts';

/** 8-bit display values, 0 is black. */
export interface Grey8 {
  width: number;
  height: number;
  pixels: Uint8Array;
}

/** Percentiles, 0 to 100, of the pixels that are not padding; nearest rank: the value that p % of them do not exceed. */
export interface PercentileWindow {
  lowPercentile: number;
  highPercentile: number;
}

/**
 * Maps the window to 0..255. Unsigned 8-bit images are taken as they are, without a window: they were made for display,
 * as the training images were. Padding becomes black, whatever the polarity.
 */
export function toGrey8(image: GreyImage, window: PercentileWindow): Grey8 {
  const { width, height, samples, bitsStored, highBit, signed, inverted, slope, intercept, padding } = image;
  const shift = highBit + 1 - bitsStored;
  const codes = 2 ** bitsStored;
  const mask = codes - 1;
  const stored = (code: number): number => (signed && code >= codes / 2 ? code - codes : code);
  const isPadding = (code: number): boolean =>
    padding !== null && stored(code) >= padding[0] && stored(code) <= padding[1];
  const modality = (code: number): number => stored(code) * slope + intercept;

  const histogram = new Uint32Array(codes);
  for (const sample of samples) histogram[(sample >>> shift) & mask]!++;
  const lowest = signed ? codes / 2 : 0;
  const ascending = Array.from({ length: codes }, (_, i) => (lowest + i) & mask);
  if (slope < 0) ascending.reverse();
  const present = ascending.filter((code) => histogram[code]! > 0 && !isPadding(code));
  // one value, or padding alone, shows nothing: whatever a model said of it would be a score of nonsense
  if (present.length < 2) throw new UndecodableError('the image shows nothing');
  const total = present.reduce((sum, code) => sum + histogram[code]!, 0);
  const percentile = (p: number): number => {
    let seen = 0;
    for (const code of present) {
      seen += histogram[code]!;
      if (seen >= (p / 100) * total) return modality(code);
    }
    return 0;
  };
  const forDisplay = bitsStored === 8 && !signed;
  const low = forDisplay ? modality(ascending[0]!) : percentile(window.lowPercentile);
  const high = forDisplay ? modality(ascending[mask]!) : percentile(window.highPercentile);

  const lut = Uint8Array.from({ length: codes }, (_, code) => {
    if (isPadding(code)) return 0;
    const value = modality(code);
    // A window without width divides all values into two, as PS3.3 section C.11.2.1.2.1 does.
    const grey = high > low ? Math.round((255 * (value - low)) / (high - low)) : value > low ? 255 : 0;
    const clamped = Math.min(255, Math.max(0, grey));
    return inverted ? 255 - clamped : clamped;
  });
  const pixels = new Uint8Array(samples.length);
  for (let i = 0; i < samples.length; i++) pixels[i] = lut[(samples[i]! >>> shift) & mask]!;
  return { width, height, pixels };
}

const FIXED_POINT_BITS = 22; // Pillow: 32 - 8 bits of a pixel - 2 of headroom

/**
 * Resizes to `width` × `height` without keeping the aspect ratio: `Image.resize((w, h), Image.BILINEAR)` of Pillow 3.4 to 12
 * (src/libImaging/Resample.c), to the bit. A triangle filter as wide as the reduction, columns first, then rows (Pillow 13
 * turns the order round for tall images), with
 * rounding to 8 bits in between.
 */
export function squash(
  { width: fromWidth, height: fromHeight, pixels }: Grey8,
  width: number,
  height: number,
): Uint8Array {
  const narrow = new Uint8Array(width * fromHeight);
  const columns = filterWeights(fromWidth, width);
  for (let y = 0; y < fromHeight; y++)
    for (const [x, { first, weights }] of columns.entries())
      narrow[y * width + x] = weigh(pixels, y * fromWidth + first, 1, weights);
  const out = new Uint8Array(width * height);
  for (const [y, { first, weights }] of filterWeights(fromHeight, height).entries())
    for (let x = 0; x < width; x++) out[y * width + x] = weigh(narrow, first * width + x, width, weights);
  return out;
}

function weigh(pixels: Uint8Array, start: number, step: number, weights: Int32Array): number {
  let sum = 1 << (FIXED_POINT_BITS - 1);
  for (let i = 0, at = start; i < weights.length; i++, at += step) sum += pixels[at]! * weights[i]!;
  return Math.min(255, sum >> FIXED_POINT_BITS);
}

/** For each target pixel: the first source pixel that it sees, and the weights of that one and the following. */
function filterWeights(from: number, to: number): { first: number; weights: Int32Array }[] {
  const scale = from / to;
  const support = Math.max(1, scale);
  return Array.from({ length: to }, (_, target) => {
    const center = (target + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - support + 0.5));
    const last = Math.min(from, Math.trunc(center + support + 0.5));
    const triangle = Float64Array.from({ length: last - first }, (_, i) =>
      Math.max(0, 1 - Math.abs((i + first - center + 0.5) * (1 / support))),
    );
    const sum = triangle.reduce((a, b) => a + b, 0);
    return { first, weights: Int32Array.from(triangle, (w) => Math.trunc(0.5 + (w / sum) * 2 ** FIXED_POINT_BITS)) };
  });
}
