/** Jobs: one suite for the table, in SQLite and in PostgreSQL, and for pg-boss; and what is pg-boss' own. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import pg from 'pg';
import { openBossQueue } from '../../packages/server/src/jobs/boss-queue.ts';
import { openSqliteQueue } from '../../packages/server/src/jobs/sqlite-queue.ts';
import type { Db } from '../../packages/server/src/vault/db.ts';
import { migrate } from '../../packages/server/src/vault/migrations.ts';
import { openPostgres } from '../../packages/server/src/vault/postgres.ts';
import { openSqlite } from '../../packages/server/src/vault/sqlite.ts';
import { scratch } from '../../packages/server/test/vault/support.ts';
import { jobQueueSuite } from './jobs.suite.ts';
import { type PostgresServer, skipPostgres, startPostgres } from './postgres-server.ts';

const KINDS = ['work', 'other'];
const START_MS = 1_700_000_000_000;

async function onTable(t: TestContext, db: Db) {
  const clock = { ms: START_MS };
  t.after(() => db.close());
  await migrate(db, () => clock.ms);
  return { db, queue: await openSqliteQueue(db, () => clock.ms), clock };
}

jobQueueSuite('table in sqlite', async (t) => onTable(t, openSqlite(join(await scratch(t), 'test.db'))));

describe('over postgres', { skip: skipPostgres }, async () => {
  const server: PostgresServer = skipPostgres ? (null as never) : await startPostgres();

  jobQueueSuite('table in postgres', async (t) => onTable(t, await openPostgres(await server.newDatabase())));

  /** pg-boss asks the database for the time: here `now()` is a function that answers with the clock of the test. */
  async function setUpBoss(t: TestContext) {
    const url = await server.newDatabase();
    const admin = new pg.Client(url);
    await admin.connect();
    await admin.query(`create schema clock;
      create function clock.now() returns timestamptz language sql stable as
        $$ select to_timestamp(cast(current_setting('clock.ms') as bigint) / 1000.0) $$`);
    await admin.end();
    const real = await openPostgres(`${url}?options=${encodeURIComponent('-c search_path=clock,pg_catalog,public')}`);
    const clock = { ms: START_MS };
    const setClock = `select set_config('clock.ms', $1, false)`;
    const db: Db = {
      async query(sql, params) {
        await real.query(setClock, [String(clock.ms)]);
        return real.query(sql, params);
      },
      async tx(work) {
        await real.query(setClock, [String(clock.ms)]);
        return real.tx(work);
      },
      close: () => real.close(),
    };
    const open = () => openBossQueue(db, () => clock.ms, KINDS);
    const queue = await open();
    t.after(async () => {
      await queue.close();
      await real.close();
    });
    return { db, queue, clock, open };
  }

  jobQueueSuite('pg-boss', setUpBoss);

  test('pg-boss: a restart takes back the leases of the process before, and their attempts count', async (t) => {
    const { db, queue, open } = await setUpBoss(t);
    for (const subject of ['a', 'b']) await db.tx((q) => queue.enqueue(q, { kind: 'work', subject, notBeforeMs: 0 }));
    const before = await queue.lease('work', 60_000);
    await db.tx((q) => queue.enqueue(q, { kind: 'work', subject: before!.subject, notBeforeMs: 0 }));
    const restarted = await open();
    t.after(() => restarted.close());
    const leases = [await restarted.lease('work', 60_000), await restarted.lease('work', 60_000)];
    for (const job of leases) assert.equal(job?.attempt, job?.subject === before?.subject ? 2 : 1);
    assert.equal(new Set(leases.map((job) => job?.subject)).size, 2);
    assert.equal(await restarted.lease('work', 60_000), null);
  });

  test('pg-boss: a lease whose answer was lost is taken back by the next one', async (t) => {
    const { db, queue } = await setUpBoss(t);
    await db.tx((q) => queue.enqueue(q, { kind: 'work', subject: 'a', notBeforeMs: 0 }));
    const { query } = db;
    const mock = t.mock.method(db, 'query', async (...args: Parameters<Db['query']>) => {
      const rows = await query.apply(db, args);
      if (!/SKIP LOCKED/.test(args[0])) return rows;
      mock.mock.restore();
      assert.equal(rows.length, 1);
      throw new Error('the answer was lost');
    });
    await assert.rejects(queue.lease('work', 60_000), /the answer was lost/);
    assert.equal((await queue.lease('work', 60_000))?.attempt, 2);
  });

  test('pg-boss: its tables hold nothing but kind, subject and times', async (t) => {
    const { db, queue } = await setUpBoss(t);
    await db.tx((q) => queue.enqueue(q, { kind: 'work', subject: 'opaque', notBeforeMs: 5 }));
    const [row] = await db.query('select data, output, singleton_key from pgboss.job');
    assert.deepEqual({ ...row }, { data: { v: 1, notBeforeMs: 5 }, output: null, singleton_key: 'opaque' });
    const job = await queue.lease('work', 1000);
    await db.tx((q) => queue.complete(q, job!));
    assert.deepEqual(await db.query('select id from pgboss.job'), []);
  });
});
