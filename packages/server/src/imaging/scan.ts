/**
 * Reads a DICOM file (PS3.10) as it streams by, in memory that the limits bound. A file is taken as a whole or refused
 * by name; one without preamble and file meta information is refused, since STOW-RS and retrieval speak of files, and
 * its encoding would be a guess.
 */
import { fail, readElements, type ScanLimits, take, type Walk } from './data-set-reader.ts';
import type { Dataset, InstanceHeader } from './dataset.ts';
import { DicomError } from './dicom-failures.ts';
import { createInflater, InflateError, type Inflater } from './inflate.ts';
import { Input, type Reading } from './input.ts';
import { type Keyword, tagOf } from './tags.ts';
import { EXPLICIT_LE, TRANSFER_SYNTAXES, type TransferSyntax } from './transfer-syntaxes.ts';
import { number, text } from './values.ts';

export interface ScanOptions extends Partial<ScanLimits> {
  /** Gets the value of the pixel data as it passes: `fragment` 0 is native pixels or the Basic Offset Table. */
  onPixels?: (bytes: Uint8Array, fragment: number) => void;
}

export interface Scanner {
  /** Throws DicomError at the first byte that proves a fault, and the same error ever after. Keeps no view of `chunk`. */
  push(chunk: Uint8Array): void;
  /** The file is complete. Throws DicomError. */
  end(): InstanceHeader;
  /** What the file has said about itself so far, refused or not; '' for what it has not. */
  reference(): Pick<
    InstanceHeader,
    'sopClassUid' | 'sopInstanceUid' | 'studyInstanceUid' | 'seriesInstanceUid' | 'transferSyntaxUid'
  >;
}

const MiB = 2 ** 20;

/** The first two are also settings (config.ts), with the same values. */
export const DEFAULT_LIMITS: ScanLimits = {
  maxInstanceBytes: 4096 * MiB, // PS3.5: a length has 32 bits
  maxHeaderBytes: 16 * MiB,
  maxValueBytes: MiB, // the largest value that is needed whole: a palette of 65,536 × 16 bits, times eight
  maxDepth: 64, // about three times a deep SR content tree
  maxFramePixels: 2 ** 28, // 16,384², twice the largest overview of a slide scanner; tiles and radiographs are far below
  maxInflatedRatio: 200, // 100 times what medical images deflate to; deflate itself can reach 1032
};

/** An empty image deflates 1000 : 1; up to here no ratio is asked of it. */
const INFLATE_FREE_BYTES = 16 * MiB;

/** PS3.5 section A.5 pads with one NULL byte; some writers leave the 8-byte trailer of gzip (RFC 1952) behind. */
const MAX_BYTES_AFTER_DEFLATE = 9;

/** Magic numbers of what an operating system or browser runs: PE, ELF, Mach-O and Java, scripts, WebAssembly, DEX. */
const EXECUTABLES = [
  '4d5a',
  '7f454c46',
  'feedface',
  'feedfacf',
  'cefaedfe',
  'cffaedfe',
  'cafebabe',
  '2321',
  '0061736d',
  '6465780a',
];
/** TIFF and BigTIFF, both byte orders: the dual-personality files of PS3.10 section 7.1. */
const TIFFS = ['49492a00', '4d4d002a', '49492b00', '4d4d002b'];

const UID = /^[0-9]+(\.[0-9]+)*$/;
/** PS3.4 Table B.5-1: CR, DX, MG, IO, CT, US, MR, SC, XA, RF, NM, VL and PET images; none of them is without pixels. */
const IMAGE_CLASSES =
  /^1\.2\.840\.10008\.5\.1\.4\.1\.1\.(1|1\.[1-3]|1\.[1-3]\.1|2|2\.[12]|3\.1|4|4\.[134]|6\.[12]|7|7\.[1-4]|12\.[12]|12\.[12]\.1|20|77\.1\.[1-6]|77\.1\.[124]\.1|128|128\.1|130)$/;
const MEDIA_STORAGE_DIRECTORY = '1.2.840.10008.1.3.10';

