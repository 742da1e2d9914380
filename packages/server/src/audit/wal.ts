/**
 * The write-ahead log: entries in their order, durable before anything else is made of them. Files
 * `wal/<index of the first entry, 16 digits>`:
 *
 * | offset | length | meaning |
 * |---:|---:|---|
 * | 0 | 14 | `abaton-wal v1\n` |
 * | 14 | … | records |
 *
 * Record: CRC-32 (4, big-endian, of the rest of the record) ‖ length (2, big-endian, not 0) ‖ entry. The checksum only
 * tells where a crash tore the tail; what was acknowledged is vouched for by the signed checkpoint.
 */
import { crc32 } from 'node:zlib';
import { durableStep } from '../durable-step.ts';
import { errorOf } from '../errors.ts';
import type { LogDisk, LogFile } from './disk.ts';
import type { LogWal } from './log-store.ts';

const HEADER = Buffer.from('abaton-wal v1\n');
const RECORD_OVERHEAD_BYTES = 6;
const pathOf = (first: number) => `wal/${String(first).padStart(16, '0')}`;

/** One entry as a record. */
export function formatRecord(entry: Uint8Array): Buffer {
  const record = Buffer.allocUnsafe(RECORD_OVERHEAD_BYTES + entry.length);
  record.writeUInt16BE(entry.length, 4);
  record.set(entry, RECORD_OVERHEAD_BYTES);
  record.writeUInt32BE(crc32(record.subarray(4)), 0);
  return record;
}

/** The whole records from `start` on, and where they end. */
export function parseRecords(segment: Buffer, start: number): { entries: Buffer[]; length: number } {
  const entries: Buffer[] = [];
  let at = start;
  while (at + RECORD_OVERHEAD_BYTES < segment.length) {
    const end = at + RECORD_OVERHEAD_BYTES + segment.readUInt16BE(at + 4);
    const isWhole = end > at + RECORD_OVERHEAD_BYTES && end <= segment.length;
    if (!isWhole || crc32(segment.subarray(at + 4, end)) !== segment.readUInt32BE(at)) break;
    entries.push(segment.subarray(at + RECORD_OVERHEAD_BYTES, end));
    at = end;
  }
  return { entries, length: at };
}

export class Wal implements LogWal {
  readonly #disk: LogDisk;
  readonly #segmentBytes: number;
  /** First index of each segment, in order; the last one is written to. */
  readonly #segments: number[];
  #file: LogFile | null = null;
  #length = 0;
  /** Bytes may stand behind `#length` that were never acknowledged. */
  #torn = false;

  private constructor(disk: LogDisk, segmentBytes: number, segments: number[]) {
    this.#disk = disk;
    this.#segmentBytes = segmentBytes;
    this.#segments = segments;
  }

  /** Finds the segments and changes nothing. `replay` must run to its end before the first append. */
  static async open(disk: LogDisk, segmentBytes: number): Promise<Wal> {
    const names = (await disk.list('wal')).filter((name) => /^\d{16}$/.test(name)).sort();
    return new Wal(disk, segmentBytes, names.map(Number));
  }

  /** Index of the first entry that is here; null when there is no segment. */
  get first(): number | null {
    return this.#segments[0] ?? null;
  }

  /** True when the next entries belong into a new segment. */
  get isFull(): boolean {
    return this.#length >= this.#segmentBytes;
  }

  /**
   * Yields the entries, segment by segment, and cuts off a torn tail. Throws LOG_CORRUPT when an entry below
   * `committed` is missing or damaged, STATE_TOO_NEW for another version.
   */
  async *replay(committed: number): AsyncGenerator<{ first: number; entries: Buffer[] }> {
    let next = this.first ?? 0;
    for (const [i, first] of this.#segments.entries()) {
      const isLast = i === this.#segments.length - 1;
      const segment = await this.#disk.read(pathOf(first));
      if (segment === null || first !== next) throw corrupt(`the segment of entry ${next} is missing`);
      if (/^abaton-wal v(?!1\n)\d+\n/.test(segment.toString('latin1', 0, 32)))
        throw errorOf('STATE_TOO_NEW', 'The audit log was written in a newer format.');
      const hasHeader = segment.subarray(0, HEADER.length).equals(HEADER);
      const { entries, length } = hasHeader ? parseRecords(segment, HEADER.length) : { entries: [], length: 0 };
      next = first + entries.length;
      const isTorn = length < segment.length;
      if (isLast ? next < committed : isTorn) throw corrupt(`entry ${next} of ${committed} is missing or damaged`);
      yield { first, entries };
      if (!isLast) continue;
      this.#file = await this.#disk.open(pathOf(first));
      if (!hasHeader) await begin(this.#file);
      this.#length = hasHeader ? length : HEADER.length;
      if (isTorn) await this.#file.truncate(this.#length);
      // What a killed process had written may still be in the page cache alone; a checkpoint will stand on it.
      await this.#file.sync();
      await this.#disk.syncDirectory('wal');
      await this.#disk.syncDirectory('');
    }
  }

  /** None: what a failed append left is cut off. */
  async settle(): Promise<Buffer[]> {
    return [];
  }

  /** Appends entries. Durable on return; when it throws, the next append cuts off what was left. */
  async append(entries: readonly Uint8Array[]): Promise<void> {
    const file = this.#file!;
    const records = Buffer.concat(entries.map(formatRecord));
    if (this.#torn) await file.truncate(this.#length);
    this.#torn = true;
    await file.write(records, this.#length);
    durableStep('audit-wal-written');
    await file.sync();
    durableStep('audit-wal-synced');
    this.#torn = false;
    this.#length += records.length;
  }

  /** Begins a segment whose first entry is `first`. Durable on return. */
  async rotate(first: number): Promise<void> {
    const file = await this.#disk.open(pathOf(first));
    try {
      await begin(file);
      await this.#disk.syncDirectory('wal');
      await this.#disk.syncDirectory('');
    } catch (error) {
      await file.close();
      throw error;
    }
    durableStep('audit-segment-created');
    await this.#file?.close();
    this.#file = file;
    this.#length = HEADER.length;
    this.#torn = false;
    this.#segments.push(first);
  }

  /** Removes the segments whose entries all lie below `index`, the oldest first; never the one that is written to. */
  async releaseBelow(index: number): Promise<void> {
    while (this.#segments.length > 1 && this.#segments[1]! <= index) {
      await this.#disk.remove(pathOf(this.#segments[0]!));
      await this.#disk.syncDirectory('wal');
      durableStep('audit-segment-removed');
      this.#segments.shift();
    }
  }

  async close(): Promise<void> {
    await this.#file?.close();
    this.#file = null;
  }
}

async function begin(file: LogFile): Promise<void> {
  await file.truncate(0);
  await file.write(HEADER, 0);
  await file.sync();
}

const corrupt = (why: string) => errorOf('LOG_CORRUPT', `The audit log contradicts itself: ${why}.`);
