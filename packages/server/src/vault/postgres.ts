/**
 * Rows in PostgreSQL, for the one process that owns the database. There is one session: it holds an advisory lock, and
 * every statement runs on it. So whoever has lost the lock, which is to have lost the session, has also lost the way to
 * write: there are never two owners in silence. After a loss the next query connects anew, and goes on only when nobody
 * else has owned the database in between. What a host does who clones or rolls back the whole database, this cannot see;
 * the witnesses of the audit log do.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { AbatonError } from '@abaton/verify';
import pg from 'pg';
import { errorOf } from '../errors.ts';
import type { Db, Row, SqlValue } from './db.ts';
import { type Engine, SerialDb } from './serial-db.ts';

/** 'abaton' as a number: advisory locks are numbers that applications agree on, one space per database. */
const OWNER_LOCK = 0x6162_6174_6f6e;
/** A process that was killed is gone from the server within this: its socket closes, its last commit ends. */
const LOCK_WAIT_MS = 2000;
/** How long a commit whose answer was lost waits to learn how it ended: a crash recovery of a small database takes seconds. */
const VERDICT_WAIT_MS = 15_000;
const PAUSE_MS = 100;
/** A host that does not answer: one TCP handshake, TLS and SCRAM are well under a second. */
const CONNECT_MS = 10_000;
/** No statement of ours reads more than one study; the longest wraps a patient's keys anew. Beyond it the server hangs. */
const STATEMENT_MS = 60_000;
/** Where even the answer "too late" does not come: the connection is cut. */
const ANSWER_MS = STATEMENT_MS + 10_000;

/** Commits that are on the disk of this server when they return (PostgreSQL 15, section 30.3 and "synchronous_commit"). */
const DURABLE_COMMITS = ['on', 'remote_write', 'remote_apply'];
/** Of a session: 60 s until the server notices a host that is gone, and frees the lock for its successor. */
const KEEP_ALIVE = 'set tcp_keepalives_idle = 30; set tcp_keepalives_interval = 10; set tcp_keepalives_count = 3';

/** SQLSTATE (PostgreSQL 15, appendix A) of a server that cannot now, not of a statement that is wrong. */
const UNAVAILABLE = /^(08(?!P01)|25006|53|55P03|57|58|F0|XX)/;
/** Of a user, a password or a database that is not what the URL says. */
const REFUSED = /^(28|3D000|42501)/;

const INT8 = 20; // pg_type.dat: oid of bigint
const BYTEA = 17;
const TYPES: pg.CustomTypesConfig = {
  getTypeParser(oid, format) {
    if (oid === INT8) return Number;
    const parse = pg.types.getTypeParser(oid, format as 'text');
    if (oid !== BYTEA) return parse;
    return (text: string) => {
      const { buffer, byteOffset, length } = parse(text) as unknown as Buffer;
      return new Uint8Array(buffer, byteOffset, length);
    };
  },
};

/**
 * Opens the database; no table of ours need be there. Throws SETTING_INVALID when the URL is none, the server refuses the
 * user, or would acknowledge what is not on its disk; STATE_IN_USE when another process owns the database;
 * STORE_UNAVAILABLE when it cannot be reached. A query throws STORE_UNAVAILABLE while it cannot, and later ones
 * connect again by themselves. No error carries the URL or a value.
 */
export async function openPostgres(url: string): Promise<Db> {
  const session = new PostgresSession(url);
  await session.own();
  return new SerialDb(session);
}

class PostgresSession implements Engine {
  readonly #url: string;
  /** Written into the database by `own`; another value there means another owner. */
  readonly #token = randomUUID();
  #client: pg.Client | null = null;
  /** Id of the open transaction, to ask for its fate. */
  #transaction: string | null = null;
  #isClosed = false;

  constructor(url: string) {
    this.#url = url;
  }

