/**
 * How long the audit log was when last looked at, remembered in the database beside what the log speaks of. So a log that is
 * gone, or was exchanged for a shorter one of the same key, is noticed at the start. Whoever restores the whole disk restores
 * this too: against him stand witnesses.
 */
import { errorOf } from '../errors.ts';
import type { Db } from './db.ts';

export const keepLogHead = (db: Db, origin: string, size: number): Promise<unknown> =>
  db.query(
    `insert into log_heads (origin, size) values ($1, $2)
     on conflict (origin) do update set size = excluded.size where log_heads.size < excluded.size`,
    [origin, size],
  );

/** `logs`: what was opened, one a year; none before that, when there is no log. Throws STATE_INCOMPLETE. */
export async function verifyLogHeads(db: Db, logs: readonly { origin: string; size: number }[]): Promise<void> {
  for (const known of await db.query('select origin, size from log_heads')) {
    const log = logs.find(({ origin }) => origin === known.origin);
    if (!log) throw errorOf('STATE_INCOMPLETE', 'The audit log of this data directory is missing, or that of a year.');
    if (log.size < Number(known.size))
      throw errorOf(
        'STATE_INCOMPLETE',
        `The audit log has ${log.size} entries, and had ${known.size}: an older copy lies in its place.`,
      );
  }
}
