/**
 * Collateral that outlives an outage: several services are asked in turn, the last good answer of each platform family is
 * kept on disk, and handed on until the date that Intel has signed into it. Who keeps collateral must not let it go back in
 * time: an answer that is older than the kept one would hide what Intel has found since.
 */
import { randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync } from 'node:fs';
import { open, rename, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type CollateralDates,
  parseCollateral,
  readCollateralDates,
  type TdxCollateral,
  UnavailableError,
} from '@abaton/verify';
import type { ClientCode } from './codes.ts';
import { fetchCollateral, type PlatformId } from './pccs.ts';

export interface CollateralStoreOptions {
  /** Where one file for each platform family is kept, mode 0600. Null: nothing outlives the process. */
  directory: string | null;
  /** Services (PCCS, or Intel's own), in the order in which they are asked. */
  pccsUrls: readonly string[];
  nowMs?: () => number;
  /** A service or the disk has failed, and collateral was found all the same; or what is kept is a week old. */
  onTrouble?: (trouble: Error) => void;
}

export interface KeptCollateral {
  collateral: TdxCollateral;
  dates: CollateralDates;
  /** A service has just answered with it. */
  fresh: boolean;
}

export interface CollateralStore {
  /** Asks the services. Throws COLLATERAL_UNAVAILABLE when none answers, and nothing is kept that is still in date. */
  collateralFor(platform: PlatformId): Promise<KeptCollateral>;
}

const VERSION = 1; // of the file
/** Intel signs anew each day, but has paused for longer than a week: old collateral is a warning, its end is the signed one. */
const OLD_MS = 7 * 86_400_000;

/** What is kept, if anything, is read when a platform is first asked for. */
export function openCollateralStore(options: CollateralStoreOptions): CollateralStore {
  const { directory, pccsUrls, nowMs = Date.now, onTrouble = () => {} } = options;
  if (directory) mkdirSync(directory, { recursive: true, mode: 0o700 });
  const kept = new Map<string, Omit<KeptCollateral, 'fresh'> | null>();
  const running = new Map<string, Promise<KeptCollateral>>();

  const keep = async (key: string, collateral: TdxCollateral, dates: CollateralDates): Promise<void> => {
    kept.set(key, { collateral, dates });
    if (directory)
      await writeDurably(join(directory, `${key}.json`), JSON.stringify({ version: VERSION, collateral })).catch(
        (cause) => onTrouble(new Error('Collateral cannot be kept on disk', { cause })),
      );
  };

  const load = (key: string): Omit<KeptCollateral, 'fresh'> | null => {
    const known = kept.get(key);
    if (known !== undefined) return known;
    const read = directory ? readKept(join(directory, `${key}.json`)) : null;
    kept.set(key, read);
    return read;
  };

  const ask = async (key: string, platform: PlatformId): Promise<KeptCollateral> => {
    const last = load(key);
    const lastIsGood = last !== null && nowMs() <= last.dates.expiresMs;
    const troubles: Error[] = [];
    for (const url of pccsUrls)
      try {
        const collateral = await fetchCollateral(url, platform);
        const dates = readCollateralDates(collateral);
        // Without anything better an expired answer is handed on: the verifier says what is wrong with it.
        if (lastIsGood && (isOlder(dates, last.dates) || nowMs() > dates.expiresMs)) {
          troubles.push(new Error(`${url} answered with older collateral than is kept`));
          continue;
        }
        await keep(key, collateral, dates);
        for (const trouble of troubles) onTrouble(trouble);
        return { collateral, dates, fresh: true };
      } catch (cause) {
        troubles.push(cause as Error);
      }
    if (!lastIsGood) throw unavailable(last?.dates ?? null, new AggregateError(troubles));
    for (const trouble of troubles) onTrouble(trouble);
    if (nowMs() > last.dates.issuedMs + OLD_MS)
      onTrouble(new Error('The collateral that is kept is older than a week'));
    return { ...last, fresh: false };
  };

  return {
    collateralFor(platform) {
      const key = `${platform.fmspc}-${platform.ca}`;
      const asking = running.get(key) ?? ask(key, platform).finally(() => running.delete(key));
      running.set(key, asking);
      return asking;
    },
  };
}

const isOlder = (answer: CollateralDates, kept: CollateralDates): boolean =>
  answer.tcbEvaluationDataNumber < kept.tcbEvaluationDataNumber || answer.issuedMs < kept.issuedMs;

function unavailable(kept: CollateralDates | null, cause: Error): UnavailableError<ClientCode> {
  const expired = kept ? `, and what was kept has expired on ${new Date(kept.expiresMs).toISOString()}` : '';
  const message = `No service handed out collateral for this platform${expired}. Check the addresses of the PCCS.`;
  return new UnavailableError<ClientCode>('COLLATERAL_UNAVAILABLE', message, { cause });
}

/** A file that is absent, torn or of another version is as good as none: it will be written anew. */
function readKept(file: string): Omit<KeptCollateral, 'fresh'> | null {
  try {
    const { version, collateral: json } = JSON.parse(readFileSync(file, 'utf8'));
    if (version !== VERSION) return null;
    const collateral = parseCollateral(json);
    return { collateral, dates: readCollateralDates(collateral) };
  } catch {
    return null;
  }
}

/** The old file or the new one, whole, whatever happens: written aside, synced, renamed, and the directory synced (fsync(2)). */
async function writeDurably(file: string, text: string): Promise<void> {
  const temporary = `${file}.${randomUUID()}.tmp`;
  const handle = await open(temporary, 'wx', 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
    await handle.close();
    await rename(temporary, file);
  } catch (error) {
    await handle.close().catch(() => {});
    await unlink(temporary).catch(() => {});
    throw error;
  }
  if (process.platform === 'win32') return; // orders its metadata itself
  const directory = await open(join(file, '..'), 'r');
  await directory.sync().finally(() => directory.close());
}
