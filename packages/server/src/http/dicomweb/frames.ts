/** Single frames out of a sealed instance, by range: native pixel data, and encapsulated in whole fragments (PS3.5 A.4). */
import { errorOf } from '../../errors.ts';
import type { StoredInstance } from '../../imaging/archive.ts';
import type { InstanceHeader } from '../../imaging/dataset.ts';
import { createScanner } from '../../imaging/scan.ts';
import { EXPLICIT_LE, IMPLICIT_LE, TRANSFER_SYNTAXES } from '../../imaging/transfer-syntaxes.ts';
import { number, text } from '../../imaging/values.ts';
import type { Vault } from '../../vault/vault.ts';
import type { DicomwebDeps } from './deps.ts';

interface Range {
  offset: number;
  length: number;
}

export interface Frame {
  length: number;
  open(): AsyncIterable<Uint8Array>;
}

export interface FrameReader {
  /** In which the frames are handed out. */
  transferSyntaxUid: string;
  /** `numbers` count from 1. Throws NOT_FOUND beyond the last one, NOT_ACCEPTABLE when frames cannot be told apart. */
  locate(numbers: readonly number[]): Promise<Frame[]>;
}

type FrameDeps = Pick<DicomwebDeps, 'vault' | 'maxInstanceBytes' | 'maxHeaderBytes'>;

export function frameReader(deps: FrameDeps, instance: StoredInstance): FrameReader {
  const { transferSyntaxUid, dataset, patient, object } = instance;
  const frames = number(dataset, 'NumberOfFrames') ?? 1;
  return {
    // Of native pixel data only the byte order remains to be said.
    transferSyntaxUid: transferSyntaxUid === IMPLICIT_LE ? EXPLICIT_LE : transferSyntaxUid,
    async locate(numbers) {
      if (TRANSFER_SYNTAXES.get(transferSyntaxUid)?.deflated)
        throw errorOf('NOT_ACCEPTABLE', 'Frames of a deflated instance are not available; retrieve the instance.');
      const pixelData = await locatePixelData(deps, instance);
      if (!pixelData || numbers.some((frame) => frame > frames))
        throw errorOf('NOT_FOUND', `The instance has ${pixelData ? frames : 0} frames.`);
      const { offset, length } = pixelData;
      const rangesOf =
        length === 'encapsulated'
          ? await encapsulatedFrames(createWindow(deps.vault, instance, offset), frames)
          : nativeFrames(instance, { offset, length }, frames);
      return numbers.map((frame) => {
        const ranges = rangesOf(frame);
        return {
          length: ranges.reduce((sum, range) => sum + range.length, 0),
          async *open() {
            for (const range of ranges) yield* deps.vault.openObject(patient, object, range);
          },
        };
      });
    },
  };
}

type RangesOf = (frame: number) => Range[];

function nativeFrames({ dataset }: StoredInstance, { offset, length }: Range, frames: number): RangesOf {
  const of = (keyword: 'Rows' | 'Columns' | 'BitsAllocated') => number(dataset, keyword) ?? 0;
  // Two samples per pixel when chrominance is shared by two (PS3.3 C.7.6.3.1.2, YBR_FULL_422).
  const subsampled = text(dataset, 'PhotometricInterpretation') === 'YBR_FULL_422';
  const samples = subsampled ? 2 : (number(dataset, 'SamplesPerPixel') ?? 1);
  const bits = of('Rows') * of('Columns') * samples * of('BitsAllocated');
  const bytes = frames === 1 ? Math.ceil(bits / 8) : bits / 8;
  if (!Number.isInteger(bytes) || bytes === 0 || bytes * frames > length)
    throw errorOf('NOT_ACCEPTABLE', 'The frames of this instance do not begin at bytes; retrieve the instance.');
  return (frame) => [{ offset: offset + (frame - 1) * bytes, length: bytes }];
}

/** A whole-slide level of 100,000 tiles; more would fill memory for one frame. */
const MAX_FRAGMENTS = 100_000;

