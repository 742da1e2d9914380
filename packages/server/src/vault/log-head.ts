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

/** `size`: of the log as it was opened; null before that, when it has no checkpoint. Throws STATE_INCOMPLETE. */
export async function verifyLogHead(db: Db, origin: string, size: number | null): Promise<void> {
  const [known] = await db.query('select size from log_heads where origin = $1', [origin]);
  if (known && Number(known.size) > (size ?? 0))
    throw errorOf(
      'STATE_INCOMPLETE',
      size === null
        ? 'The audit log of this data directory is missing.'
        : `The audit log has ${size} entries, and had ${known.size}: an older copy lies in its place.`,
    );
}
