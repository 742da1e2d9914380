import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { createNoteSigner } from '@abaton/client';
import {
  ED25519_TYPE,
  leafHash,
  ML_DSA_44_TYPE,
  parseBundle,
  rootOf,
  TILE_WIDTH,
  tilePath,
  tileWidth,
  verifyCheckpoint,
} from '@abaton/verify';
import { createLogKeys } from '../../src/audit/log-keys.ts';
import { directoryOfLogs } from '../../src/audit/log-place.ts';
import { openTileLog, type TileLog, type TileLogOptions } from '../../src/audit/tile-log.ts';
import { openYearlyLog, type YearlyLog } from '../../src/audit/yearly-log.ts';

export const FAMILY = 'hospital.example/audit';
export const ORIGIN = `${FAMILY}/2026`;
/** Logs of a running server are in the year of the clock; a test that lasts over New Year's Eve is run again. */
export const THIS_YEAR = new Date().getUTCFullYear();
export const SEED = new Uint8Array(32).fill(42);

/** Who signs the log of that name, as log-keys.ts has it for a year without predecessors. */
export const signersOf = (origin = ORIGIN, seed: Uint8Array = SEED) =>
  [ED25519_TYPE, ML_DSA_44_TYPE].map((type) => createNoteSigner({ name: origin, type, seed }));

/** Logs to close before their directory goes. */
const logsIn = new Map<string, (TileLog | YearlyLog)[]>();

export async function scratch(t: TestContext): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'abaton-audit-'));
  t.after(async () => {
    for (const log of logsIn.get(dir) ?? []) await log.close();
    await rm(dir, { recursive: true, force: true });
  });
  return dir;
}

export async function openLog(dir: string, options: Partial<TileLogOptions> = {}): Promise<TileLog> {
  const log = await openTileLog({ dir, origin: ORIGIN, signers: signersOf(options.origin), ...options });
  logsIn.set(dir, [...(logsIn.get(dir) ?? []), log]);
  return log;
}

/** Of every year, in the year of the clock; closed with the scratch directory. */
export async function openYears(dir: string): Promise<YearlyLog> {
  const log = await openYearlyLog({
    place: directoryOfLogs(dir),
    keys: createLogKeys(FAMILY, SEED),
    firstYear: THIS_YEAR,
  });
  logsIn.set(dir, [...(logsIn.get(dir) ?? []), log]);
  return log;
}

export const entryOf = (i: number, bytes = 24): Buffer => Buffer.from(`{"n":${i}}`.padEnd(bytes, ' '));

/** Appends entries `from` to `to` in commits of `perCommit`. */
export async function appendAll(log: TileLog, from: number, to: number, perCommit = 64): Promise<void> {
  for (let i = from; i < to; i += perCommit)
    await Promise.all(Array.from({ length: Math.min(perCommit, to - i) }, (_, k) => log.append(entryOf(i + k))));
}

/**
 * Reads the directory of a closed log as a stranger would, with nothing of the server: checkpoint, then entry bundles,
 * whose leaves must lead to its root. Returns the entries.
 */
export async function readDirectory(dir: string, vkeys: readonly string[]): Promise<Uint8Array[]> {
  const { size, root } = verifyCheckpoint(await readFile(join(dir, 'checkpoint'), 'utf8'), vkeys);
  const entries: Uint8Array[] = [];
  for (let n = 0; n * TILE_WIDTH < size; n++) {
    const path = tilePath({ level: 'entries', n, width: tileWidth('entries', n, size) });
    entries.push(...(parseBundle(await readFile(join(dir, path))) ?? assert.fail(`bundle ${n}`)));
  }
  assert.deepEqual(rootOf(entries.map(leafHash)), root);
  return entries;
}

/** Those of every year, in the order of the years. */
export async function readYears(dir: string, vkeys: readonly string[]): Promise<Uint8Array[]> {
  const years = (await readdir(dir)).sort();
  return (await Promise.all(years.map((year) => readDirectory(join(dir, year), vkeys)))).flat();
}
