/** Opens all that lives in the data directory of one machine, in the order in which each part may rely on the last. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { makeDirectory } from './durable-files.ts';
import { errorOf } from './errors.ts';
import { SealedArchive } from './imaging/sealed-archive.ts';
import type { JobQueue } from './jobs/queue.ts';
import { openSqliteQueue } from './jobs/sqlite-queue.ts';
import type { BlobStore } from './vault/blobs.ts';
import type { Db } from './vault/db.ts';
import { openDirectoryBlobs } from './vault/directory-blobs.ts';
import { KeyHierarchy, type RootSecrets } from './vault/keys.ts';
import { verifyLogHeads } from './vault/log-head.ts';
import { migrate, readStateVersion } from './vault/migrations.ts';
import { createSealedState, type SealedState } from './vault/sealed-state.ts';
import { SealingVault } from './vault/sealing-vault.ts';
import { openSqlite } from './vault/sqlite.ts';

export interface StateOptions extends RootSecrets {
  dataDir: string;
  tenant: string;
  studyIdleMs: number;
  nowMs?: () => number;
}

export interface State {
  db: Db;
  blobs: BlobStore;
  keys: KeyHierarchy;
  vault: SealingVault;
  queue: JobQueue;
  archive: SealedArchive;
  sealedState: SealedState;
  close(): Promise<void>;
}

const DATABASE = 'abaton.db';
const LOG = 'audit';

/** Directories of years; a fresh one may be there without a checkpoint. */
function hasLog(dataDir: string): boolean {
  const years = existsSync(join(dataDir, LOG)) ? readdirSync(join(dataDir, LOG)) : [];
  return years.some((year) => existsSync(join(dataDir, LOG, year, 'checkpoint')));
}

/** A database that is missing beside a log is a restore that went half-way: a new one would orphan every blob. */
function verifyComplete(dataDir: string): void {
  if (!existsSync(join(dataDir, DATABASE)) && hasLog(dataDir))
    throw errorOf('STATE_INCOMPLETE', 'The database of this data directory is missing.');
}

/**
 * Throws STATE_INCOMPLETE when the database is gone while the log is there, STATE_IN_USE when another process has the
 * directory, STATE_TOO_NEW when a newer release had it, SEAL_BROKEN when the keys are not those it was sealed with,
 * STORE_UNAVAILABLE when the disk does not do its part.
 */
export async function openState(options: StateOptions): Promise<State> {
  const { dataDir, tenant, studyIdleMs, nowMs = Date.now } = options;
  await makeDirectory(dataDir);
  verifyComplete(dataDir);
  // First of all the lock: whoever holds the database also owns the blobs beside it.
  const db = openSqlite(join(dataDir, DATABASE));
  try {
    if ((await readStateVersion(db)) > 0) await KeyHierarchy.open(db, options, nowMs); // wrong keys change nothing
    await migrate(db, nowMs);
    const keys = await KeyHierarchy.open(db, options, nowMs);
    const blobs = await openDirectoryBlobs(join(dataDir, 'blobs'));
    const vault = new SealingVault(blobs, keys, options.teeKey);
    const queue = await openSqliteQueue(db, nowMs);
    const archive = new SealedArchive({ db, blobs, vault, queue, tenant, studyIdleMs, nowMs });
    await blobs.reconcile((key) => archive.isReferenced(key));
    const sealedState = createSealedState(options.teeKey);
    return { db, blobs, keys, vault, queue, archive, sealedState, close: () => db.close() };
  } catch (error) {
    await db.close();
    throw error;
  }
}

/**
 * Instances are acknowledged only after they are in the log, and a latched door is in the log alone: a new one would hide
 * what was recorded. Throws STATE_INCOMPLETE.
 */
export async function verifyLogPresent(db: Db, dataDir: string): Promise<void> {
  if (hasLog(dataDir)) return;
  await verifyLogHeads(db, []);
  if ((await db.query('select ref from instances limit 1')).length > 0)
    throw errorOf('STATE_INCOMPLETE', 'The audit log of this data directory is missing.');
}
