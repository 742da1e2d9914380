/** What every Db does; run once per driver. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Db } from '../../packages/server/src/vault/db.ts';

export interface DbDriver {
  name: string;
  /** A way to open one and the same database, new for each test. */
  setUp(t: TestContext): Promise<() => Promise<Db>>;
}

async function openWithTable(t: TestContext, open: () => Promise<Db>): Promise<Db> {
  const db = await open();
  t.after(() => db.close());
  await db.query('create table if not exists t (id bigint primary key, name text, data bytea)');
  return db;
}

export function dbSuite({ name, setUp }: DbDriver): void {
  test(`${name}: values of every kind come back as they went in`, async (t) => {
    const db = await openWithTable(t, await setUp(t));
    const insert = 'insert into t (id, name, data) values ($1, $2, $3) returning id, name, data';
    const [row] = await db.query(insert, [2 ** 52, 'ä𝄞"\\\'', Uint8Array.of(0, 255)]);
    assert.deepEqual({ ...row }, { id: 2 ** 52, name: 'ä𝄞"\\\'', data: Uint8Array.of(0, 255) });
    assert.deepEqual({ ...(await db.query(insert, [1n, null, null]))[0] }, { id: 1, name: null, data: null });
    assert.deepEqual(
      (await db.query(insert, [2, '', new Uint8Array(300_000).fill(0x5c)]))[0]?.data,
      new Uint8Array(300_000).fill(0x5c),
    );
    assert.equal((await db.query('select count(*) as n from t'))[0]?.n, 3);
    assert.deepEqual(await db.query('delete from t where id = $1', [1]), []);
    const [again] = await db.query('select $1 as a, $2 as b, $1 as c', ['x', 'y']);
    assert.deepEqual({ ...again }, { a: 'x', b: 'y', c: 'x' });
  });

  test(`${name}: the number of values must be that of the parameters`, async (t) => {
    const db = await openWithTable(t, await setUp(t));
    await assert.rejects(db.query('select * from t where id = $1'));
    await assert.rejects(db.query('select * from t', [1]));
    await assert.rejects(db.query('select * from t where id = $1', [1, 2]));
    assert.deepEqual(await db.query('select * from t'), []);
  });

  test(`${name}: a transaction commits as a whole or not at all`, async (t) => {
    const open = await setUp(t);
    const db = await openWithTable(t, open);
    const ids = async () => (await db.query('select id from t order by id')).map((row) => row.id);
    await db.tx(async (q) => {
      await q.query('insert into t (id) values (1)');
      await q.query('insert into t (id) values (2)');
    });
    const refused = new Error('no');
    await assert.rejects(
      db.tx(async (q) => {
        await q.query('insert into t (id) values (3)');
        throw refused;
      }),
      refused,
    );
    await assert.rejects(
      db.tx(async (q) => {
        await q.query('insert into t (id) values (4)');
        await q.query('insert into t (id) values (1)');
      }),
    );
    assert.deepEqual(await ids(), [1, 2]);
    await db.close();
    const reopened = await openWithTable(t, open);
    assert.equal((await reopened.query('select count(*) as n from t'))[0]?.n, 2);
  });

  test(`${name}: a transaction with a statement that failed does not commit, caught or not`, async (t) => {
    const db = await openWithTable(t, await setUp(t));
    await db.query('insert into t (id) values (1)');
    await assert.rejects(
      db.tx(async (q) => {
        await q.query('insert into t (id) values (2)');
        await q.query('insert into t (id) values (1)').catch(() => undefined);
      }),
    );
    assert.equal((await db.query('select count(*) as n from t'))[0]?.n, 1);
  });

  test(`${name}: a refused statement names no value`, async (t) => {
    const db = await openWithTable(t, await setUp(t));
    await db.query('insert into t (id, name) values ($1, $2)', [4711, 'CANARY']);
    const seen: unknown[] = [];
    for (const ask of [
      () => db.query('insert into t (id, name) values ($1, $2)', [4711, 'CANARY']),
      () => db.query('select id from t where id = $1 and nothing = $2', [4711, 'CANARY']),
    ])
      await ask().catch((error: unknown) => {
        for (let at = error; at instanceof Error; at = at.cause) seen.push(at.message, ...Object.values(at));
      });
    assert.ok(seen.length >= 2);
    assert.doesNotMatch(seen.join('\n'), /4711|CANARY/);
  });

  test(`${name}: transactions and queries run one after another, in the order of asking`, async (t) => {
    const db = await openWithTable(t, await setUp(t));
    const order: string[] = [];
    const slow = db.tx(async (q) => {
      order.push('slow begins');
      await q.query('insert into t (id) values (1)');
      await new Promise((resolve) => setTimeout(resolve, 20));
      await q.query('delete from t');
      order.push('slow ends');
    });
    const between = db.query('select * from t').then((rows) => order.push(`saw ${rows.length}`));
    const fast = db.tx(async () => order.push('fast'));
    await Promise.all([slow, between, fast]);
    assert.deepEqual(order, ['slow begins', 'slow ends', 'saw 0', 'fast']);
  });

  test(`${name}: what would wait for itself is refused instead, and a query after the end too`, async (t) => {
    const db = await openWithTable(t, await setUp(t));
    await assert.rejects(
      db.tx(() => db.query('select 1 as one')),
      /inside a transaction/,
    );
    await assert.rejects(
      db.tx(() => db.tx(async () => undefined)),
      /inside a transaction/,
    );
    const { query } = await db.tx(async (q) => q);
    await assert.rejects(query('select 1 as one'), /after the end/);
    // Work that a transaction only started may go on to use the database.
    const later = await db.tx(async () => ({
      rows: new Promise((resolve) => setTimeout(resolve, 1)).then(() => db.query('select 1 as one')),
    }));
    assert.equal((await later.rows).length, 1);
  });

  test(`${name}: a second opening is STATE_IN_USE until the first closes; a closed one is STORE_UNAVAILABLE`, async (t) => {
    const open = await setUp(t);
    const db = await open();
    t.after(() => db.close());
    await assert.rejects(open(), { code: 'STATE_IN_USE' });
    await db.query('select 1 as one');
    await db.close();
    await db.close();
    await assert.rejects(db.query('select 1 as one'), { code: 'STORE_UNAVAILABLE' });
    await (await open()).close();
  });
}
