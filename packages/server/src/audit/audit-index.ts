/**
 * Which entries of the log are about a patient, as rows: the accounting of one patient then reads that patient's entries
 * and no others. Written behind the commits, a bundle at a time, from the log itself; so rows that are missing (another
 * database, a backup) are made anew from the log, and nothing is lost with them. Rows hold pseudonyms, as the log does.
 */
import { TILE_WIDTH } from '@abaton/verify';
import type { Db } from '../vault/db.ts';
import { parseEntry } from './audit-reader.ts';
import type { LogPosition } from './log.ts';
import type { TileLog } from './tile-log.ts';

export interface AuditIndex {
  /** Where the patient's entries stand, oldest first, of all that was committed when it was asked. */
  entriesOf(pid: string, pidEpoch: number): Promise<LogPosition[]>;
  /** Ends the work behind the commits, after the bundle at hand. */
  stop(): Promise<void>;
}

type Tree = Pick<TileLog, 'origin' | 'size' | 'entriesOf'>;

export interface AuditIndexOptions {
  db: Db;
  /** The logs of all years, newest first. */
  trees: () => readonly Tree[];
  /** How long entries may wait for their rows. */
  intervalMs?: number;
}

const INTERVAL_MS = 5_000; // an accounting catches up by itself; this only keeps what it has to catch up short

/** Begins at once to catch up, in the background; what fails is tried again. */
export function openAuditIndex({ db, trees, intervalMs = INTERVAL_MS }: AuditIndexOptions): AuditIndex {
  let stopped = false;
  let running: Promise<void> | null = null;

  const head = async (origin: string): Promise<{ size: number; entries: number }> => {
    const [row] = await db.query('select size, entries from audit_index_heads where origin = $1', [origin]);
    return { size: Number(row?.size ?? 0), entries: Number(row?.entries ?? 0) };
  };

  /** Rows that are gone show in their number; a log that is shorter than its index is another log. */
  const verify = async ({ origin, ...log }: { origin: string; size: number }): Promise<void> => {
    const { size, entries } = await head(origin);
    const [row] = await db.query('select count(*) as entries from audit_index where origin = $1', [origin]);
    if (Number(row?.entries) === entries && size <= log.size) return;
    await db.tx(async (q) => {
      await q.query('delete from audit_index where origin = $1', [origin]);
      await q.query('delete from audit_index_heads where origin = $1', [origin]);
    });
  };

  const addBundle = async (tree: Tree, n: number, from: number): Promise<void> => {
    const { origin } = tree;
    const entries = await tree.entriesOf(n);
    const size = n * TILE_WIDTH + entries.length;
    await db.tx(async (q) => {
      let added = 0;
      for (const [at, bytes] of entries.entries()) {
        const index = n * TILE_WIDTH + at;
        const { pid, pidEpoch } = parseEntry(Buffer.from(bytes).toString(), index);
        if (index < from || pid === null) continue;
        const rows = await q.query(
          `insert into audit_index (pid_epoch, pid, origin, entry) values ($1, $2, $3, $4)
           on conflict (pid_epoch, pid, origin, entry) do nothing returning entry`,
          [pidEpoch, pid, origin, index],
        );
        added += rows.length;
      }
      await q.query(
        `insert into audit_index_heads (origin, size, entries) values ($1, $2, $3) on conflict (origin)
         do update set size = excluded.size, entries = audit_index_heads.entries + excluded.entries`,
        [origin, size, added],
      );
    });
  };

  const run = async (goals: readonly { tree: Tree; untilSize: number }[], isExact: boolean): Promise<void> => {
    for (const { tree, untilSize } of goals) {
      if (isExact) await verify({ origin: tree.origin, size: tree.size() });
      for (let { size } = await head(tree.origin); size < untilSize && !stopped; size = (await head(tree.origin)).size)
        await addBundle(tree, Math.floor(size / TILE_WIDTH), size);
    }
  };
  /** One at a time: whoever comes second may have to go on where the first has ended. */
  const catchUp = async (isExact: boolean): Promise<void> => {
    const goals = trees().map((tree) => ({ tree, untilSize: tree.size() }));
    while (running) await running.catch(() => {});
    running = run(goals, isExact).finally(() => {
      running = null;
    });
    await running;
  };

  const look = (isExact: boolean) => void catchUp(isExact).catch(() => {}); // something is down; the next look tries again
  look(true);
  const timer = setInterval(() => {
    if (!running) look(false); // counting all rows is for the start, and for whoever relies on them
  }, intervalMs).unref();
  return {
    async entriesOf(pid, pidEpoch) {
      await catchUp(true);
      const found: LogPosition[] = [];
      for (const { origin } of [...trees()].reverse()) {
        const rows = await db.query(
          'select entry from audit_index where pid_epoch = $1 and pid = $2 and origin = $3 order by entry',
          [pidEpoch, pid, origin],
        );
        found.push(...rows.map(({ entry }) => ({ origin, index: Number(entry) })));
      }
      return found;
    },
    async stop() {
      stopped = true;
      clearInterval(timer);
      await running?.catch(() => {});
    },
  };
}
