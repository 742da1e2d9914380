/** One commit for all callers that wait, one commit at a time. */
import type { AbatonError } from '@abaton/verify';
import { errorOf } from '../errors.ts';

/** What one commit takes at most: bounds the time that the last caller waits for the first. */
const MAX_COMMIT_ENTRIES = 4096;
const MAX_COMMIT_BYTES = 4 * 2 ** 20;
/** What may wait while the disk hangs; beyond it an entry is refused, so that memory stays bounded. */
const MAX_PENDING_BYTES = 64 * 2 ** 20;
/** How soon a failed commit is tried again, and how long after a commit `tidy` runs. */
const TICK_MS = 1000;

interface Pending {
  entry: Buffer;
  resolve: (result: { index: number }) => void;
  reject: (error: AbatonError) => void;
}

export interface GroupCommitWork {
  /** Makes the entries durable and returns the index of the first. Also called without entries, after a failure. */
  commit(entries: readonly Buffer[]): Promise<number>;
  /** What may be done later than an acknowledgement. Must not throw; never runs beside a commit. */
  tidy(): Promise<void>;
}

export class GroupCommit {
  readonly #work: GroupCommitWork;
  readonly #queue: Pending[] = [];
  #pendingBytes = 0;
  #running: Promise<void> | null = null;
  #timer: NodeJS.Timeout | null = null;
  #isTidyDue = false;
  #healthy = true;
  #closed = false;

  constructor(work: GroupCommitWork) {
    this.#work = work;
  }

  /** False once a commit has failed and not yet succeeded again. It is tried again every second, entries or not. */
  get healthy(): boolean {
    return this.#healthy;
  }

  /** Resolves when the entry is committed. Throws AUDIT_UNAVAILABLE. */
  push(entry: Uint8Array): Promise<{ index: number }> {
    if (this.#closed) return Promise.reject(unavailable('The audit log is closed.'));
    if (this.#pendingBytes + entry.length > MAX_PENDING_BYTES)
      return Promise.reject(unavailable(`${this.#queue.length} entries wait for the disk already.`));
    this.#pendingBytes += entry.length;
    return new Promise((resolve, reject) => {
      this.#queue.push({ entry: Buffer.from(entry), resolve, reject });
      this.#wake();
    });
  }

  /** Resolves when nothing waits any more. */
  async settled(): Promise<void> {
    while (this.#running) await this.#running;
  }

  /** Commits what waits, tidies, and takes no more. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#timer) clearTimeout(this.#timer);
    this.#isTidyDue = true;
    this.#wake();
    await this.settled();
  }

  #wake(): void {
    this.#running ??= this.#run().finally(() => {
      this.#running = null;
      if (this.#hasWork()) this.#wake();
    });
  }

  #hasWork(): boolean {
    return this.#queue.length > 0 || this.#isTidyDue;
  }

  async #run(): Promise<void> {
    do {
      // Callers of the same turn share one commit.
      await new Promise(setImmediate);
      const batch = this.#take();
      if (batch.length > 0 || !this.#healthy) await this.#commit(batch);
      if (this.#queue.length > 0 || !this.#isTidyDue) continue;
      this.#isTidyDue = false;
      await this.#work.tidy();
    } while (this.#hasWork());
  }

  async #commit(batch: readonly Pending[]): Promise<void> {
    try {
      const first = await this.#work.commit(batch.map(({ entry }) => entry));
      this.#healthy = true;
      for (const [i, { resolve }] of batch.entries()) resolve({ index: first + i });
    } catch (cause) {
      this.#healthy = false;
      for (const { reject } of batch) reject(unavailable(`${batch.length} entries could not be committed.`, cause));
    }
    this.#schedule();
  }

  #take(): Pending[] {
    let bytes = 0;
    let count = 0;
    while (count < Math.min(this.#queue.length, MAX_COMMIT_ENTRIES) && bytes < MAX_COMMIT_BYTES)
      bytes += this.#queue[count++]!.entry.length;
    this.#pendingBytes -= bytes;
    return this.#queue.splice(0, count);
  }

  #schedule(): void {
    if (this.#closed) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      this.#isTidyDue = true;
      this.#wake();
    }, TICK_MS).unref();
  }
}

const unavailable = (why: string, cause?: unknown) => errorOf('AUDIT_UNAVAILABLE', why, { cause });
