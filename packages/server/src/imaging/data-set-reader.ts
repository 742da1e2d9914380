/**
 * Walks a data set (PS3.5 section 7) as its bytes come: generators that yield when they have to wait, so that memory is
 * bounded by the limits whatever is sent. Keeps the elements before the pixel data and checks everything, to the last
 * byte.
 */
import type { Dataset, InstanceHeader, Tag } from './dataset.ts';
import { DicomError, type DicomFailure } from './dicom-failures.ts';
import type { Input, Reading } from './input.ts';
import { tagOf, vrOf } from './tags.ts';
import type { TransferSyntax } from './transfer-syntaxes.ts';
import { number, text, unsignedShort } from './values.ts';

export interface ScanLimits {
  maxInstanceBytes: number;
  /** Memory for the kept elements: their values, and ELEMENT_COST for each element and item. */
  maxHeaderBytes: number;
  /** A longer value is checked and left out. */
  maxValueBytes: number;
  maxDepth: number;
  maxFramePixels: number;
  /** Inflated bytes per deflated byte, once more than INFLATE_FREE_BYTES came out. */
  maxInflatedRatio: number;
}

export interface Encoding {
  explicitVr: boolean;
  bigEndian: boolean;
}

export interface Walk {
  limits: ScanLimits;
  /** The file, or the inflated data set. */
  input: Input;
  /** The data set of depth 0, filled as it is read. */
  dataset: Dataset;
  keep: boolean;
  keptBytes: number;
  inSequence: boolean;
  /** The lowest tag that may stand here: file meta and command elements have no place in a data set. */
  firstTag: Tag;
  pixelData: InstanceHeader['pixelData'];
  onPixels: ((bytes: Uint8Array, fragment: number) => void) | undefined;
}

const UNDEFINED = 0xffffffff;
const ITEM = 0xfffee000;
const ITEM_DELIMITER = 0xfffee00d;
const SEQUENCE_DELIMITER = 0xfffee0dd;

const PIXEL_TAGS: readonly Tag[] = [tagOf('FloatPixelData'), tagOf('DoubleFloatPixelData'), tagOf('PixelData')];

const SIGNED_AS_PIXELS: ReadonlySet<Tag> = new Set(
  (['SmallestImagePixelValue', 'LargestImagePixelValue', 'PixelPaddingValue', 'PixelPaddingRangeLimit'] as const).map(
    tagOf,
  ),
);

/** VRs with a 16-bit length (PS3.5 section 7.1.2). */
const SHORT = 'AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US'.split(' ');
export const SHORT_VRS: ReadonlySet<string> = new Set(SHORT);
/** Those with two reserved bytes and a 32-bit length; so will be every VR that is yet to come. */
const LONG = 'OB OD OF OL OV OW SQ SV UC UN UR UT UV'.split(' ');
const VR_OF_BYTES: ReadonlyMap<number, string> = new Map(
  [...SHORT, ...LONG].map((vr) => [vr.charCodeAt(0) * 256 + vr.charCodeAt(1), vr]),
);

/** Bytes per unit that big endian turns around (PS3.5 section 7.3). */
const UNIT: Record<string, number> = {
  ...{ US: 2, SS: 2, AT: 2, OW: 2, UL: 4, SL: 4, FL: 4, OL: 4, OF: 4 },
  ...{ FD: 8, OD: 8, OV: 8, SV: 8, UV: 8 },
};

/** What V8 needs for one element beside its value, and for one item: 300-420 and 193 bytes, measured on Node 24. */
const ELEMENT_COST = 350;
const ITEM_COST = 200;

/** A frame in a video is not a fragment: PS3.5 section A.4.5 and following. */
const VIDEO = /^1\.2\.840\.10008\.1\.2\.4\.10[0-8](\.1)?$/;

/** Of items that are checked only. */
const DISCARDED: Dataset = new Map();