export function createScanner({ onPixels, ...limits }: ScanOptions = {}): Scanner {
  const file = new Input();
  const w: Walk = {
    limits: { ...DEFAULT_LIMITS, ...limits },
    input: file,
    dataset: new Map(),
    keep: true,
    keptBytes: 0,
    inSequence: false,
    firstTag: 0,
    pixelData: null,
    onPixels,
  };
  let meta: Dataset = new Map();
  let syntax: TransferSyntax | undefined;
  let totalBytes = 0;
  let inflatedBytes = 0;
  let inflater: Inflater | null = null;
  let failure: unknown = null;

  function* readFile(): Reading<void> {
    yield* readPreamble(w);
    meta = yield* readFileMeta(w);
    syntax = chooseSyntax(w, meta);
    if (syntax.deflated) w.input = new Input(); // what remains of the file goes through the inflater
    w.firstTag = 0x00080000;
    yield* readElements(w, syntax, Number.POSITIVE_INFINITY, 0, syntax);
  }
  const walk = readFile();
  walk.next();

  const feedInflated = (bytes: Uint8Array) => {
    inflatedBytes += bytes.length;
    const { maxInstanceBytes, maxInflatedRatio } = w.limits;
    const ratio = inflatedBytes > INFLATE_FREE_BYTES ? inflatedBytes / totalBytes : 0;
    if (inflatedBytes > maxInstanceBytes || ratio > maxInflatedRatio)
      fail(w, 'DICOM_DEFLATE_BOMB', `${inflatedBytes} bytes out of ${totalBytes}`);
    w.input.feed(bytes);
    walk.next();
  };

  const guarded = <T>(work: () => T): T => {
    if (failure) throw failure;
    try {
      return work();
    } catch (error) {
      failure =
        error instanceof InflateError ? new DicomError('DICOM_DEFLATE_CORRUPT', `after ${totalBytes} bytes`) : error;
      throw failure;
    }
  };

  const reference = () => ({
    transferSyntaxUid: syntax?.uid ?? '',
    sopClassUid: text(w.dataset, 'SOPClassUID') || text(meta, 'MediaStorageSOPClassUID'),
    sopInstanceUid: text(w.dataset, 'SOPInstanceUID') || text(meta, 'MediaStorageSOPInstanceUID'),
    studyInstanceUid: text(w.dataset, 'StudyInstanceUID'),
    seriesInstanceUid: text(w.dataset, 'SeriesInstanceUID'),
  });

  return {
    reference,
    push: (chunk) =>
      guarded(() => {
        totalBytes += chunk.length;
        if (totalBytes > w.limits.maxInstanceBytes) fail(w, 'DICOM_TOO_LARGE', `limit ${w.limits.maxInstanceBytes}`);
        if (inflater) return inflater.push(chunk);
        file.feed(chunk);
        walk.next();
        if (w.input === file) return;
        inflater = createInflater(feedInflated);
        inflater.push(file.rest());
      }),
    end: () =>
      guarded(() => {
        const inflated = inflater?.end() ?? { trailingBytes: 0 };
        if (inflated === 'truncated') return fail(w, 'DICOM_TRUNCATED', 'inside the deflated data set');
        if (inflated.trailingBytes > MAX_BYTES_AFTER_DEFLATE)
          fail(w, 'DICOM_DEFLATE_CORRUPT', `${inflated.trailingBytes} bytes after its end`);
        w.input.end();
        walk.next();
        verifyIdentity(w, meta);
        verifyPixelsPresent(w, syntax!);
        return {
          ...reference(),
          patientId: text(w.dataset, 'PatientID'),
          issuerOfPatientId: text(w.dataset, 'IssuerOfPatientID'),
          dataset: w.dataset,
          pixelData: w.pixelData,
          totalBytes,
          headerBytes: w.keptBytes,
        };
      }),
  };
}

/** 128 bytes of preamble and `DICM` (PS3.10 section 7.1). */
function* readPreamble(w: Walk): Reading<void> {
  const head = yield* w.input.gather(132);
  if (String.fromCharCode(...head.subarray(128)) !== 'DICM')
    fail(w, looksLikeDataSet(head) ? 'DICOM_FILE_META_MISSING' : 'DICOM_NOT');
  const hex = Buffer.from(head.subarray(0, 8)).toString('hex');
  const startsWith = (magics: string[]) => magics.some((magic) => hex.startsWith(magic));
  if (startsWith(EXECUTABLES)) fail(w, 'DICOM_PREAMBLE_EXECUTABLE');
  if (!startsWith(TIFFS) && head.subarray(0, 128).some((byte) => byte !== 0)) fail(w, 'DICOM_PREAMBLE_UNKNOWN');
}

