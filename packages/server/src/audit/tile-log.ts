/**
 * The transparency log on disk. One commit for all callers that wait:
 * entries → WAL, fdatasync → tree → full tiles → signed checkpoint (temp, fdatasync, rename, directory fsync) →
 * acknowledge. The directory is a C2SP tlog-tiles log (`checkpoint`, `tile/…`) beside its `wal/`. Full tiles are synced
 * later and rebuilt from the WAL at the start; partial ones are made when they are asked for, and put on disk within a
 * second, so that a copy of the directory can be read by any tlog-tiles verifier. One process may write: the caller
 * holds the lock on the data directory.
 */
import type { NoteSigner } from '@abaton/client';
import {
  AbatonError,
  type Checkpoint,
  EMPTY_ROOT,
  formatCheckpoint,
  leafHash,
  parseBundle,
  parseCheckpoint,
  parseNote,
  parseTilePath,
  parseVkey,
  TILE_WIDTH,
  TileTree,
  tileWidth,
  verifyCheckpoint,
  verifyInclusion,
} from '@abaton/verify';
import { durableStep } from '../durable-step.ts';
import { errorOf } from '../errors.ts';
import { type LogDisk, openDisk } from './disk.ts';
import { Frontier, hashLeaf } from './frontier.ts';
import { GroupCommit } from './group-commit.ts';
import type { LogPosition, LogProof } from './log.ts';
import { directoryLogStore, type LogStore, type LogWal } from './log-store.ts';
import { TileFiles } from './tile-files.ts';

/** An entry bundle counts the bytes of an entry in 16 bits (tlog-tiles, "Log entries"). */
const MAX_ENTRY_BYTES = 65_535;
/** A start replays at most three segments: about a second. */
const SEGMENT_BYTES = 8 * 2 ** 20;

/** The newest checkpoint that is durable. */
interface Head {
  size: number;
  root: Uint8Array;
  note: string;
}

export interface TileLogOptions {
  dir: string;
  /** Names the log: a schema-less URL without white space and "+", e.g. `hospital.example/audit/2026`. */
  origin: string;
  /** Lines that stand in every checkpoint (tlog-checkpoint, "extension lines"). */
  extensions?: readonly string[];
  /** Sign every checkpoint. Those named after the origin are the log's own keys, and stand first. */
  signers: readonly NoteSigner[];
  /** For tests: small segments, and a disk that fails. */
  segmentBytes?: number;
  disk?: LogDisk;
  /** Where the log lies when not in `dir`. */
  store?: LogStore;
}

/**
 * Opens the log or begins one, and recovers from a crash at any point: what was acknowledged is there, what follows it
 * whole in the WAL is kept (a checkpoint over it may have been signed), a torn tail is cut. Throws LOG_CORRUPT when the
 * data contradict the newest checkpoint, STATE_TOO_NEW, AUDIT_UNAVAILABLE when the disk cannot be read or written.
 */
export async function openTileLog(options: TileLogOptions): Promise<TileLog> {
  try {
    return await TileLog.open(options);
  } catch (error) {
    throw error instanceof AbatonError ? error : unavailable('The audit log cannot be opened.', error);
  }
}

export class TileLog {
  readonly #store: LogStore;
  /** Name of the log. */
  readonly origin: string;
  readonly #signers: readonly NoteSigner[];
  readonly #extensions: readonly string[];
  readonly #wal: LogWal;
  readonly #files: TileFiles;
  readonly #frontier: Frontier;
  #head: Head;
  /** The newest that a quorum of witnesses has cosigned under this process. */
  #cosigned: Head | null = null;
  #writingCosigned: Promise<void> | null = null;

