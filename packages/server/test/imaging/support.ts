/** What the imaging tests share: the corpus, Debian's readers, and DICOM bytes that the code under test did not write. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Parameters as FastCheckParameters } from 'fast-check';
import type { InstanceHeader } from '../../src/imaging/dataset.ts';
import { DicomError } from '../../src/imaging/dicom-failures.ts';
import { createScanner, type ScanOptions } from '../../src/imaging/scan.ts';

/** 10 runs, or 1000 with SLOW=1; fast-check prints the seed of a failure. */
export const runs = <T>(): FastCheckParameters<T> => ({ numRuns: process.env.SLOW ? 1000 : 10 });

const dataRoot = process.env.ABATON_TEST_DATA ?? fileURLToPath(new URL('../../../../../shared/data', import.meta.url));
const corpusRoot = join(dataRoot, 'imaging', 'dicom');

/** One row of manifest.csv, by column name. */
export type CorpusRow = Record<string, string>;

/** The rows of the DICOM corpus; null, and a counted skip, when the shared data is absent. */
export function corpus(t: TestContext): CorpusRow[] | null {
  const file = join(corpusRoot, 'manifest.csv');
  if (!existsSync(file)) {
    t.skip('needs ABATON_TEST_DATA');
    return null;
  }
  const [names = [], ...rows] = parseCsv(readFileSync(file, 'utf8'));
  return rows.map((cells) => Object.fromEntries(names.map((name, i) => [name, cells[i] ?? ''])));
}

export const corpusPath = (file: string): string => join(corpusRoot, file);
export const corpusFile = (file: string): Buffer => readFileSync(corpusPath(file));

/** RFC 4180, one line per record. */
const parseCsv = (csv: string): string[][] =>
  csv
    .trim()
    .split(/\r?\n/)
    .map((line) =>
      [...line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)].map(([, quoted, bare]) => quoted ?? bare ?? ''),
    );

export const scan = (bytes: Uint8Array, options?: ScanOptions): InstanceHeader => scanPieces([bytes], options);

export function scanPieces(pieces: Iterable<Uint8Array>, options?: ScanOptions): InstanceHeader {
  const scanner = createScanner(options);
  for (const piece of pieces) scanner.push(piece);
  return scanner.end();
}

export const inPieces = (bytes: Uint8Array, size: number): Uint8Array[] =>
  Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) => bytes.subarray(i * size, (i + 1) * size));

/** The code that refuses it, or 'read'. Anything but a DicomError fails the test. */
export function outcomeOf(pieces: Iterable<Uint8Array>, options?: ScanOptions): string {
  try {
    scanPieces(pieces, options);
    return 'read';
  } catch (error) {
    if (!(error instanceof DicomError)) throw error;
    return error.code;
  }
}

/**
 * Runs a Debian tool, and returns its output and exit code. Null, and a skip, when it is not installed; an error with
 * REQUIRE_SYSTEM=1.
 */
export function tool(
  t: TestContext,
  command: string,
  args: readonly string[],
  env: Record<string, string> = {},
): { output: string; code: number | null } | null {
  const { error, stdout, stderr, status } = spawnSync(command, args, {
    encoding: 'latin1',
    maxBuffer: 2 ** 26,
    env: { PATH: process.env.PATH, ...env },
  });
  if (!error) return { output: stdout + stderr, code: status };
  if (process.env.REQUIRE_SYSTEM === '1') throw error;
  t.skip(`needs ${command}: run scripts/system-deps.sh`);
  return null;
}

/** Debian's Python, which has pydicom (without numpy). `argv[1]` and following are `args`. */
export const pydicom = (t: TestContext, script: string, args: readonly string[]) =>
  tool(t, '/usr/bin/python3', ['-W', 'ignore', '-c', `import pydicom, sys\n${script}`, ...args]);