const IMPLICIT: Encoding = { explicitVr: false, bigEndian: false };

export const fail = (w: Walk, code: DicomFailure, detail = ''): never => {
  throw new DicomError(code, `at byte ${w.input.at}${detail && `: ${detail}`}`);
};

const truncated = (w: Walk, wanted: number, there: number): never =>
  fail(w, 'DICOM_TRUNCATED', `${wanted} bytes are needed and ${there} are there`);

/** The next n bytes, valid until the walk yields. */
export function* take(w: Walk, n: number): Reading<Uint8Array> {
  const bytes = w.input.take(n) ?? (yield* w.input.gather(n));
  return bytes.length === n ? bytes : truncated(w, n, bytes.length);
}

function* skip(w: Walk, n: number, seen?: (bytes: Uint8Array) => void): Reading<void> {
  const skipped = yield* w.input.skip(n, seen);
  if (skipped !== n) truncated(w, n, skipped);
}

const u16 = (b: Uint8Array, i: number, bigEndian: boolean): number =>
  bigEndian ? (b[i]! << 8) | b[i + 1]! : (b[i + 1]! << 8) | b[i]!;
const u32 = (b: Uint8Array, i: number, bigEndian: boolean): number =>
  u16(b, bigEndian ? i : i + 2, bigEndian) * 0x10000 + u16(b, bigEndian ? i + 2 : i, bigEndian);
const tagAt = (b: Uint8Array, bigEndian: boolean): Tag => u16(b, 0, bigEndian) * 0x10000 + u16(b, 2, bigEndian);

interface ElementHeader {
  tag: Tag;
  vr: string;
  length: number;
}

/** Tag, VR and length; null at the end of the file. */
function* elementHeader(w: Walk, { explicitVr, bigEndian }: Encoding, top: boolean): Reading<ElementHeader | null> {
  const start = w.input.take(8) ?? (yield* w.input.gather(8));
  if (start.length === 0 && top) return null;
  if (start.length < 8) truncated(w, 8, start.length);
  const tag = tagAt(start, bigEndian);
  if (!explicitVr || tag >>> 16 === 0xfffe)
    return { tag, vr: explicitVr ? '' : implicitVr(w, tag), length: u32(start, 4, bigEndian) };
  const vr = VR_OF_BYTES.get(start[4]! * 256 + start[5]!) ?? String.fromCharCode(start[4]!, start[5]!);
  if (!/^[A-Z]{2}$/.test(vr)) return fail(w, 'DICOM_VR_WRONG');
  if (SHORT_VRS.has(vr)) return { tag, vr, length: u16(start, 6, bigEndian) };
  return { tag, vr, length: u32(yield* take(w, 4), 0, bigEndian) };
}

/** US or SS by Pixel Representation, where PS3.6 says "US or SS" (PS3.5 section A.1). */
function implicitVr(w: Walk, tag: Tag): string {
  return SIGNED_AS_PIXELS.has(tag) && number(w.dataset, 'PixelRepresentation') === 1 ? 'SS' : vrOf(tag);
}

/**
 * The elements from here to `end`, to the delimiter of the item (end = Infinity), or at depth 0 to the end of the file.
 * `syntax` is given for the data set of depth 0 only, where pixel data may stand.
 */