/** Item (FFFE,E000) and Sequence Delimitation Item (FFFE,E0DD), as the little endian bytes read as one number. */
const [ITEM, SEQUENCE_END] = [0xe000fffe, 0xe0ddfffe];

/** One fragment per frame, or fragments that the Basic Offset Table assigns, or all of them to the only frame. */
async function encapsulatedFrames(window: Window, frames: number): Promise<RangesOf> {
  const broken = () => errorOf('NOT_ACCEPTABLE', 'The frames of this instance cannot be told apart; retrieve it.');
  const items: Range[] = [];
  for (let at = window.start; ; ) {
    const head = await window.read(at, 8);
    const [tag, length] = [head.readUInt32LE(0), head.readUInt32LE(4)];
    if (tag === SEQUENCE_END) break;
    if (tag !== ITEM) throw broken();
    if (items.push({ offset: at + 8, length }) > MAX_FRAGMENTS) throw broken();
    at += 8 + length;
  }
  const [table, ...fragments] = items;
  if (frames === 1 && fragments.length > 0) return () => fragments;
  if (fragments.length === frames) return (frame) => [fragments[frame - 1]!];
  if (table?.length !== 4 * frames || fragments.length < frames) throw broken();
  const first = fragments[0]!.offset - 8; // offsets count from the first fragment's item tag (PS3.5 A.4)
  const starts: number[] = [];
  for (let frame = 0; frame < frames; frame++)
    starts.push(first + (await window.read(table.offset + 4 * frame, 4)).readUInt32LE(0));
  const of = (frame: number) =>
    fragments.filter(({ offset }) => offset - 8 >= starts[frame - 1]! && offset - 8 < (starts[frame] ?? Infinity));
  return (frame) => {
    const ranges = of(frame);
    if (ranges.length === 0) throw broken();
    return ranges;
  };
}

interface Window {
  start: number;
  /** Throws NOT_ACCEPTABLE past the end of the instance. */
  read(offset: number, length: number): Promise<Buffer>;
}

/** The vault opens whole chunks of 64 KiB: as much is kept, so that small items cost one opening together. */
const WINDOW_BYTES = 64 * 1024;

function createWindow(vault: Vault, { patient, object }: StoredInstance, start: number): Window {
  let [from, bytes] = [0, Buffer.alloc(0)];
  return {
    start,
    async read(offset, length) {
      if (offset < from || offset + length > from + bytes.length) {
        const chunks: Uint8Array[] = [];
        const range = { offset, length: Math.min(WINDOW_BYTES, object.plaintextBytes - offset) };
        if (range.length < length) throw errorOf('NOT_ACCEPTABLE', 'The encapsulated pixel data has no end.');
        for await (const chunk of vault.openObject(patient, object, range)) chunks.push(chunk);
        [from, bytes] = [offset, Buffer.concat(chunks)];
      }
      return bytes.subarray(offset - from, offset - from + length);
    },
  };
}

type PixelData = InstanceHeader['pixelData'];

/** Positions that were found, by blob: some bytes each. A viewer asks for the frames of some hundred instances at once. */
const located = new Map<string, PixelData>();
const MAX_LOCATED = 4096;

/** Rows do not say where the pixel data begins: the instance is scanned again, once. */
async function locatePixelData(deps: FrameDeps, { patient, object }: StoredInstance): Promise<PixelData> {
  const known = located.get(object.blobKey);
  if (known !== undefined) return known;
  const { vault, maxInstanceBytes, maxHeaderBytes } = deps;
  const scanner = createScanner({ maxInstanceBytes, maxHeaderBytes });
  for await (const chunk of vault.openObject(patient, object)) scanner.push(chunk);
  const { pixelData } = scanner.end();
  if (located.size >= MAX_LOCATED) located.delete(located.keys().next().value!);
  located.set(object.blobKey, pixelData);
  return pixelData;
}
