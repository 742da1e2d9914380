/**
 * The tables, as a numbered list of steps. A step that was released is never edited; a new release appends one.
 * SQL for every engine: bigint, integer, text and bytea only; ids, times and sequence numbers come from the program.
 *
 * In clear stand only blind indexes (`ref`, `study`, `series`, `patient`, `tenant`, `subject`), digests of ciphertext,
 * states and times. Everything else is in `sealed`, `wrapped` or `value`, which begin with their own version.
 */
import { durableStep } from '../durable-step.ts';
import { errorOf } from '../errors.ts';
import type { Db } from './db.ts';

export const MIGRATIONS: readonly (readonly string[])[] = [
  [
    // state: 'active' (one), 'retired', or 'destroyed' (so is the keyholder's share); key_check tells a wrong key from a changed row
    `create table epochs (
       id bigint primary key, state text not null, created_ms bigint not null, key_check bytea not null)`,
    `create table patient_keys (patient text primary key, epoch bigint not null, wrapped bytea not null)`,
    `create table sealed_state (name text primary key, value bytea not null)`,
    `create table studies (ref text primary key, tenant text not null, created_ms bigint not null)`,
    `create index studies_by_tenant on studies (tenant, created_ms)`,
    // origin: 'received', or 'result' for what an analysis produced
    `create table instances (
       ref text primary key, study text not null, series text not null, patient text not null, origin text not null,
       blob_key text not null, sealed bytea not null)`,
    `create index instances_by_study on instances (study)`,
    `create unique index instances_by_blob on instances (blob_key)`,
    `create table results (
       ref text primary key, study text not null, patient text not null, created_ms bigint not null,
       sealed bytea not null)`,
    `create index results_by_study on results (study, created_ms)`,
    // state: 'ready', 'running' or 'dead'; again_ms: asked for once more while running, not before that time
    `create table jobs (
       id text primary key, version integer not null, kind text not null, subject text not null, state text not null,
       attempt integer not null, not_before_ms bigint not null, lease_until_ms bigint, again_ms bigint)`,
    `create unique index jobs_by_subject on jobs (kind, subject)`,
    `create index jobs_due on jobs (kind, not_before_ms)`,
  ],
  [`create table log_heads (origin text primary key, size bigint not null)`], // log-head.ts
  [
    // lookup: finds the key that an entry of the log names (keys.ts)
    `create table accounting_keys (
       patient text primary key, lookup text not null, epoch bigint not null, wrapped bytea not null)`,
    `create index accounting_keys_by_lookup on accounting_keys (lookup)`,
    // which entries of the log are about a patient (audit-index.ts); can be made anew from the log
    `create table audit_index (pid_epoch bigint not null, pid text not null, origin text not null, entry bigint not null)`,
    `create unique index audit_index_by_pid on audit_index (pid_epoch, pid, origin, entry)`,
    `create table audit_index_heads (origin text primary key, size bigint not null, entries bigint not null)`,
  ],
];

/** 0 for new tables. Throws STATE_TOO_NEW, having written nothing, when a newer release was here. */
export async function readStateVersion(db: Db): Promise<number> {
  await db.query('create table if not exists migrations (version bigint primary key, applied_ms bigint not null)');
  const [row] = await db.query('select coalesce(max(version), 0) as version from migrations');
  const present = Number(row?.version);
  if (present > MIGRATIONS.length)
    throw errorOf('STATE_TOO_NEW', `The state has version ${present}; this release knows ${MIGRATIONS.length}.`);
  return present;
}

/** Brings the tables to this release, one transaction per step. Throws STATE_TOO_NEW. */
export async function migrate(db: Db, nowMs: () => number): Promise<void> {
  const present = await readStateVersion(db);
  for (const [index, statements] of MIGRATIONS.entries()) {
    const version = index + 1;
    if (version <= present) continue;
    await db.tx(async (q) => {
      for (const statement of statements) await q.query(statement);
      await q.query('insert into migrations (version, applied_ms) values ($1, $2)', [version, nowMs()]);
    });
    durableStep('migration-committed');
  }
}