export function* readElements(
  w: Walk,
  encoding: Encoding,
  end: number,
  depth: number,
  syntax?: TransferSyntax,
): Reading<Dataset> {
  const dataset: Dataset = w.keep ? new Map() : DISCARDED;
  if (syntax) w.dataset = dataset;
  for (let previous = -1; w.input.at < end; ) {
    const header = yield* elementHeader(w, encoding, syntax !== undefined);
    if (!header) return dataset;
    const { tag, vr, length } = header;
    if (tag === ITEM_DELIMITER && length === 0 && depth > 0 && end === Number.POSITIVE_INFINITY) return dataset;
    if (tag >>> 16 === 0xfffe || tag < w.firstTag) fail(w, 'DICOM_STRUCTURE_WRONG');
    if (tag <= previous) fail(w, 'DICOM_ORDER_WRONG');
    previous = tag;
    if (length !== UNDEFINED && w.input.at + length > end)
      fail(w, 'DICOM_LENGTH_WRONG', `${length} bytes, and ${end - w.input.at} to the end of what holds them`);

    if (syntax && PIXEL_TAGS.includes(tag)) {
      yield* readPixelData(w, header, syntax);
      w.keep = false; // what follows is checked only
    } else if (vr === 'SQ' || length === UNDEFINED) {
      const value = yield* readSequence(w, header, encoding, depth);
      if (value && w.keep) dataset.set(tag, { tag, vr: 'SQ', value });
      if (!syntax) continue;
      w.inSequence = false;
    } else if (w.keep && length <= w.limits.maxValueBytes) {
      charge(w, ELEMENT_COST + length);
      const value = w.input.take(length)?.slice() ?? (yield* take(w, length));
      if (encoding.bigEndian) swapUnits(value, UNIT[vr] ?? 1);
      if (w.keep) dataset.set(tag, { tag, vr, value });
    } else yield* skip(w, length);
  }
  return dataset;
}

/** The items; null for what is not a sequence after all: the pixel data of an icon, whose fragments are passed over. */
function* readSequence(w: Walk, header: ElementHeader, encoding: Encoding, depth: number): Reading<Dataset[] | null> {
  const { tag, vr, length } = header;
  if (depth > 0 && PIXEL_TAGS.includes(tag)) {
    yield* readFragments(w, false);
    return null;
  }
  if (vr !== 'SQ' && vr !== 'UN') return fail(w, 'DICOM_LENGTH_WRONG', 'undefined');
  if (depth >= w.limits.maxDepth) return fail(w, 'DICOM_TOO_DEEP', `depth ${depth + 1}`);
  const before = w.keptBytes;
  const keeping = w.keep;
  w.inSequence = true;
  charge(w, ELEMENT_COST);
  const end = length === UNDEFINED ? Number.POSITIVE_INFINITY : w.input.at + length;
  // PS3.5 section 6.2.2, note 2: a sequence under UN is implicit VR little endian, whatever is around it.
  const value = yield* readItems(w, encoding.explicitVr && vr === 'UN' ? IMPLICIT : encoding, end, depth + 1);
  if (depth > 0 || !keeping || w.keep) return value;
  // It did not fit into the header: it was checked, and is left out as a whole.
  w.keep = true;
  w.keptBytes = before;
  return null;
}

function* readItems(w: Walk, encoding: Encoding, end: number, depth: number): Reading<Dataset[]> {
  const list: Dataset[] = [];
  while (w.input.at < end) {
    const header = w.input.take(8) ?? (yield* take(w, 8));
    const tag = tagAt(header, encoding.bigEndian);
    const length = u32(header, 4, encoding.bigEndian);
    if (tag === SEQUENCE_DELIMITER && length === 0 && end === Number.POSITIVE_INFINITY) return list;
    if (tag !== ITEM) fail(w, 'DICOM_STRUCTURE_WRONG');
    const itemEnd = length === UNDEFINED ? Number.POSITIVE_INFINITY : w.input.at + length;
    if (length !== UNDEFINED && itemEnd > end) fail(w, 'DICOM_LENGTH_WRONG', `an item of ${length} bytes`);
    charge(w, ITEM_COST);
    const item = yield* readElements(w, encoding, itemEnd, depth);
    if (w.input.at > end) fail(w, 'DICOM_LENGTH_WRONG', 'an item passes the end of its sequence');
    if (w.keep) list.push(item);
  }
  return list;
}