/** Begins with an element of group 0002 or 0008, in either byte order, with a VR or a short length behind the tag. */
function looksLikeDataSet(start: Uint8Array): boolean {
  if (start.length < 8) return false;
  const view = new DataView(start.buffer, start.byteOffset, 8);
  return [true, false].some(
    (little) =>
      [0x0002, 0x0008].includes(view.getUint16(0, little)) &&
      (/^[A-Z]{2}$/.test(String.fromCharCode(start[4]!, start[5]!)) || view.getUint32(4, little) <= 0xffff),
  );
}

/** Group 0002, explicit VR little endian; its group length comes first and says where it ends. */
function* readFileMeta(w: Walk): Reading<Dataset> {
  const head = yield* take(w, 12);
  const view = new DataView(head.buffer, head.byteOffset, 12);
  const length = view.getUint32(8, true);
  // (0002,0000) UL, 4 bytes
  if (Buffer.from(head.subarray(0, 8)).toString('hex') !== '02000000554c0400' || length > w.limits.maxHeaderBytes)
    fail(w, 'DICOM_FILE_META_WRONG', 'group length');
  const explicit = TRANSFER_SYNTAXES.get(EXPLICIT_LE)!;
  const meta = yield* readElements(w, explicit, w.input.at + length, 1);
  if ([...meta.keys()].some((tag) => tag >>> 16 !== 2)) fail(w, 'DICOM_FILE_META_WRONG', 'an element of another group');
  return meta;
}

function chooseSyntax(w: Walk, meta: Dataset): TransferSyntax {
  if (text(meta, 'MediaStorageSOPClassUID') === MEDIA_STORAGE_DIRECTORY) fail(w, 'DICOM_SOP_CLASS_UNSUPPORTED');
  const uid = text(meta, 'TransferSyntaxUID');
  if (uid === '') fail(w, 'DICOM_TRANSFER_SYNTAX_MISSING');
  return TRANSFER_SYNTAXES.get(uid) ?? fail(w, 'DICOM_TRANSFER_SYNTAX_UNKNOWN');
}

function verifyIdentity(w: Walk, meta: Dataset): void {
  const keywords = ['SOPClassUID', 'SOPInstanceUID', 'StudyInstanceUID', 'SeriesInstanceUID'] as const;
  const uids = keywords.map((keyword) => text(w.dataset, keyword));
  keywords.forEach((keyword, i) => {
    if (uids[i] === '') fail(w, 'DICOM_IDENTITY_MISSING', keyword);
    // PS3.5 section 9.1. Leading zeros of a component are common and harm nobody.
    if (uids[i]!.length > 64 || !UID.test(uids[i]!)) fail(w, 'DICOM_IDENTITY_WRONG', keyword);
  });
  const contradicts = (keyword: Keyword, uid: string) => ![uid, ''].includes(text(meta, keyword));
  if (contradicts('MediaStorageSOPClassUID', uids[0]!) || contradicts('MediaStorageSOPInstanceUID', uids[1]!))
    fail(w, 'DICOM_IDENTITY_WRONG', 'file meta information');
  // Of the UIDs that DICOM gives, composite objects are those of 1.2.840.10008.5.1.4 (PS3.6 Table A-1); private ones pass.
  if (uids[0]!.startsWith('1.2.840.10008.') && !uids[0]!.startsWith('1.2.840.10008.5.1.4.'))
    fail(w, 'DICOM_SOP_CLASS_UNSUPPORTED');
}

/** A file that was cut between two elements shows only here. */
function verifyPixelsPresent(w: Walk, syntax: TransferSyntax): void {
  const described = (['Rows', 'Columns', 'BitsAllocated'] as const).every((keyword) => number(w.dataset, keyword));
  const isImage = described || IMAGE_CLASSES.test(text(w.dataset, 'SOPClassUID'));
  const elsewhere = syntax.pixels === 'referenced' || w.dataset.has(tagOf('PixelDataProviderURL'));
  if (isImage && !w.pixelData && !elsewhere) fail(w, 'DICOM_PIXELS_MISSING');
}
