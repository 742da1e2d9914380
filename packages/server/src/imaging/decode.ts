/**
 * Pixels of a greyscale image, for a model. Pure computation on bytes that may be hostile: it runs in the isolated
 * child. Decodes native and deflated syntaxes and RLE; of a multi-frame image the first frame.
 */
import { ConfigurationError } from '@abaton/verify';
import type { Dataset, InstanceHeader } from './dataset.ts';
import { decodeRleFrame, RleError } from './rle.ts';
import { createScanner, DEFAULT_LIMITS } from './scan.ts';
import { tagOf } from './tags.ts';
import { EXPLICIT_BE, RLE_LOSSLESS, TRANSFER_SYNTAXES } from './transfer-syntaxes.ts';
import { number, numbers, text, unsignedShort } from './values.ts';

export interface GreyImage {
  width: number;
  height: number;
  /** Stored words as they are in the file, row by row: bits beyond Bits Stored may hold overlays. */
  samples: Uint8Array | Uint16Array;
  bitsStored: number;
  highBit: number;
  signed: boolean;
  /** MONOCHROME1: the lowest value is white. */
  inverted: boolean;
  /** Rescale Slope and Intercept (0028,1053), (0028,1052). */
  slope: number;
  intercept: number;
  /** Stored values, both included, that are no image (0028,0120), (0028,0121). */
  padding: [number, number] | null;
}

/** The image cannot be decoded here; the message says why, in terms of its format only. */
export class UndecodableError extends ConfigurationError<'IMAGE_UNDECODABLE'> {
  constructor(message: string) {
    super('IMAGE_UNDECODABLE', message);
  }
}

export interface DecodeLimits {
  maxPixels: number;
  maxFileBytes: number;
}

/** RLE of incompressible words: one control byte per 128, and the header. A first frame beyond it is cut, and refused. */
const RLE_SLACK_BYTES = 2 ** 21;

/** 67 megapixels: a digitised 35 × 43 cm film at 50 µm has 60, flat panels have below 20. */
const DEFAULT_DECODE_LIMITS: DecodeLimits = { maxPixels: 2 ** 26, maxFileBytes: DEFAULT_LIMITS.maxInstanceBytes };

/** Throws DicomError when the file is not one that is stored, UndecodableError when its pixels cannot be read. */
export function decodeGrey(part10: Uint8Array, limits: Partial<DecodeLimits> = {}): GreyImage {
  const { maxPixels, maxFileBytes } = { ...DEFAULT_DECODE_LIMITS, ...limits };
  const native: Uint8Array[] = [];
  const fragment: Uint8Array[] = [];
  const maxBytes = 2 * maxPixels + RLE_SLACK_BYTES;
  let held = 0;
  const scanner = createScanner({
    maxInstanceBytes: maxFileBytes,
    onPixels: (bytes, index) => {
      // The views are valid during the call only; what lies beyond the first frame is not needed.
      const wanted = index === 0 ? native : index === 1 ? fragment : null;
      const room = maxBytes - held;
      if (wanted && room > 0) wanted.push(bytes.slice(0, room));
      held += wanted ? bytes.length : 0;
    },
  });
  scanner.push(part10);
  const header = scanner.end();
  const format = readFormat(header, maxPixels);
  const { width, height, bytesPerPixel } = format;
  const bytes = width * height * bytesPerPixel;
  const frame =
    header.transferSyntaxUid === RLE_LOSSLESS
      ? decodeRle(Buffer.concat(fragment), width * height, bytesPerPixel)
      : new Uint8Array(Buffer.concat(native).subarray(0, bytes));
  if (frame.length !== bytes) throw new UndecodableError('the first frame is not complete');
  // PS3.5 section 8.2 and Annex D: big endian words, also when two 8-bit pixels share one under VR OW.
  if (header.transferSyntaxUid === EXPLICIT_BE && header.pixelData?.vr === 'OW') swapWords(frame);
  const samples = bytesPerPixel === 1 ? frame : new Uint16Array(frame.buffer, frame.byteOffset, width * height);
  return { ...format.image, width, height, samples };
}

