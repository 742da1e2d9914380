/** Opens all that lives in the data directory of one machine, in the order in which each part may rely on the last. */
import { join } from 'node:path';
import { SealedArchive } from './imaging/sealed-archive.ts';
import type { JobQueue } from './jobs/queue.ts';
import { openSqliteQueue } from './jobs/sqlite-queue.ts';
import type { BlobStore } from './vault/blobs.ts';
import type { Db } from './vault/db.ts';
import { openDirectoryBlobs } from './vault/directory-blobs.ts';
import { makeDirectory } from './vault/durable-files.ts';
import { KeyHierarchy, type RootSecrets } from './vault/keys.ts';
import { migrate } from './vault/migrations.ts';
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

/**
 * Throws STATE_IN_USE when another process has the directory, STATE_TOO_NEW when a newer release had it, SEAL_BROKEN
 * when the keys are not those it was sealed with, STORE_UNAVAILABLE when the disk does not do its part.
 */
export async function openState(options: StateOptions): Promise<State> {
  const { dataDir, tenant, studyIdleMs, nowMs = Date.now } = options;
  await makeDirectory(dataDir);
  // First of all the lock: whoever holds the database also owns the blobs beside it.
  const db = openSqlite(join(dataDir, 'abaton.db'));
  try {
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
