/**
 * The audit log over the years: one tlog-tiles log each, in a place of its own (log-place.ts). The first entry of a log names the end of the one
 * before it (origin, size, root), so that none can be taken out of the row, cut, or exchanged. Ended logs are kept and read,
 * and never written to.
 */
import { TILE_WIDTH, verifyCheckpoint } from '@abaton/verify';
import { errorOf } from '../errors.ts';
import type { AuditLog, LogEnd, LogPosition, LogProof } from './log.ts';
import type { LogKeys } from './log-keys.ts';
import type { LogPlace } from './log-place.ts';
import { openTileLog, type TileLog, type TileLogOptions } from './tile-log.ts';

export interface YearlyLogOptions {
  place: LogPlace;
  keys: LogKeys;
  /** Of the very first log, when there is none. */
  firstYear: number;
  /** For tests. */
  tileLog?: Partial<Pick<TileLogOptions, 'segmentBytes' | 'disk'>>;
}

interface YearLog {
  year: number;
  log: TileLog;
}

/** Throws what openTileLog throws, and LOG_CORRUPT when a log does not continue the one before it. */
export async function openYearlyLog(options: YearlyLogOptions): Promise<YearlyLog> {
  const { place, firstYear } = options;
  const found = await place.years();
  const years = found.length > 0 ? found.sort((a, b) => a - b) : [firstYear];
  const logs: YearLog[] = [];
  try {
    for (const year of years) logs.unshift({ year, log: await openYear(options, year, logs) });
    // A log without its first entry was never begun: a crash came between.
    while (logs.length > 1 && logs[0]!.log.size() === 0) await logs.shift()!.log.close();
    for (const [i, { log }] of logs.entries()) if (logs[i + 1]) await verifyContinues(log, endOf(logs[i + 1]!.log));
    return new YearlyLog(options, logs);
  } catch (error) {
    for (const { log } of logs) await log.close();
    throw error;
  }
}

export class YearlyLog implements AuditLog {
  readonly #options: YearlyLogOptions;
  /** Newest first. */
  readonly #logs: YearLog[];
  #beginning: Promise<void> | null = null;

  /** @internal see openYearlyLog */
  constructor(options: YearlyLogOptions, logs: YearLog[]) {
    this.#options = options;
    this.#logs = logs;
  }

  /** The log that is written to. */
  current(): TileLog {
    return this.#logs[0]!.log;
  }

  /** All that are kept, newest first. */
  trees(): readonly TileLog[] {
    return this.#logs.map(({ log }) => log);
  }

  async append(entry: Uint8Array): Promise<LogPosition> {
    await this.#beginning;
    return this.current().append(entry);
  }

  year(): number {
    return this.#logs[0]!.year;
  }

  begin(year: number, firstEntry: (end: LogEnd) => Uint8Array): void {
    if (this.#beginning || year <= this.year()) return;
    this.#beginning = this.#begin(year, firstEntry).finally(() => {
      this.#beginning = null;
    });
    this.#beginning.catch(() => undefined); // told to those who wait for it
  }

  checkpoint(): string {
    return this.current().checkpoint();
  }

  vkeys(): string[] {
    return this.#logs.flatMap(({ log }) => log.vkeys());
  }

  size(): number {
    return this.current().size();
  }

  healthy(): boolean {
    return this.current().healthy();
  }

  async proof({ origin, index }: LogPosition): Promise<LogProof> {
    const log = this.tree(origin);
    if (!log) throw errorOf('LOG_CORRUPT', 'The audit log contradicts itself: an entry stands in a log that is gone.');
    return log.proof(index);
  }

  /** The keys that a log of that name has, had, or would have; none for a name of another family. */
  vkeysOf(origin: string): string[] {
    const { keys } = this.#options;
    const year = Number(/\/(\d{4})$/.exec(origin)?.[1]);
    if (!year || keys.originOf(year) !== origin) return [];
    return keys.signersOf(year, []).map(({ vkey }) => vkey);
  }

  /** The log of that name; null when none is kept. */
  tree(origin: string): TileLog | null {
    return this.trees().find((log) => log.origin === origin) ?? null;
  }

  async readPublic(path: string, year = this.year()): Promise<Uint8Array | null> {
    return this.#logs.find((each) => each.year === year)?.log.readPublic(path) ?? null;
  }

  async *backward(): AsyncGenerator<{ origin: string; first: number; entries: Uint8Array[] }> {
    for (const log of this.trees())
      for (let bundle = Math.ceil(log.size() / TILE_WIDTH) - 1; bundle >= 0; bundle--)
        yield { origin: log.origin, first: bundle * TILE_WIDTH, entries: await log.entriesOf(bundle) };
  }

  async close(): Promise<void> {
    await this.#beginning?.catch(() => undefined);
    for (const log of this.trees()) await log.close();
  }

  async #begin(year: number, firstEntry: (end: LogEnd) => Uint8Array): Promise<void> {
    const old = this.current();
    await old.settled();
    if (!old.healthy()) throw errorOf('AUDIT_UNAVAILABLE', 'The log of the year before cannot be ended.');
    const log = await openYear(this.#options, year, this.#logs);
    try {
      // an earlier try may have left it durable, though it was not acknowledged
      if (log.size() === 0) await log.append(firstEntry(endOf(old)));
    } catch (error) {
      await log.close();
      throw error;
    }
    this.#logs.unshift({ year, log });
  }
}

const openYear = async ({ place, keys, tileLog }: YearlyLogOptions, year: number, earlier: readonly YearLog[]) =>
  openTileLog({
    ...tileLog,
    ...(await place.open(year)),
    origin: keys.originOf(year),
    signers: keys.signersOf(
      year,
      earlier.map((before) => before.year),
    ),
    extensions: earlier[0] ? [formatPrevious(endOf(earlier[0].log))] : [],
  });

/**
 * In every checkpoint, so that a witness sees what it continues: without it, a host that deletes the directory at New Year
 * would have a log whose name no witness knows.
 */
const formatPrevious = ({ origin, size, root }: LogEnd): string => `previous ${origin} ${size} ${root}`;

const endOf = (log: TileLog): LogEnd => {
  const { origin, size, root } = verifyCheckpoint(log.checkpoint(), log.vkeys());
  return { origin, size, root: Buffer.from(root).toString('base64') };
};

async function verifyContinues(log: TileLog, end: LogEnd): Promise<void> {
  const { facts } = JSON.parse(Buffer.from(await log.entry(0)).toString());
  if (facts?.previousOrigin !== end.origin || facts.previousSize !== end.size || facts.previousRoot !== end.root)
    throw errorOf('LOG_CORRUPT', `The audit log contradicts itself: ${log.origin} does not continue ${end.origin}.`);
}