function readFormat({ dataset, pixelData, transferSyntaxUid }: InstanceHeader, maxPixels: number) {
  const syntax = TRANSFER_SYNTAXES.get(transferSyntaxUid)!;
  if (!pixelData || !dataset.get(tagOf('Rows'))) throw new UndecodableError('there is no pixel data');
  if (syntax.pixels !== 'native' && syntax.uid !== RLE_LOSSLESS)
    throw new UndecodableError(`the transfer syntax ${syntax.name} is not decoded`);
  const photometric = text(dataset, 'PhotometricInterpretation');
  if (!/^MONOCHROME[12]$/.test(photometric) || (unsignedShort(dataset, 'SamplesPerPixel') ?? 1) !== 1)
    throw new UndecodableError('the image is not greyscale');
  const bitsAllocated = unsignedShort(dataset, 'BitsAllocated');
  if (bitsAllocated !== 8 && bitsAllocated !== 16)
    throw new UndecodableError('pixels that are neither 8 nor 16 bits wide are not decoded');
  const bitsStored = unsignedShort(dataset, 'BitsStored') ?? bitsAllocated;
  const highBit = unsignedShort(dataset, 'HighBit') ?? bitsStored - 1;
  if (!(bitsStored >= 1 && highBit >= bitsStored - 1 && highBit < bitsAllocated))
    throw new UndecodableError('Bits Stored and High Bit contradict Bits Allocated');
  if (dataset.has(tagOf('ModalityLUTSequence'))) throw new UndecodableError('a Modality LUT is not applied');
  const width = unsignedShort(dataset, 'Columns') ?? 0;
  const height = unsignedShort(dataset, 'Rows') ?? 0;
  if (width * height > maxPixels) throw new UndecodableError(`more than ${maxPixels} pixels`);
  const signed = unsignedShort(dataset, 'PixelRepresentation') === 1;
  return {
    width,
    height,
    bytesPerPixel: bitsAllocated / 8,
    image: {
      bitsStored,
      highBit,
      signed,
      inverted: photometric === 'MONOCHROME1',
      slope: rescale(dataset, 'RescaleSlope') || 1,
      intercept: rescale(dataset, 'RescaleIntercept') ?? 0,
      padding: paddingRange(dataset, signed),
    },
  };
}

const MAX_RESCALE = 1e9; // far beyond any unit; with 16-bit codes the products stay exact

/** Null when absent. Throws when it is there and cannot be used: the pixels then mean something that is not known. */
function rescale(dataset: Dataset, keyword: 'RescaleSlope' | 'RescaleIntercept'): number | null {
  if (text(dataset, keyword) === '') return null;
  const value = number(dataset, keyword);
  if (value === null || Math.abs(value) > MAX_RESCALE) throw new UndecodableError('the rescale is not a usable number');
  return value;
}

/** Pixel Padding Value and Range Limit are US or SS by Pixel Representation (PS3.3 section C.7.5.1.1.2). */
function paddingRange(dataset: Dataset, signed: boolean): [number, number] | null {
  const read = (keyword: 'PixelPaddingValue' | 'PixelPaddingRangeLimit'): number | undefined => {
    const value = numbers(dataset, keyword)[0];
    return value === undefined ? undefined : signed ? (value << 16) >> 16 : value & 0xffff;
  };
  const value = read('PixelPaddingValue');
  const limit = read('PixelPaddingRangeLimit') ?? value;
  return value === undefined || limit === undefined ? null : [Math.min(value, limit), Math.max(value, limit)];
}

function decodeRle(frame: Uint8Array, pixels: number, bytesPerPixel: number): Uint8Array {
  try {
    return decodeRleFrame(frame, pixels, bytesPerPixel);
  } catch (error) {
    if (!(error instanceof RleError)) throw error;
    throw new UndecodableError(`RLE: ${error.message}`);
  }
}

function swapWords(bytes: Uint8Array): void {
  for (let i = 0; i + 1 < bytes.length; i += 2) bytes.subarray(i, i + 2).reverse();
}
