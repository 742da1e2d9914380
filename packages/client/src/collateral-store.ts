/**
 * Collateral that outlives an outage: several services are asked in turn, the last good answer of each platform family is
 * kept on disk, and handed on until the date that Intel has signed into it. Who keeps collateral must not let it go back in
 * time: an answer that is older than the kept one would hide what Intel has found since.
 */
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type CollateralDates,
  parseCollateral,
  readCollateralDates,
  type TdxCollateral,
  UnavailableError,
} from '@abaton/verify';
import type { ClientCode } from './codes.ts';
import { writeDurably } from './durable-file.ts';
import { fetchCollateral, type PlatformId } from './pccs.ts';

export interface CollateralStoreOptions {
  /** Where one file for each platform family is kept, mode 0600. Null: nothing outlives the process. */
  directory: string | null;
  /** Services (PCCS, or Intel's own), in the order in which they are asked. */
  pccsUrls: readonly string[];
  nowMs?: () => number;
  /** Told of what went wrong although collateral was found. Must not throw. */
  onTrouble?: (trouble: CollateralTrouble) => void;
}

/**
 * `service`: one has failed, is slow, or has answered with what is wrong, expired or older than what is kept. `disk`: what is kept
 * cannot be written, or cannot be read and will be replaced. `age`: what is handed out was issued more than a week ago.
 */
export class CollateralTrouble extends Error {
  readonly kind: 'service' | 'disk' | 'age';

