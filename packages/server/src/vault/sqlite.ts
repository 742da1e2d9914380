/**
 * Rows in one SQLite file: write-ahead log, a sync with every commit, one process. SQLite's calls are synchronous, so a
 * commit holds the event loop for one fsync.
 */
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { errorOf } from '../errors.ts';
import type { Db, Row, SqlValue } from './db.ts';
import { type Engine, SerialDb } from './serial-db.ts';

/** Primary result codes (https://www.sqlite.org/rescode.html): someone else holds the lock. */
const IN_USE = new Set([5, 6]); // BUSY, LOCKED
/** The file cannot be read or written: READONLY, IOERR, CORRUPT, FULL, CANTOPEN, NOTADB. */
const UNAVAILABLE = new Set([8, 10, 11, 13, 14, 26]);

/** The settings of every connection, in this order; the file itself may have been made by the host, who is not trusted. */
const PRAGMAS = [
  'locking_mode = exclusive', // held until close: a second process gets STATE_IN_USE
  'journal_mode = wal',
  'synchronous = full', // a commit that returned survives power loss
  'foreign_keys = on',
  'temp_store = memory',
  // https://www.sqlite.org/security.html, "Untrusted SQLite Database Files"
  'trusted_schema = off',
  'cell_size_check = on',
];

/** Opens (or makes) the database. Throws STATE_IN_USE when another process has it, STORE_UNAVAILABLE when it cannot be read. */
export function openSqlite(path: string): Db {
  return translated(() => {
    const sqlite = new DatabaseSync(path, { timeout: 0, defensive: true });
    try {
      for (const pragma of PRAGMAS) sqlite.exec(`pragma ${pragma}`);
      sqlite.exec('begin exclusive; commit'); // takes the lock now, and not with the first query
      return new SerialDb(new SqliteEngine(sqlite));
    } catch (error) {
      sqlite.close();
      throw error;
    }
  });
}

interface Prepared {
  statement: StatementSync;
  parameters: number;
}

class SqliteEngine implements Engine {
  readonly #sqlite: DatabaseSync;
  /** By SQL text. Texts are constants of the source, so the cache has as many entries as the program has statements. */
  readonly #prepared = new Map<string, Prepared>();

  constructor(sqlite: DatabaseSync) {
    this.#sqlite = sqlite;
  }

  begin(): void {
    this.run('begin immediate', []);
  }

  commit(): void {
    this.run('commit', []);
  }

  rollback(): void {
    if (this.#sqlite.isOpen && this.#sqlite.isTransaction) this.run('rollback', []);
  }

  close(): void {
    if (this.#sqlite.isOpen) this.#sqlite.close();
  }

  run(sql: string, params: readonly SqlValue[]): Row[] {
    if (!this.#sqlite.isOpen) throw errorOf('STORE_UNAVAILABLE', 'The database is closed.');
    return translated(() => {
      let prepared = this.#prepared.get(sql);
      if (!prepared) {
        const parameters = Math.max(0, ...[...sql.matchAll(/\$(\d+)/g)].map((match) => Number(match[1])));
        prepared = { statement: this.#sqlite.prepare(sql), parameters };
        this.#prepared.set(sql, prepared);
      }
      // SQLite would read a missing parameter as null.
      if (params.length !== prepared.parameters)
        throw new Error(`${params.length} values for ${prepared.parameters} parameters`);
      // To SQLite `$1` is a parameter with a name.
      const named = Object.fromEntries(params.map((value, i) => [`$${i + 1}`, value]));
      return prepared.statement.all(named) as Row[];
    });
  }
}

/** SQLite's own errors as ours; its messages name tables and columns, never values. */
function translated<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    const code = error instanceof Error && 'errcode' in error ? Number(error.errcode) & 0xff : null;
    if (code !== null && IN_USE.has(code)) throw errorOf('STATE_IN_USE', 'Another process has the database open.');
    if (code !== null && UNAVAILABLE.has(code))
      throw errorOf('STORE_UNAVAILABLE', `The database answered with SQLite error ${code}.`, { cause: error });
    throw error;
  }
}
