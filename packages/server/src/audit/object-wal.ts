/**
 * The write-ahead log in a bucket: one object per commit, `wal/<index of the first entry, 16 digits>`, put only where none
 * is. Objects are immutable, so whoever finds the place taken by another writer's has learnt that there is one, and stops.
 *
 * | offset | length | meaning |
 * |---:|---:|---|
 * | 0 | 21 | `abaton-wal-object v1\n` |
 * | 21 | 16 | id of the writer, random for each start: two writers never put the same bytes |
 * | 37 | … | records, as in wal.ts |
 */
import { randomBytes } from 'node:crypto';
import { durableStep } from '../durable-step.ts';
import { errorOf } from '../errors.ts';
import type { S3Folder } from '../vault/s3.ts';
import type { LogWal } from './log-store.ts';
import { formatRecord, parseRecords } from './wal.ts';

const HEADER = Buffer.from('abaton-wal-object v1\n');
const WRITER_BYTES = 16;
/** A commit has at most 4 MiB and one entry more (group-commit.ts), and 6 bytes for each of its 4096 entries. */
const MAX_OBJECT_BYTES = 5 * 2 ** 20;
/** A start reads at most about twice as many objects, each in one round trip. */
const FULL_OBJECTS = 128;

const keyOf = (first: number) => String(first).padStart(16, '0');

export class ObjectWal implements LogWal {
  readonly #folder: S3Folder;
  readonly #fullBytes: number;
  readonly #writer = randomBytes(WRITER_BYTES);
  /** First index of each object, in order. */
  readonly #firsts: number[];
  #next = 0;
  #since = { objects: 0, bytes: 0 };
  /** The object whose put threw: it may be there. */
  #unsettled: { entries: Buffer[]; bytes: Buffer } | null = null;
  #isFenced = false;

  private constructor(folder: S3Folder, fullBytes: number, firsts: number[]) {
    this.#folder = folder;
    this.#fullBytes = fullBytes;
    this.#firsts = firsts;
  }

  /** Finds the objects and changes nothing. */
  static async open(folder: S3Folder, fullBytes: number): Promise<ObjectWal> {
    const firsts: number[] = [];
    for await (const name of folder.list()) if (/^\d{16}$/.test(name)) firsts.push(Number(name));
    return new ObjectWal(
      folder,
      fullBytes,
      firsts.sort((a, b) => a - b),
    );
  }

  get first(): number | null {
    return this.#firsts[0] ?? null;
  }

  get isFull(): boolean {
    return this.#since.objects >= FULL_OBJECTS || this.#since.bytes >= this.#fullBytes;
  }

  async *replay(committed: number): AsyncGenerator<{ first: number; entries: Buffer[] }> {
    this.#next = this.first ?? 0;
    for (const first of this.#firsts) {
      const object = await this.#folder.read(keyOf(first), MAX_OBJECT_BYTES);
      if (object === null || first !== this.#next) throw corrupt(`the object of entry ${this.#next} is missing`);
      if (/^abaton-wal-object v(?!1\n)\d+\n/.test(object.toString('latin1', 0, 32)))
        throw errorOf('STATE_TOO_NEW', 'The audit log was written in a newer format.');
      const { entries, length } = parseRecords(object, HEADER.length + WRITER_BYTES);
      if (!object.subarray(0, HEADER.length).equals(HEADER) || length !== object.length || entries.length === 0)
        throw corrupt(`the object of entry ${first} is damaged`);
      this.#next += entries.length;
      yield { first, entries };
    }
    if (this.#next < committed) throw corrupt(`entry ${this.#next} of ${committed} is missing`);
  }

  async settle(): Promise<Buffer[]> {
    if (this.#unsettled === null) return [];
    const { entries, bytes } = this.#unsettled;
    await this.#put(bytes);
    this.#added(entries.length, bytes.length);
    return entries;
  }

  /** Throws STATE_IN_USE when another writer has taken the place, and from then on always. */
  async append(entries: readonly Uint8Array[]): Promise<void> {
    if (entries.length === 0) return;
    if (this.#unsettled !== null) throw new Error('an append before the one before is settled');
    const bytes = Buffer.concat([HEADER, this.#writer, ...entries.map(formatRecord)]);
    this.#unsettled = { entries: entries.map((entry) => Buffer.from(entry)), bytes };
    durableStep('audit-wal-written');
    await this.#put(bytes);
    durableStep('audit-wal-synced');
    this.#added(entries.length, bytes.length);
  }

  async rotate(): Promise<void> {
    this.#since = { objects: 0, bytes: 0 };
    durableStep('audit-segment-created');
  }

  async releaseBelow(index: number): Promise<void> {
    while (this.#firsts.length > 1 && this.#firsts[1]! <= index) {
      await this.#folder.delete(keyOf(this.#firsts[0]!));
      durableStep('audit-segment-removed');
      this.#firsts.shift();
    }
  }

  async close(): Promise<void> {}

  async #put(bytes: Buffer): Promise<void> {
    const fenced = () => errorOf('STATE_IN_USE', `Another process writes this audit log: it has entry ${this.#next}.`);
    if (this.#isFenced) throw fenced();
    const key = keyOf(this.#next);
    if (await this.#folder.put(key, bytes, { ifAbsent: true })) return;
    // Ours when the answer to an earlier try was lost.
    if ((await this.#folder.read(key, MAX_OBJECT_BYTES))?.equals(bytes)) return;
    this.#isFenced = true;
    throw fenced();
  }

  #added(entries: number, bytes: number): void {
    this.#unsettled = null;
    this.#firsts.push(this.#next);
    this.#next += entries;
    this.#since.objects++;
    this.#since.bytes += bytes;
  }
}

const corrupt = (why: string) => errorOf('LOG_CORRUPT', `The audit log contradicts itself: ${why}.`);