  constructor(kind: CollateralTrouble['kind'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
  }
}

export interface KeptCollateral {
  collateral: TdxCollateral;
  dates: CollateralDates;
  /** When a service answered with it. */
  fetchedAtMs: number;
  /** A service has just answered with it. */
  fresh: boolean;
}

export interface CollateralStore {
  /**
   * Asks the services; concurrent calls for one platform share one question. `authenticate` throws for what is not genuine
   * (see authenticateCollateral); without it any service can lock the store with numbers and dates that it makes up.
   *
   * When no service has anything good, or none within two seconds, the last good answer is handed on until its signed end.
   * An answer that has expired, or is older than what was ever kept, is handed on where there is nothing else, for the
   * verifier to name what is wrong with it, but never kept. Otherwise throws COLLATERAL_UNAVAILABLE, which says when the
   * kept one has expired.
   */
  collateralFor(platform: PlatformId, authenticate?: Authenticate): Promise<KeptCollateral>;
}

type Authenticate = (collateral: TdxCollateral) => Promise<void>;
type Kept = Omit<KeptCollateral, 'fresh'>;
/** What is kept and in date, to go on with; and what the services say, in their time. */
interface Question {
  good: Kept | null;
  answer: Promise<KeptCollateral>;
}

const VERSION = 1; // of the file: { version, fetchedAtMs, collateral }
/** Intel signs anew each day, but has paused for longer than a week: old collateral is a warning, its end is the signed one. */
const OLD_MS = 7 * 86_400_000;
/** Whoever asks waits no longer for a service that may be down while something good is kept: evidence is due in seconds. */
const PATIENCE_MS = 2000;
const MAX_BYTES = 2 ** 20; // of a kept file [50 kB]
const KEY = /^[0-9a-f]{12}-(?:processor|platform)$/; // it names a file

/** What is kept, if anything, is read when a platform is first asked for. */
export function openCollateralStore(options: CollateralStoreOptions): CollateralStore {
  const { directory, pccsUrls, nowMs = Date.now, onTrouble = () => {} } = options;
  const kept = new Map<string, Kept | null>();
  const running = new Map<string, Promise<Question>>();
  const fileOf = (key: string) => (directory === null ? null : join(directory, `${key}.json`));
  const trouble = (kind: CollateralTrouble['kind'], message: string, cause?: unknown) =>
    onTrouble(new CollateralTrouble(kind, message, { cause }));

  const keep = async (key: string, { collateral, dates, fetchedAtMs }: Kept): Promise<void> => {
    kept.set(key, { collateral, dates, fetchedAtMs });
    const file = fileOf(key);
    if (file)
      await writeDurably(file, JSON.stringify({ version: VERSION, fetchedAtMs, collateral })).catch((cause) =>
        trouble('disk', 'Collateral cannot be kept on disk', cause),
      );
  };

  /** What is kept and genuine, expired or not. */
  const recall = async (key: string, authenticate: Authenticate): Promise<Kept | null> => {
    try {
      const file = fileOf(key);
      if (!kept.has(key)) kept.set(key, file === null ? null : await readKept(file));
      const last = kept.get(key)!;
      if (last) await authenticate(last.collateral);
      return last;
    } catch (cause) {
      trouble('disk', 'The collateral that is kept cannot be used', cause);
      return null;
    }
  };

  const ask = async (key: string, platform: PlatformId, authenticate: Authenticate): Promise<Question> => {
    const last = await recall(key, authenticate);
    const good = last && nowMs() <= last.dates.expiresMs ? last : null;
    const answer = askServices(key, platform, authenticate, last, good).finally(() => running.delete(key));
    answer.catch(() => {}); // whoever waits for it sees it
    return { good, answer };
  };

  const askServices = async (
    key: string,
    platform: PlatformId,
    authenticate: Authenticate,
    last: Kept | null,
    good: Kept | null,
  ): Promise<KeptCollateral> => {
    let expired: Kept | null = null;
    let older: Kept | null = null;
    let answer: Kept | null = null;
    const failures: unknown[] = [];
    for (const url of pccsUrls) {
      try {
        const given = await fetchGenuine(url, platform, authenticate, nowMs());
        if (nowMs() > given.dates.expiresMs) {
          expired ??= given;
          throw new Error(`${url} answered with expired collateral`);
        }
        if (last && isOlder(given.dates, last.dates)) {
          older ??= given;
          throw new Error(`${url} answered with older collateral than is kept`);
        }
        answer = given;
        break;
      } catch (cause) {
        failures.push(cause);
      }
    }
    const found = answer ?? good ?? older ?? expired;
    if (!found) throw unavailable(last?.dates ?? null, new AggregateError(failures));
    for (const cause of failures) trouble('service', (cause as Error).message, cause);
    if (answer) await keep(key, answer);
    if (nowMs() > found.dates.issuedMs + OLD_MS) trouble('age', 'The collateral was issued more than a week ago');
    return { ...found, fresh: found !== good };
  };

  const whicheverIsFirst = async (answer: Promise<KeptCollateral>, good: Kept): Promise<KeptCollateral> => {
    const waiting = new AbortController();
    const outOfPatience = async (): Promise<KeptCollateral> => {
      await sleep(PATIENCE_MS, undefined, waiting);
      trouble('service', 'No service has answered yet');
      return { ...good, fresh: false };
    };
    return Promise.race([answer, outOfPatience()]).finally(() => waiting.abort());
  };

  return {
    async collateralFor(platform, authenticate = async () => {}) {
      const key = `${platform.fmspc}-${platform.ca}`;
      if (!KEY.test(key)) throw new TypeError('fmspc must be 12 lower-case hex digits, ca processor or platform');
      const joined = running.get(key);
      const asked = joined ?? ask(key, platform, authenticate);
      running.set(key, asked);
      const { good, answer } = await asked;
      const found = good ? await whicheverIsFirst(answer, good) : await answer;
      if (joined) await authenticate(found.collateral); // the one who asked may have looked less closely
      return found;
    },
  };
}

/** Throws for an answer that no verifier could read, or that is not genuine. */
async function fetchGenuine(
  url: string,
  platform: PlatformId,
  authenticate: Authenticate,
  fetchedAtMs: number,
): Promise<Kept> {
  const collateral = parseCollateral(await fetchCollateral(url, platform));
  await authenticate(collateral);
  return { collateral, dates: readCollateralDates(collateral), fetchedAtMs };
}

const isOlder = (answer: CollateralDates, kept: CollateralDates): boolean =>
  kept.sequence.some((value, part) => answer.sequence[part]! < value);

function unavailable(kept: CollateralDates | null, cause: Error): UnavailableError<ClientCode> {
  const expired = kept ? `, and what was kept has expired on ${new Date(kept.expiresMs).toISOString()}` : '';
  const message = `No service handed out collateral for this platform${expired}. Check the addresses of the PCCS.`;
  return new UnavailableError<ClientCode>('COLLATERAL_UNAVAILABLE', message, { cause });
}

/** Null when there is no file. Throws for one that cannot be read, is torn, or is of another version. */
async function readKept(file: string): Promise<Kept | null> {
  // Not to be waited for, if somebody has put a pipe there.
  const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
  if (handle === null) return null;
  const text = await readRegular(handle).finally(() => handle.close());
  const { version, fetchedAtMs, collateral: json } = JSON.parse(text);
  if (version !== VERSION || !Number.isSafeInteger(fetchedAtMs))
    throw new Error(`${file} is not of version ${VERSION}`);
  const collateral = parseCollateral(json);
  return { collateral, dates: readCollateralDates(collateral), fetchedAtMs };
}

async function readRegular(handle: FileHandle): Promise<string> {
  const about = await handle.stat();
  if (!about.isFile() || about.size > MAX_BYTES) throw new Error(`not a file of at most ${MAX_BYTES} bytes`);
  return handle.readFile('utf8');
}
