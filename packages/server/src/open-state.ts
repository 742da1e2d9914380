/**
 * Opens all that is stored, in the data directory or in the stores that the settings name, in the order in which each part may
 * rely on the last.
 */
import { randomUUID } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { makeDirectory } from './durable-files.ts';
import { errorOf } from './errors.ts';
import { SealedArchive } from './imaging/sealed-archive.ts';
import { openBossQueue } from './jobs/boss-queue.ts';
import type { JobQueue } from './jobs/queue.ts';
import { openSqliteQueue } from './jobs/sqlite-queue.ts';
import type { BlobStore } from './vault/blobs.ts';
import type { Db } from './vault/db.ts';
import { openDirectoryBlobs } from './vault/directory-blobs.ts';
import type { KeyholderDesk } from './vault/keyholder-desk.ts';
import { KeyHierarchy, type RootSecrets } from './vault/keys.ts';
import { verifyLogHeads } from './vault/log-head.ts';
import { migrate, readStateVersion } from './vault/migrations.ts';
import { openPostgres } from './vault/postgres.ts';
import { S3Folder } from './vault/s3.ts';
import { claimBucket, openS3Blobs } from './vault/s3-blobs.ts';
import { createSealedState, type SealedState } from './vault/sealed-state.ts';
import { SealingVault } from './vault/sealing-vault.ts';
import { openSqlite } from './vault/sqlite.ts';

export interface DatabaseOptions {
  dataDir: string;
  /** PostgreSQL for rows and jobs; null or absent: SQLite in the data directory. */
  databaseUrl?: string | null;
  teeKey: Uint8Array;
  nowMs?: () => number;
}

export interface VaultOptions extends DatabaseOptions, RootSecrets {
  /** For blobs; null or absent: they lie in the data directory. */
  bucket?: S3Folder | null;
  tenant: string;
  studyIdleMs: number;
}

export interface StateOptions extends Omit<VaultOptions, 'bucket'> {
  /** S3 for blobs and the audit log; null or absent: the data directory. */
  blobsUrl?: string | null;
}

/** What needs the keys of the vault. */
export interface State {
  db: Db;
  blobs: BlobStore;
  keys: KeyHierarchy;
  vault: SealingVault;
  queue: JobQueue;
  archive: SealedArchive;
  sealedState: SealedState;
  /** Lets the jobs go, and leaves the database open. */
  closeQueue(): Promise<void>;
  close(): Promise<void>;
}

/** All that the rooms enqueue. */
const JOB_KINDS = ['analyze-study'];
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

/** Sealed under the TEE key alone: tells a wrong one before anything is written with it. */
const TEE_CHECK = 'tee-check';

/**
 * The database without the keys of the vault, which a keyholder may still have to complete. Throws STATE_INCOMPLETE when the
 * database is gone while the log is there, STATE_IN_USE when another process has the directory, STATE_TOO_NEW when a newer
 * release had it, SEAL_BROKEN when the TEE key is not the one it was sealed with, STORE_UNAVAILABLE when the disk does not do
 * its part.
 */
export async function openDatabase(options: DatabaseOptions & Partial<RootSecrets>): Promise<Db> {
  const { dataDir, databaseUrl = null, teeKey, keyholderShare = null, nowMs = Date.now } = options;
  await makeDirectory(dataDir);
  if (databaseUrl === null) verifyComplete(dataDir);
  // First of all the lock: whoever holds the database also owns the blobs.
  const db = databaseUrl === null ? openSqlite(join(dataDir, DATABASE)) : await openPostgres(databaseUrl);
  try {
    const version = await readStateVersion(db);
    if (version === 0 && hasLog(dataDir))
      throw errorOf('STATE_INCOMPLETE', 'The database is empty, and the audit log of this data directory is not.');
    if (version > 0) {
      const checked = await createSealedState(teeKey).get(db, TEE_CHECK);
      if (!checked) await KeyHierarchy.open(db, { teeKey, keyholderShare }, nowMs); // from before there was that value
    }
    await migrate(db, nowMs);
    return db;
  } catch (error) {
    await db.close();
    throw error;
  }
}