  readonly #commits = new GroupCommit({
    commit: (entries) => this.#commit(entries),
    tidy: () => this.#writePartials(),
  });
  #releasing: Promise<void> | null = null;

  private constructor(
    store: LogStore,
    origin: string,
    signers: readonly NoteSigner[],
    extensions: readonly string[],
    wal: LogWal,
    files: TileFiles,
    frontier: Frontier,
    head: Head,
  ) {
    this.#store = store;
    this.origin = origin;
    this.#signers = signers;
    this.#extensions = extensions;
    this.#wal = wal;
    this.#files = files;
    this.#frontier = frontier;
    this.#head = head;
  }

  /** @internal see openTileLog */
  static async open(options: TileLogOptions): Promise<TileLog> {
    const { dir, origin, signers, extensions = [], segmentBytes = SEGMENT_BYTES, ...rest } = options;
    const store = rest.store ?? directoryLogStore(rest.disk ?? (await openDisk(dir)));
    const files = new TileFiles(store);
    const note = (await store.read('checkpoint'))?.toString('utf8');
    const wal = await store.openWal(segmentBytes);
    if (note === undefined && ((wal.first ?? 0) > 0 || (await store.list('tile')).length > 0))
      throw corrupt('there are entries and no checkpoint');
    const committed = note === undefined ? { size: 0, root: EMPTY_ROOT } : verifyHead(note, signers);
    if (committed.size > 0 && wal.first === null) throw corrupt('there is a checkpoint and no entry');

    // All before the oldest segment stands in full tiles that were synced before older segments were removed.
    const base = Math.ceil((wal.first ?? 0) / TILE_WIDTH) * TILE_WIDTH;
    const frontier = await Frontier.load(base, (level, n) => files.read({ level, n, width: TILE_WIDTH }));
    if (frontier === null) throw corrupt('a full tile is missing');
    const head: Head = { ...committed, note: note ?? '' };
    const log = new TileLog(store, origin, signers, extensions, wal, files, frontier, head);
    if (committed.size < base) throw corrupt(`the checkpoint of size ${committed.size} is older than the tiles`);
    log.#checkRoot();
    try {
      await log.#recover(base);
      await log.#writeVkeys();
      return log;
    } catch (error) {
      await wal.close();
      throw error;
    }
  }

  /** Appends one entry (< 64 KiB). On return it is durable and under a signed, durable checkpoint. Throws AUDIT_UNAVAILABLE. */
  async append(entry: Uint8Array): Promise<LogPosition> {
    if (entry.length === 0 || entry.length > MAX_ENTRY_BYTES)
      throw errorOf('TOO_LARGE', `A log entry has 1 to ${MAX_ENTRY_BYTES} bytes, not ${entry.length}.`);
    const { index } = await this.#commits.push(entry);
    return { origin: this.origin, index };
  }

  /** Resolves when nothing waits for a commit any more. */
  settled(): Promise<void> {
    return this.#commits.settled();
  }

  /** The newest durable checkpoint (C2SP signed note). */
  checkpoint(): string {
    return this.#head.note;
  }

  /** The log's own C2SP verifier keys. */
  vkeys(): string[] {
    return this.#signers.map(({ vkey }) => vkey).filter((vkey) => parseVkey(vkey).name === this.origin);
  }

  size(): number {
    return this.#head.size;
  }

  /** False once a commit has failed and not yet succeeded again; it is tried again every second. */
  healthy(): boolean {
    return this.#commits.healthy;
  }

  /**
   * Verified against the checkpoint, as is a proof. An entry beyond the tree was committed and is gone: both throw
   * LOG_CORRUPT then, or AUDIT_UNAVAILABLE.
   */
  async entry(index: number): Promise<Uint8Array> {
    return (await this.#prove(index, this.#head)).entry;
  }

  async proof(index: number): Promise<LogProof> {
    const head = this.#cosigned && index < this.#cosigned.size ? this.#cosigned : this.#head;
    const { entry, hashes } = await this.#prove(index, head);
    return {
      index,
      entry: Buffer.from(entry).toString('utf8'),
      checkpoint: head.note,
      hashes: hashes.map((hash) => Buffer.from(hash).toString('base64')),
    };
  }

  /** The entries of bundle `n`: up to 256, from index 256 · n on. Verified, and refused, as one entry is. */
  entriesOf(n: number): Promise<Uint8Array[]> {
    return this.#verified(`bundle ${n}`, async () => {
      const { size, root } = this.#head;
      const [first, width] = [n * TILE_WIDTH, tileWidth('entries', n, size)];
      const entries = (await this.#readBundle(n))?.slice(0, width);
      if (!width || entries?.length !== width) throw corrupt(`bundle ${n} is missing or too short`);
      const tree = this.#tree(size); // keeps the tile: all its hashes go into the proof of the first entry
      verifyInclusion(first, size, leafHash(entries[0]!), root, await tree.inclusionProof(first));
      for (const [at, entry] of entries.entries())
        if (!hashLeaf(entry).equals(await tree.leaf(first + at))) throw corrupt(`entry ${first + at} was changed`);
      return entries;
    });
  }

  /** The root that the tree had at that size, which is at most the present one. */
  async rootAt(size: number): Promise<Uint8Array> {
    return this.#verified(`the tree of ${size}`, () => this.#tree(size).root());
  }

  /** Keeps the newest checkpoint that a quorum has cosigned: proofs are given under it, and it lies beside the log. */
  keepCosigned(note: string): void {
    const head = { ...parseCheckpoint(parseNote(note).text), note };
    if (head.size <= (this.#cosigned?.size ?? 0)) return;
    this.#cosigned = head;
    this.#writingCosigned ??= this.#writeCosigned().finally(() => {
      this.#writingCosigned = null;
    });
  }

  /** For whoever has the directory alone. What fails now is replaced by the next. */
  async #writeCosigned(): Promise<void> {
    try {
      await this.#store.put('cosigned', Buffer.from(this.#cosigned?.note ?? ''));
    } catch {}
  }

  /** That the tree of `oldSize` is a prefix of the newest checkpoint's; for witnesses. */
  async consistencyProof(oldSize: number): Promise<{ checkpoint: string; hashes: string[] }> {
    const { size, note } = this.#head;
    if (!Number.isInteger(oldSize) || oldSize < 0 || oldSize > size)
      throw errorOf('NOT_FOUND', `There is no tree of ${oldSize}.`);
    const hashes = await this.#tree(size).consistencyProof(oldSize);
    return { checkpoint: note, hashes: hashes.map((hash) => Buffer.from(hash).toString('base64')) };
  }

  /**
   * What a stranger may read: `checkpoint` and hash tiles of the committed tree, full or partial. Null for everything
   * else; entry bundles hold pseudonyms and are never given out.
   */
  async readPublic(path: string): Promise<Uint8Array | null> {
    if (path === 'checkpoint') return Buffer.from(this.#head.note);
    const address = parseTilePath(path);
    if (address === null || address.level === 'entries') return null;
    const { level, n, width } = address;
    return width <= tileWidth(level, n, this.#head.size) ? this.#readHashes(level, n, width) : null;
  }

  /** Commits what waits, and gives up the files. */
  async close(): Promise<void> {
    await this.#commits.close();
    await this.#releasing;
    await this.#writingCosigned;
    await this.#wal.close();
  }

  #tree(size: number): TileTree {
    return new TileTree(size, (level, n, width) => this.#readHashes(level, n, width));
  }

  async #readHashes(level: number, n: number, width: number): Promise<Uint8Array | null> {
    return this.#frontier.edge(level, n, width) ?? this.#files.read({ level, n, width });
  }

  /** The entry and its inclusion proof, verified: what was changed on disk is found here. */
  async #prove(index: number, { size, root }: Head): Promise<{ entry: Uint8Array; hashes: Uint8Array[] }> {
    if (!Number.isInteger(index) || index < 0 || index >= size)
      throw corrupt(`entry ${index} was committed, and the log has ${size}`);
    return this.#verified(`entry ${index}`, async () => {
      const entry = (await this.#readBundle(Math.floor(index / TILE_WIDTH)))?.[index % TILE_WIDTH];
      if (!entry) throw corrupt(`entry ${index} is missing`);
      const hashes = await this.#tree(size).inclusionProof(index);
      verifyInclusion(index, size, leafHash(entry), root, hashes);
      return { entry, hashes };
    });
  }

  async #readBundle(n: number): Promise<Uint8Array[] | null> {
    const bundle = await this.#files.readBundle(n);
    return bundle && parseBundle(bundle);
  }

  async #verified<T>(what: string, read: () => Promise<T>): Promise<T> {
    try {
      return await read();
    } catch (cause) {
      if (cause instanceof AbatonError) throw corrupt(`${what} does not lead to the checkpoint`, cause);
      throw unavailable(`The audit log cannot be read: ${what}.`, cause);
    }
  }

  /** Adds what the WAL holds from `base` on, and signs it when it goes beyond the checkpoint. */
  async #recover(base: number): Promise<void> {
    for await (const { first, entries } of this.#wal.replay(this.#head.size)) {
      for (const entry of entries.slice(Math.max(0, base - first))) {
        this.#add(entry);
        this.#checkRoot();
      }
      await this.#files.flush();
    }
    if (this.#wal.first === null) await this.#wal.rotate(0);
    if (this.#head.note === '' || this.#frontier.size > this.#head.size) await this.#publish();
    await this.#files.writePartials(this.#head.size, this.#frontier);
  }

  /** For whoever has the directory and nothing else. It is no proof: who it belongs to, verified evidence says. */
  async #writeVkeys(): Promise<void> {
    const text = `${this.vkeys().join('\n')}\n`;
    if ((await this.#store.read('vkeys'))?.toString('utf8') !== text) {
      await this.#store.put('vkeys', Buffer.from(text));
      await this.#store.sync(['vkeys']);
    }
  }

  #checkRoot(): void {
    if (this.#frontier.size === this.#head.size && !this.#frontier.root().equals(this.#head.root))
      throw corrupt(`the entries do not lead to the checkpoint of size ${this.#head.size}`);
  }

  #add(entry: Buffer): void {
    this.#files.addEntry(this.#frontier.size, entry);
    for (const tile of this.#frontier.add(hashLeaf(entry))) this.#files.addTile(tile);
  }

  /** See GroupCommit. */
  async #commit(entries: readonly Buffer[]): Promise<number> {
    // First what an earlier, failed commit left: nothing piles up in memory while the disk is full.
    for (const entry of await this.#wal.settle()) this.#add(entry);
    await this.#files.flush();
    const first = this.#frontier.size;
    if (this.#wal.isFull) {
      await this.#wal.rotate(first);
      this.#releasing ??= this.#release().finally(() => {
        this.#releasing = null;
      });
    }
    await this.#wal.append(entries);
    // From here on the entries are in the log for good, whether or not they are acknowledged.
    for (const entry of entries) this.#add(entry);
    await this.#files.flush();
    durableStep('audit-tiles-written');
    await this.#publish();
    return first;
  }

  /** Signs the tree as it is. On return the checkpoint is durable. */
  async #publish(): Promise<void> {
    const { size } = this.#frontier;
    const root = this.#frontier.root();
    const text = formatCheckpoint(this.origin, size, root, this.#extensions);
    const note = `${text}\n${this.#signers.map((signer) => signer.sign(text)).join('')}`;
    await this.#store.replace('checkpoint', Buffer.from(note));
    durableStep('audit-checkpoint-synced');
    this.#head = { size, root, note };
  }

  async #writePartials(): Promise<void> {
    try {
      await this.#files.writePartials(this.#head.size, this.#frontier);
    } catch {
      // They serve only copies of the directory; the next commit finds out about the disk by itself.
    }
  }

  /** Syncs the full tiles, and then lets go of the WAL under them. In the background: no caller waits for it. */
  async #release(): Promise<void> {
    const covered = Math.floor(this.#head.size / TILE_WIDTH) * TILE_WIDTH;
    try {
      if (!(await this.#files.sync())) return;
      durableStep('audit-tiles-synced');
      await this.#wal.releaseBelow(covered);
    } catch {
      // The segments stay, and the next rotation tries again.
    }
  }
}

function verifyHead(note: string, signers: readonly NoteSigner[]): Checkpoint {
  try {
    return verifyCheckpoint(
      note,
      signers.map((signer) => signer.vkey),
    );
  } catch (cause) {
    throw corrupt('the checkpoint is not one that this log signed', cause);
  }
}

const corrupt = (why: string, cause?: unknown) =>
  errorOf('LOG_CORRUPT', `The audit log contradicts itself: ${why}.`, { cause });
const unavailable = (why: string, cause?: unknown) => errorOf('AUDIT_UNAVAILABLE', why, { cause });