  /** Connects and becomes the owner. */
  async own(): Promise<void> {
    try {
      const client = await this.#connect();
      await ask(client, 'create table if not exists owner (id bigint primary key, token text not null)');
      await ask(
        client,
        'insert into owner (id, token) values (1, $1) on conflict (id) do update set token = excluded.token',
        [this.#token],
      );
      this.#client = client;
    } catch (error) {
      throw this.#translated(error, 'SETTING_INVALID');
    }
  }

  async run(sql: string, params: readonly SqlValue[]): Promise<Row[]> {
    if (this.#transaction !== null && this.#client === null) throw lost();
    try {
      return await ask(await this.#session(), sql, params);
    } catch (error) {
      throw this.#translated(error);
    }
  }

  async begin(): Promise<void> {
    const [row] = await this.run('begin; select cast(pg_current_xact_id() as text) as id', []);
    this.#transaction = String(row?.id);
  }

  async commit(): Promise<void> {
    const id = this.#transaction!;
    try {
      await this.run('commit', []);
    } catch (error) {
      // The answer was lost, not necessarily the commit. The server knows.
      if (this.#client !== null || !(await this.#isCommitted(id))) throw error;
    }
    this.#transaction = null;
  }

  async rollback(): Promise<void> {
    if (this.#client !== null && this.#transaction !== null) await this.run('rollback', []).catch(() => this.#drop());
    this.#transaction = null;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const client = this.#client;
    this.#client = null;
    await client?.end().catch(() => undefined);
  }

  /** True when the transaction is known to have committed. The lock of its session is ours, so it is not under way any more. */
  async #isCommitted(id: string): Promise<boolean> {
    this.#transaction = null;
    for (const until = Date.now() + VERDICT_WAIT_MS; Date.now() < until; await sleep(PAUSE_MS))
      try {
        const [row] = await this.run('select pg_xact_status(cast(cast($1 as text) as xid8)) as status', [id]);
        return row?.status === 'committed';
      } catch (error) {
        if (this.#isClosed || (error as AbatonError).code !== 'STORE_UNAVAILABLE') return false;
      }
    return false;
  }

  /** The session, or a new one when it was lost. */
  async #session(): Promise<pg.Client> {
    if (this.#isClosed) throw errorOf('STORE_UNAVAILABLE', 'The database is closed.');
    if (this.#client !== null) return this.#client;
    const client = await this.#connect().catch((error: unknown) => {
      // The server may not have noticed yet that our session is gone; or it is somebody else's, and then the token tells.
      throw (error as AbatonError).code === 'STATE_IN_USE' ? lost('another session holds it') : error;
    });
    const [row] = await ask(client, 'select token from owner where id = 1');
    if (row?.token !== this.#token) {
      await client.end().catch(() => undefined);
      this.#isClosed = true;
      throw errorOf('STATE_IN_USE', 'Another process has taken the database over.');
    }
    this.#client = client;
    return client;
  }

  /** A connection that holds the lock, to a server whose commits are durable. */
  async #connect(): Promise<pg.Client> {
    const client = newClient(this.#url);
    client.on('error', () => this.#drop(client));
    client.on('end', () => this.#drop(client));
    try {
      await client.connect();
      await verifyDurable(client);
      await ask(client, KEEP_ALIVE);
      await lock(client);
      return client;
    } catch (error) {
      await client.end().catch(() => undefined);
      throw error;
    }
  }

  #drop(client = this.#client): void {
    if (client !== null && client === this.#client) this.#client = null;
    void client?.end().catch(() => undefined);
  }

  /** The error as ours; where the connection is of no use any more, it is given up. */
  #translated(error: unknown, refused: 'SETTING_INVALID' | 'STORE_UNAVAILABLE' = 'STORE_UNAVAILABLE'): unknown {
    if (error instanceof AbatonError) return error;
    // Neither message nor detail nor cause: they may quote values, and the URL.
    if (!(error instanceof pg.DatabaseError)) {
      this.#drop();
      const { code } = error as NodeJS.ErrnoException;
      return /^E[A-Z]+$/.test(code ?? '') ? lost(code) : lost();
    }
    const state = error.code ?? 'unknown';
    if (error.severity !== 'ERROR') this.#drop(); // FATAL and PANIC end the session
    if (REFUSED.test(state)) return errorOf(refused, `The database refuses what DATABASE_URL asks: SQLSTATE ${state}.`);
    if (UNAVAILABLE.test(state) || error.severity !== 'ERROR') return lost(`SQLSTATE ${state}`);
    return Object.assign(new Error(`the database refused a statement: SQLSTATE ${state}`), { code: state });
  }
}

const lost = (why?: string) =>
  errorOf('STORE_UNAVAILABLE', `The database does not answer${why === undefined ? '' : `: ${why}`}.`);

/** Texts without values go as they are: they may be several statements, and the rows are those of all. */
async function ask(client: pg.Client, sql: string, params: readonly SqlValue[] = []): Promise<Row[]> {
  const result: pg.QueryResult | pg.QueryResult[] = await client.query(
    sql,
    params.length > 0 ? [...params] : undefined,
  );
  return [result].flat().flatMap(({ rows }) => rows as Row[]);
}

function newClient(url: string): pg.Client {
  try {
    if (!/^postgres(ql)?:$/.test(new URL(url).protocol)) throw new Error('another protocol');
    return new pg.Client({
      connectionString: url,
      application_name: 'abaton',
      keepAlive: true,
      connectionTimeoutMillis: CONNECT_MS,
      statement_timeout: STATEMENT_MS,
      query_timeout: ANSWER_MS,
      types: TYPES,
    });
  } catch {
    throw errorOf('SETTING_INVALID', 'DATABASE_URL must be postgres://user:password@host/database.');
  }
}

/** Holds the session to what the server does by default: it may be set otherwise later, and that must not change this one. */
async function verifyDurable(client: pg.Client): Promise<void> {
  for (const name of ['fsync', 'full_page_writes'] as const)
    if ((await ask(client, `show ${name}`))[0]?.[name] !== 'on')
      throw errorOf(
        'SETTING_INVALID',
        `The PostgreSQL server runs with ${name} = off: a power cut would lose records.`,
      );
  const level = (await ask(client, 'show synchronous_commit'))[0]?.synchronous_commit;
  const kept = DURABLE_COMMITS.find((durable) => durable === level);
  if (kept === undefined)
    throw errorOf('SETTING_INVALID', 'The PostgreSQL server runs with synchronous_commit off or local; it must be on.');
  await ask(client, `set synchronous_commit = ${kept}`);
}

async function lock(client: pg.Client): Promise<void> {
  for (const until = Date.now() + LOCK_WAIT_MS; ; await sleep(PAUSE_MS)) {
    const [row] = await ask(client, 'select cast(pg_try_advisory_lock($1) as integer) as held', [OWNER_LOCK]);
    if (row?.held === 1) return;
    if (Date.now() >= until) throw errorOf('STATE_IN_USE', 'Another process owns the database.');
  }
}