function* readPixelData(w: Walk, { vr, length }: ElementHeader, syntax: TransferSyntax): Reading<void> {
  if (w.pixelData) fail(w, 'DICOM_STRUCTURE_WRONG', 'pixel data a second time');
  const frames = number(w.dataset, 'NumberOfFrames') ?? 1;
  const expected = frames * frameBits(w, frames);
  const encapsulated = length === UNDEFINED;
  if (encapsulated !== (syntax.pixels === 'encapsulated')) fail(w, 'DICOM_ENCAPSULATION_WRONG');
  w.pixelData = { vr, offset: w.input.at, length: encapsulated ? 'encapsulated' : length };
  if (encapsulated) {
    const fragments = yield* readFragments(w, true);
    if (fragments < (VIDEO.test(syntax.uid) ? 1 : frames))
      fail(w, 'DICOM_PIXELS_MISSING', `${fragments} fragments for ${frames} frames`);
    return;
  }
  const bytes = Math.ceil(expected / 8);
  if (length !== bytes && length !== bytes + (bytes % 2))
    fail(w, 'DICOM_PIXELS_LENGTH_WRONG', `${length} bytes, and ${bytes} by its attributes`);
  yield* skip(w, length, w.onPixels && ((bytes) => w.onPixels?.(bytes, 0)));
}

/** Bits of one frame, by the Image Pixel module (PS3.3 section C.7.6.3). */
function frameBits(w: Walk, frames: number): number {
  const value = (keyword: 'Rows' | 'Columns' | 'BitsAllocated' | 'SamplesPerPixel', absent: number) =>
    unsignedShort(w.dataset, keyword) ?? absent;
  const pixels = value('Rows', 0) * value('Columns', 0);
  const samples = value('SamplesPerPixel', 1);
  const bits = value('BitsAllocated', 0);
  if (
    !(pixels >= 1 && pixels <= w.limits.maxFramePixels) ||
    !(Number.isInteger(frames) && frames >= 1) ||
    !(samples === 1 || samples === 3 || samples === 4) ||
    !(bits === 1 || (bits % 8 === 0 && bits >= 8 && bits <= 64))
  )
    return fail(
      w,
      'DICOM_PIXELS_IMPLAUSIBLE',
      `${pixels} pixels × ${samples} samples × ${bits} bits × ${frames} frames`,
    );
  // Two pixels share their colour: section C.7.6.3.1.2.
  const halved = /^YBR_(FULL|PARTIAL)_422$/.test(text(w.dataset, 'PhotometricInterpretation'));
  return pixels * bits * (halved ? 2 : samples);
}

/** Passes over encapsulated pixel data (PS3.5 section A.4), always little endian; the number of fragments. */
function* readFragments(w: Walk, ofTheImage: boolean): Reading<number> {
  for (let fragment = 0; ; fragment++) {
    const header = w.input.take(8) ?? (yield* take(w, 8));
    const tag = tagAt(header, false);
    const length = u32(header, 4, false);
    if (tag === SEQUENCE_DELIMITER && length === 0) return Math.max(0, fragment - 1);
    if (tag !== ITEM) fail(w, 'DICOM_STRUCTURE_WRONG', 'not a fragment');
    if (length === UNDEFINED) fail(w, 'DICOM_LENGTH_WRONG', 'a fragment of undefined length');
    if (length > 0)
      yield* skip(w, length, ofTheImage && w.onPixels ? (bytes) => w.onPixels?.(bytes, fragment) : undefined);
  }
}

function charge(w: Walk, bytes: number): void {
  if (!w.keep) return;
  w.keptBytes += bytes;
  if (w.keptBytes <= w.limits.maxHeaderBytes) return;
  if (!w.inSequence) fail(w, 'DICOM_HEADER_TOO_LARGE', `more than ${w.limits.maxHeaderBytes} bytes`);
  w.keep = false;
}

function swapUnits(value: Uint8Array, unit: number): void {
  for (let i = 0; unit > 1 && i + unit <= value.length; i += unit) value.subarray(i, i + unit).reverse();
}