export function scratch(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'abaton-test-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

const LONG_VRS = new Set(['OB', 'OF', 'OW', 'SQ', 'UN', 'UT']);

/** One explicit VR little endian element. `length` may lie. */
export function element(tag: number, vr: string, value: string | Uint8Array = '', length?: number): Buffer {
  const body = Buffer.from(value as string, 'latin1');
  const padded = body.length % 2 === 0 ? body : Buffer.concat([body, Buffer.from(vr === 'UI' ? '\0' : ' ')]);
  const head = Buffer.alloc(LONG_VRS.has(vr) ? 12 : 8);
  head.writeUInt16LE(tag >>> 16, 0);
  head.writeUInt16LE(tag & 0xffff, 2);
  head.write(vr, 4, 'latin1');
  if (LONG_VRS.has(vr)) head.writeUInt32LE(length ?? padded.length, 8);
  else head.writeUInt16LE(length ?? padded.length, 6);
  return Buffer.concat([head, padded]);
}

export const us = (value: number): Buffer => Buffer.from(Uint16Array.of(value).buffer);
export const delimiter = (tag: number, length = 0): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt16LE(tag >>> 16, 0);
  bytes.writeUInt16LE(tag & 0xffff, 2);
  bytes.writeUInt32LE(length, 4);
  return bytes;
};
export const ITEM = 0xfffee000;
export const ITEM_END = 0xfffee00d;
export const SEQUENCE_END = 0xfffee0dd;
export const UNDEFINED = 0xffffffff;

export const SC = '1.2.840.10008.5.1.4.1.1.7';
/** Raw Data Storage: no image. */
export const RAW = '1.2.840.10008.5.1.4.1.1.66';
export const LE = '1.2.840.10008.1.2.1';

/** Preamble, prefix and file meta information. */
export function fileHead(
  syntax = LE,
  preamble: Uint8Array = new Uint8Array(0),
  metaInstance = '1.2.3.4',
  sopClass = SC,
): Buffer {
  const meta = Buffer.concat([
    element(0x00020002, 'UI', sopClass),
    element(0x00020003, 'UI', metaInstance),
    ...(syntax ? [element(0x00020010, 'UI', syntax)] : []),
  ]);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(meta.length);
  const start = Buffer.alloc(128);
  start.set(preamble);
  return Buffer.concat([start, Buffer.from('DICM'), element(0x00020000, 'UL', length), meta]);
}

export const identity = (instance = '1.2.3.4', sopClass = SC): Buffer =>
  Buffer.concat([element(0x00080016, 'UI', sopClass), element(0x00080018, 'UI', instance)]);
export const hierarchy = (): Buffer =>
  Buffer.concat([element(0x0020000d, 'UI', '1.2.3.1'), element(0x0020000e, 'UI', '1.2.3.2')]);

/** The start of an instance that is no image. */
export const rawHead = (): Buffer => Buffer.concat([fileHead(LE, undefined, undefined, RAW), identity(undefined, RAW)]);

/** The Image Pixel module of `rows` × `columns` grey pixels. */
export const imagePixel = (rows: number, columns: number, bits = 8, frames = ''): Buffer =>
  Buffer.concat([
    element(0x00280002, 'US', us(1)),
    element(0x00280004, 'CS', 'MONOCHROME2'),
    ...(frames ? [element(0x00280008, 'IS', frames)] : []),
    element(0x00280010, 'US', us(rows)),
    element(0x00280011, 'US', us(columns)),
    element(0x00280100, 'US', us(bits)),
    element(0x00280101, 'US', us(bits)),
    element(0x00280102, 'US', us(bits - 1)),
    element(0x00280103, 'US', us(0)),
  ]);

/** A good file of 4 × 6 bytes, with a nested sequence before its pixels and padding behind them. */
export const goodDataSet = (): Buffer =>
  Buffer.concat([
    identity(),
    element(
      0x00081140,
      'SQ',
      Buffer.concat([delimiter(ITEM, UNDEFINED), element(0x00081150, 'UI', SC), delimiter(ITEM_END)]),
    ),
    element(0x00100020, 'LO', 'CANARY-ID'),
    hierarchy(),
    imagePixel(4, 6),
    element(0x7fe00010, 'OB', Buffer.alloc(24, 7)),
    element(0xfffcfffc, 'OB', Buffer.alloc(10)),
  ]);
export const goodFile = (): Buffer => Buffer.concat([fileHead(), goodDataSet()]);
