/** Opens all that is stored, in the data directory or in the stores that the settings name, in the order in which each part may rely on the last. */
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { LogStore } from './audit/log-store.ts';
import { makeDirectory } from './durable-files.ts';
import { errorOf } from './errors.ts';
import { SealedArchive } from './imaging/sealed-archive.ts';
import { openBossQueue } from './jobs/boss-queue.ts';
import type { JobQueue } from './jobs/queue.ts';
import { openSqliteQueue } from './jobs/sqlite-queue.ts';
import type { BlobStore } from './vault/blobs.ts';
import type { Db } from './vault/db.ts';
import { openDirectoryBlobs } from './vault/directory-blobs.ts';
import { KeyHierarchy, type RootSecrets } from './vault/keys.ts';
import { verifyLogHead } from './vault/log-head.ts';
import { migrate, readStateVersion } from './vault/migrations.ts';
import { openPostgres } from './vault/postgres.ts';
import { S3Folder } from './vault/s3.ts';
import { claimBucket, openS3Blobs } from './vault/s3-blobs.ts';
import { createSealedState, type SealedState } from './vault/sealed-state.ts';
import { SealingVault } from './vault/sealing-vault.ts';
import { openSqlite } from './vault/sqlite.ts';

export interface StateOptions extends RootSecrets {
  dataDir: string;
  /** PostgreSQL for rows and jobs; null or absent: SQLite in the data directory. */
  databaseUrl?: string | null;
  /** S3 for blobs and the audit log; null or absent: the data directory. */
  blobsUrl?: string | null;
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
  /** Where the audit log lies; null: in the data directory. */
  auditFolder: S3Folder | null;
  close(): Promise<void>;
}

/** All that the rooms enqueue. */
const JOB_KINDS = ['analyze-study'];
const DATABASE = 'abaton.db';
const LOG_HEAD = join('audit', 'checkpoint');

/** A database that is missing beside a log is a restore that went half-way: a new one would orphan every blob. */
function verifyComplete(dataDir: string): void {
  if (!existsSync(join(dataDir, DATABASE)) && existsSync(join(dataDir, LOG_HEAD)))
    throw errorOf('STATE_INCOMPLETE', 'The database of this data directory is missing.');
}

/**
 * Throws STATE_INCOMPLETE when the database is gone while the log is there, STATE_IN_USE when another process has the
 * directory, STATE_TOO_NEW when a newer release had it, SEAL_BROKEN when the keys are not those it was sealed with,
 * STORE_UNAVAILABLE when the disk does not do its part.
 */
export async function openState(options: StateOptions): Promise<State> {
  const { dataDir, databaseUrl = null, blobsUrl = null, tenant, studyIdleMs, nowMs = Date.now } = options;
  await makeDirectory(dataDir);
  if (databaseUrl === null) verifyComplete(dataDir);
  // First of all the lock: whoever holds the database also owns the blobs.
  const db = databaseUrl === null ? openSqlite(join(dataDir, DATABASE)) : await openPostgres(databaseUrl);
  let closeQueue = async () => {};
  try {
    const version = await readStateVersion(db);
    if (version === 0 && existsSync(join(dataDir, LOG_HEAD)))
      throw errorOf('STATE_INCOMPLETE', 'The database is empty, and the audit log of this data directory is not.');
    if (version > 0) await KeyHierarchy.open(db, options, nowMs); // wrong keys change nothing
    await migrate(db, nowMs);
    const keys = await KeyHierarchy.open(db, options, nowMs);
    const sealedState = createSealedState(options.teeKey);
    const folder = blobsUrl === null ? null : await openOwnFolder(blobsUrl, db, sealedState);
    const blobs = folder
      ? await openS3Blobs(folder, join(dataDir, 'spool'))
      : await openDirectoryBlobs(join(dataDir, 'blobs'));
    const vault = new SealingVault(blobs, keys, options.teeKey);
    let queue: JobQueue;
    if (databaseUrl === null) queue = await openSqliteQueue(db, nowMs);
    else {
      const boss = await openBossQueue(db, nowMs, JOB_KINDS);
      closeQueue = () => boss.close();
      queue = boss;
    }
    const archive = new SealedArchive({ db, blobs, vault, queue, tenant, studyIdleMs, nowMs });
    await blobs.reconcile((key) => archive.isReferenced(key));
    const close = async () => {
      await closeQueue();
      await db.close();
    };
    const auditFolder = folder?.folder('audit') ?? null;
    return { db, blobs, keys, vault, queue, archive, sealedState, auditFolder, close };
  } catch (error) {
    await closeQueue();
    await db.close();
    throw error;
  }
}

/** The folder of BLOBS_URL, which is this database's from now on. Throws STATE_INCOMPLETE when it is another one's. */
async function openOwnFolder(url: string, db: Db, state: SealedState): Promise<S3Folder> {
  const folder = await S3Folder.open(url);
  const known = await state.get(db, 'blobs-owner');
  const id = known ? Buffer.from(known).toString() : randomUUID();
  if (!known) await state.put(db, 'blobs-owner', Buffer.from(id)); // first: a crash before the claim leaves it to the next start
  await claimBucket(folder, id);
  return folder;
}

/**
 * Instances are acknowledged only after they are in the log, and a latched door is in the log alone: a new one would hide
 * what was recorded. Throws STATE_INCOMPLETE.
 */
export async function verifyLogPresent(
  db: Db,
  dataDir: string,
  origin: string,
  store: LogStore | null = null,
): Promise<void> {
  if (store ? (await store.read('checkpoint')) !== null : existsSync(join(dataDir, LOG_HEAD))) return;
  await verifyLogHead(db, origin, null);
  if ((await db.query('select ref from instances limit 1')).length > 0)
    throw errorOf('STATE_INCOMPLETE', 'The audit log of this data directory is missing.');
}
