/** Rows: one suite for SQLite and PostgreSQL, and what is PostgreSQL's own: loss of the session, and who owns the database. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import pg from 'pg';
import { openPostgres } from '../../packages/server/src/vault/postgres.ts';
import { openSqlite } from '../../packages/server/src/vault/sqlite.ts';
import { scratch } from '../../packages/server/test/vault/support.ts';
import { dbSuite } from './db.suite.ts';
import { type PostgresServer, skipPostgres, startPostgres } from './postgres-server.ts';

dbSuite({
  name: 'sqlite',
  async setUp(t) {
    const path = join(await scratch(t), 'test.db');
    return async () => openSqlite(path);
  },
});

/** Runs SQL as somebody else on the same server. */
async function aside(url: string, sql: string): Promise<pg.QueryResult> {
  const client = new pg.Client(url);
  await client.connect();
  return client.query(sql).finally(() => client.end());
}

const otherSessions = `select pg_terminate_backend(pid, 5000) from pg_stat_activity
  where application_name = 'abaton' and datname = current_database()`;

describe('postgres', { skip: skipPostgres }, async () => {
  const server: PostgresServer = skipPostgres ? (null as never) : await startPostgres();

  dbSuite({
    name: 'postgres',
    async setUp() {
      const url = await server.newDatabase();
      return () => openPostgres(url);
    },
  });

  test('a session that was ended fails its transaction, and the next query has a new one', async (t) => {
    const url = await server.newDatabase();
    const db = await openPostgres(url);
    t.after(() => db.close());
    await db.query('create table t (id bigint primary key)');
    await assert.rejects(
      db.tx(async (q) => {
        await q.query('insert into t (id) values (1)');
        await aside(url, otherSessions);
        await q.query('insert into t (id) values (2)');
      }),
      { code: 'STORE_UNAVAILABLE' },
    );
    assert.equal((await db.query('select count(*) as n from t'))[0]?.n, 0);
    await aside(url, otherSessions);
    assert.equal((await db.query('select count(*) as n from t'))[0]?.n, 0, 'an idle session that ended costs nothing');
  });

  test('a commit whose answer was lost is neither reported as failed nor done twice', async (t) => {
    const url = await server.newDatabase();
    const db = await openPostgres(url);
    t.after(() => db.close());
    await db.query('create table t (id bigint primary key)');
    // Cuts the connection when the answer to the n-th commit is on its way, or before the commit was sent.
    for (const [lost, kept] of [
      ['answer', 1],
      ['question', 0],
    ] as const) {
      const { query } = pg.Client.prototype;
      const mock = t.mock.method(pg.Client.prototype, 'query', async function (this: pg.Client, ...args: unknown[]) {
        const run = () => (query as (...a: unknown[]) => Promise<unknown>).apply(this, args);
        if (args[0] !== 'commit') return run();
        mock.mock.restore();
        if (lost === 'answer') await run();
        (this as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
        throw Object.assign(new Error('read'), { code: 'ECONNRESET' });
      });
      const work = db.tx((q) => q.query('insert into t (id) values (1)'));
      if (kept === 1) await work;
      else await assert.rejects(work, { code: 'STORE_UNAVAILABLE' });
      assert.equal((await db.query('select count(*) as n from t'))[0]?.n, kept);
      await db.query('delete from t');
    }
  });

  test('an owner that lost the database to another one stays out', async (t) => {
    const url = await server.newDatabase();
    const first = await openPostgres(url);
    t.after(() => first.close());
    await aside(url, otherSessions);
    const second = await openPostgres(url);
    await assert.rejects(first.query('select 1 as one'), { code: 'STORE_UNAVAILABLE' });
    await second.close();
    await assert.rejects(first.query('select 1 as one'), { code: 'STATE_IN_USE' });
  });

  test('a crash of the server in the middle: what was acknowledged is there, and later queries connect again', async (t) => {
    const db = await openPostgres(await server.newDatabase());
    t.after(() => db.close());
    await db.query('create table t (id bigint primary key)');
    const acknowledged: number[] = [];
    let failures = 0;
    let restarted = false;
    for (let id = 0; acknowledged.length < 60; id++) {
      await db
        .tx((q) => q.query('insert into t (id) values ($1)', [id]))
        .then(
          () => acknowledged.push(id),
          (error) => {
            assert.equal(error.code, 'STORE_UNAVAILABLE');
            failures++;
          },
        );
      if (acknowledged.length === 30 && !restarted) {
        server.stop('immediate');
        await assert.rejects(db.query('select 1 as one'), { code: 'STORE_UNAVAILABLE' });
        server.start();
        restarted = true;
      }
    }
    const there = (await db.query('select id from t order by id')).map((row) => row.id);
    assert.deepEqual(there, acknowledged);
    assert.ok(failures <= 1);
  });

  test('a server that acknowledges what is not on its disk is refused', async (t) => {
    const url = await server.newDatabase();
    for (const [name, value, usual] of [
      ['fsync', 'off', 'on'],
      ['full_page_writes', 'off', 'on'],
      ['synchronous_commit', 'off', 'on'],
      ['synchronous_commit', 'local', 'on'],
    ] as const) {
      await server.set(name, value);
      t.after(() => server.set(name, usual));
      await assert.rejects(openPostgres(url), { code: 'SETTING_INVALID', message: new RegExp(name) });
      await server.set(name, usual);
    }
    const db = await openPostgres(url);
    t.after(() => db.close());
    await server.set('synchronous_commit', 'off');
    assert.deepEqual({ ...(await db.query('show synchronous_commit'))[0] }, { synchronous_commit: 'on' });
    await server.set('synchronous_commit', 'on');
  });

  test('what the URL cannot reach or may not do is refused without the URL in the error', async () => {
    const { port } = new URL(server.url);
    for (const [url, code] of [
      ['mysql://abaton:SECRET@127.0.0.1/x', 'SETTING_INVALID'],
      ['SECRET', 'SETTING_INVALID'],
      [`postgres://nobody:SECRET@127.0.0.1:${port}/postgres`, 'SETTING_INVALID'],
      [`postgres://abaton:SECRET@127.0.0.1:${port}/SECRET`, 'SETTING_INVALID'],
      [`postgres://abaton:SECRET@127.0.0.1:${port}/postgres?sslmode=verify-full`, 'STORE_UNAVAILABLE'],
      ['postgres://abaton:SECRET@127.0.0.1:1/postgres', 'STORE_UNAVAILABLE'],
      ['postgres://abaton:SECRET@secret.invalid/postgres', 'STORE_UNAVAILABLE'],
    ] as const)
      await assert.rejects(openPostgres(url), (error: Error & { code: string }) => {
        assert.equal(error.code, code, url);
        assert.doesNotMatch(`${error.stack}${error.cause}`, /SECRET|secret\.invalid|nobody/);
        return true;
      });
  });
});
