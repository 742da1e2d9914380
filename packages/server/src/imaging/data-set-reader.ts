/**
 * Walks a data set (PS3.5 section 7) as its bytes come: a generator that yields what it needs next and is resumed with
 * it, so that memory is bounded by the limits whatever is sent. Keeps the elements before the pixel data and checks
 * everything, to the last byte.
 */
import type { Dataset, Tag } from './dataset.ts';
import { DicomError, type DicomFailure } from './dicom-failures.ts';
import { tagOf, vrOf } from './tags.ts';
import type { TransferSyntax } from './transfer-syntaxes.ts';
import { number, text } from './values.ts';

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

/** n > 0: the next n bytes. n < 0: skip -n bytes. 0: everything from here on is deflated. */
export type Request = number;
/** Resumed with the bytes; after a skip with any array; with null when the file ends before. */
export type Bytes<T> = Generator<Request, T, Uint8Array | null>;

export interface Encoding {
  explicitVr: boolean;
  bigEndian: boolean;
}

export interface Walk {
  limits: ScanLimits;
  /** Offset of the next byte (deflated: in the inflated data set). */
  at: number;
  /** Bytes that the file has beyond `at` when it ends before a request is met. */
  partial: number;
  /** The data set of depth 0, filled as it is read. */
  dataset: Dataset;
  keep: boolean;
  keptBytes: number;
  inSequence: boolean;
  /** The lowest tag that may stand here: file meta and command elements have no place in a data set. */
  firstTag: Tag;
  pixelData: { vr: string; offset: number; length: number | 'encapsulated' } | null;
  /** While pixel bytes are skipped: 0 native or Basic Offset Table, then the number of the fragment. */
  fragment: number | null;
}

const UNDEFINED = 0xffffffff;
const ITEM = 0xfffee000;
const ITEM_DELIMITER = 0xfffee00d;
const SEQUENCE_DELIMITER = 0xfffee0dd;

const PIXEL_TAGS: readonly Tag[] = [tagOf('FloatPixelData'), tagOf('DoubleFloatPixelData'), tagOf('PixelData')];

/** VRs with two reserved bytes and a 32-bit length (PS3.5 section 7.1.2); so will be every VR that is yet to come. */
export const SHORT_VRS = new Set(
  'AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US'.split(' '), // the others of Table 6.2-1 are long
);

/** Bytes per unit that big endian turns around (PS3.5 section 7.3). */
const UNIT: Record<string, number> = {
  ...{ US: 2, SS: 2, AT: 2, OW: 2, UL: 4, SL: 4, FL: 4, OL: 4, OF: 4 },
  ...{ FD: 8, OD: 8, OV: 8, SV: 8, UV: 8 },
};

/** What V8 needs for one element beside its value: map entry, object, typed array (measured: 150-210 bytes). */
const ELEMENT_COST = 200;

/** A frame in a video is not a fragment: PS3.5 section A.4.5 and following. */
const VIDEO = /^1\.2\.840\.10008\.1\.2\.4\.10[0-8](\.1)?$/;

const IMPLICIT: Encoding = { explicitVr: false, bigEndian: false };

export const fail = (w: Walk, code: DicomFailure, detail = ''): never => {
  throw new DicomError(code, `at byte ${w.at}${detail && `: ${detail}`}`);
};

export function* take(w: Walk, n: number): Bytes<Uint8Array> {
  if (n === 0) return new Uint8Array(0);
  const bytes = yield n;
  if (!bytes) return fail(w, 'DICOM_TRUNCATED', `${n} bytes are needed and ${w.partial} are there`);
  w.at += n;
  return bytes;
}

function* skip(w: Walk, n: number): Bytes<void> {
  if (n > 0 && !(yield -n)) fail(w, 'DICOM_TRUNCATED', `${n} bytes are needed and ${w.partial} are there`);
  w.at += n;
}

interface ElementHeader {
  tag: Tag;
  vr: string;
  length: number;
}

/** Tag, VR and length; null at the end of the file. */
function* elementHeader(w: Walk, { explicitVr, bigEndian }: Encoding, top: boolean): Bytes<ElementHeader | null> {
  const start = yield 8;
  if (!start && top && w.partial === 0) return null;
  if (!start) return fail(w, 'DICOM_TRUNCATED', 'inside the header of an element');
  w.at += 8;
  const view = new DataView(start.buffer, start.byteOffset, 8);
  const tag = view.getUint16(0, !bigEndian) * 0x10000 + view.getUint16(2, !bigEndian);
  if (!explicitVr || tag >>> 16 === 0xfffe)
    return { tag, vr: explicitVr ? '' : vrOf(tag), length: view.getUint32(4, !bigEndian) };
  const vr = String.fromCharCode(start[4]!, start[5]!);
  if (!/^[A-Z]{2}$/.test(vr)) return fail(w, 'DICOM_VR_WRONG');
  if (SHORT_VRS.has(vr)) return { tag, vr, length: view.getUint16(6, !bigEndian) };
  const length = yield* take(w, 4);
  return { tag, vr, length: new DataView(length.buffer, length.byteOffset, 4).getUint32(0, !bigEndian) };
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
): Bytes<Dataset> {
  const dataset: Dataset = new Map();
  if (syntax) w.dataset = dataset;
  for (let previous = -1; w.at < end; ) {
    const header = yield* elementHeader(w, encoding, syntax !== undefined);
    if (!header) return dataset;
    const { tag, vr, length } = header;
    if (tag === ITEM_DELIMITER && length === 0 && depth > 0 && end === Number.POSITIVE_INFINITY) return dataset;
    if (tag >>> 16 === 0xfffe || tag < w.firstTag) fail(w, 'DICOM_STRUCTURE_WRONG');
    if (tag <= previous) fail(w, 'DICOM_ORDER_WRONG');
    previous = tag;
    if (length !== UNDEFINED && w.at + length > end)
      fail(w, 'DICOM_LENGTH_WRONG', `${length} bytes, and ${end - w.at} to the end of what holds them`);

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
      const value = yield* take(w, length);
      if (encoding.bigEndian) swapUnits(value, UNIT[vr] ?? 1);
      if (w.keep) dataset.set(tag, { tag, vr, value });
    } else yield* skip(w, length);
  }
  return dataset;
}