/** The vault and all that lies in it. Throws SEAL_BROKEN when the keys are not those it was sealed with, STORE_UNAVAILABLE. */
export async function openVault(db: Db, options: VaultOptions): Promise<State> {
  const { dataDir, databaseUrl = null, bucket, teeKey, tenant, studyIdleMs, nowMs = Date.now } = options;
  const keys = await KeyHierarchy.open(db, options, nowMs);
  const sealedState = createSealedState(teeKey);
  if ((await sealedState.get(db, TEE_CHECK)) === null) await sealedState.put(db, TEE_CHECK, new Uint8Array());
  const blobs = bucket
    ? await openS3Blobs(bucket, join(dataDir, 'spool'))
    : await openDirectoryBlobs(join(dataDir, 'blobs'));
  const vault = new SealingVault(blobs, keys, teeKey);
  let queue: JobQueue;
  let closeQueue = async () => {};
  if (databaseUrl === null) queue = await openSqliteQueue(db, nowMs);
  else {
    const boss = await openBossQueue(db, nowMs, JOB_KINDS);
    closeQueue = () => boss.close();
    queue = boss;
  }
  try {
    const archive = new SealedArchive({ db, blobs, vault, queue, tenant, studyIdleMs, nowMs });
    await blobs.reconcile((key) => archive.isReferenced(key));
    const close = async () => {
      await closeQueue();
      await db.close();
    };
    return { db, blobs, keys, vault, queue, archive, sealedState, closeQueue, close };
  } catch (error) {
    await closeQueue();
    throw error;
  }
}

/**
 * The same where the manifest names a keyholder (`desk`): waits until he has brought the share of the active epoch. A vault
 * that was sealed before there was one gets its first share at once, in a new epoch.
 */
export async function openSharedVault(
  db: Db,
  desk: KeyholderDesk,
  options: Omit<VaultOptions, 'keyholderShare'>,
): Promise<State> {
  const epoch = await KeyHierarchy.activeEpoch(db);
  const unshared = { ...options, keyholderShare: null };
  if (!(await KeyHierarchy.isSealedUnder(db, unshared)))
    return desk.need(epoch, (keyholderShare) => openVault(db, { ...options, keyholderShare }));
  const state = await openVault(db, unshared);
  await desk.need(epoch + 1, (share) => state.keys.rotate(share));
  return state;
}

/** All at once, where the keys are known. */
export async function openState(options: StateOptions): Promise<State & { bucket: S3Folder | null }> {
  const { blobsUrl = null, teeKey } = options;
  const db = await openDatabase(options);
  try {
    const bucket = blobsUrl === null ? null : await openBucket(blobsUrl, db, teeKey);
    return { ...(await openVault(db, { ...options, bucket })), bucket };
  } catch (error) {
    await db.close();
    throw error;
  }
}

/** The folder of BLOBS_URL, which is this database's from now on. Throws STATE_INCOMPLETE when it is another one's. */
export async function openBucket(url: string, db: Db, teeKey: Uint8Array): Promise<S3Folder> {
  const state = createSealedState(teeKey);
  const folder = await S3Folder.open(url);
  const known = await state.get(db, 'blobs-owner');
  const id = known ? Buffer.from(known).toString() : randomUUID();
  if (!known) await state.put(db, 'blobs-owner', Buffer.from(id)); // first: a crash before the claim leaves it to the next start
  await claimBucket(folder, id);
  return folder;
}

/**
 * Instances are acknowledged only after they are in the log, and a latched door is in the log alone: a new one would hide
 * what was recorded. `years`: of which there is a log. Throws STATE_INCOMPLETE.
 */
export async function verifyLogPresent(db: Db, years: readonly number[]): Promise<void> {
  if (years.length > 0) return;
  await verifyLogHeads(db, []);
  if ((await db.query('select ref from instances limit 1')).length > 0)
    throw errorOf('STATE_INCOMPLETE', 'The audit log of this data directory is missing.');
}