/** The items; null for what is not a sequence after all: the pixel data of an icon, whose fragments are passed over. */
function* readSequence(w: Walk, header: ElementHeader, encoding: Encoding, depth: number): Bytes<Dataset[] | null> {
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
  const end = length === UNDEFINED ? Number.POSITIVE_INFINITY : w.at + length;
  // PS3.5 section 6.2.2, note 2: a sequence under UN is implicit VR little endian, whatever is around it.
  const value = yield* readItems(w, encoding.explicitVr && vr === 'UN' ? IMPLICIT : encoding, end, depth + 1);
  if (depth > 0 || !keeping || w.keep) return value;
  // It did not fit into the header: it was checked, and is left out as a whole.
  w.keep = true;
  w.keptBytes = before;
  return null;
}

function* readItems(w: Walk, encoding: Encoding, end: number, depth: number): Bytes<Dataset[]> {
  const list: Dataset[] = [];
  while (w.at < end) {
    const { tag, length } = yield* itemHeader(w, encoding.bigEndian);
    if (tag === SEQUENCE_DELIMITER && length === 0 && end === Number.POSITIVE_INFINITY) return list;
    if (tag !== ITEM) fail(w, 'DICOM_STRUCTURE_WRONG');
    const itemEnd = length === UNDEFINED ? Number.POSITIVE_INFINITY : w.at + length;
    if (length !== UNDEFINED && itemEnd > end) fail(w, 'DICOM_LENGTH_WRONG', `an item of ${length} bytes`);
    charge(w, ELEMENT_COST);
    const item = yield* readElements(w, encoding, itemEnd, depth);
    if (w.at > end) fail(w, 'DICOM_LENGTH_WRONG', 'an item passes the end of its sequence');
    if (w.keep) list.push(item);
  }
  return list;
}

function* itemHeader(w: Walk, bigEndian: boolean): Bytes<{ tag: Tag; length: number }> {
  const bytes = yield* take(w, 8);
  const view = new DataView(bytes.buffer, bytes.byteOffset, 8);
  return {
    tag: view.getUint16(0, !bigEndian) * 0x10000 + view.getUint16(2, !bigEndian),
    length: view.getUint32(4, !bigEndian),
  };
}

function* readPixelData(w: Walk, { vr, length }: ElementHeader, syntax: TransferSyntax): Bytes<void> {
  const frames = number(w.dataset, 'NumberOfFrames') ?? 1;
  const expected = frames * frameBits(w, frames);
  const encapsulated = length === UNDEFINED;
  if (encapsulated !== (syntax.pixels === 'encapsulated')) fail(w, 'DICOM_ENCAPSULATION_WRONG');
  w.pixelData = { vr, offset: w.at, length: encapsulated ? 'encapsulated' : length };
  if (encapsulated) {
    const fragments = yield* readFragments(w, true);
    if (fragments < (VIDEO.test(syntax.uid) ? 1 : frames))
      fail(w, 'DICOM_PIXELS_MISSING', `${fragments} fragments for ${frames} frames`);
    return;
  }
  const bytes = Math.ceil(expected / 8);
  if (length !== bytes && length !== bytes + (bytes % 2))
    fail(w, 'DICOM_PIXELS_LENGTH_WRONG', `${length} bytes, and ${bytes} by its attributes`);
  w.fragment = 0;
  yield* skip(w, length);
  w.fragment = null;
}

/** Bits of one frame, by the Image Pixel module (PS3.3 section C.7.6.3). */
function frameBits(w: Walk, frames: number): number {
  const whole = (keyword: 'Rows' | 'Columns' | 'BitsAllocated' | 'SamplesPerPixel', absent: number) =>
    number(w.dataset, keyword) ?? absent;
  const pixels = whole('Rows', 0) * whole('Columns', 0);
  const samples = whole('SamplesPerPixel', 1);
  const bits = whole('BitsAllocated', 0);
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
function* readFragments(w: Walk, ofTheImage: boolean): Bytes<number> {
  for (let fragment = 0; ; fragment++) {
    const { tag, length } = yield* itemHeader(w, false);
    if (tag === SEQUENCE_DELIMITER && length === 0) return Math.max(0, fragment - 1);
    if (tag !== ITEM) fail(w, 'DICOM_STRUCTURE_WRONG', 'not a fragment');
    if (length === UNDEFINED) fail(w, 'DICOM_LENGTH_WRONG', 'a fragment of undefined length');
    if (ofTheImage) w.fragment = fragment;
    yield* skip(w, length);
    w.fragment = null;
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
