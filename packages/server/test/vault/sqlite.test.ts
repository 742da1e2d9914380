// Db on node:sqlite.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openSqlite } from '../../src/vault/sqlite.ts';
import { scratch } from './support.ts';

async function openWithTable(directory: string) {
  const db = openSqlite(join(directory, 'test.db'));
  await db.query('create table if not exists t (id bigint primary key, name text, data bytea)');
  return db;
}

test('values of every kind come back as they went in', async (t) => {
  const db = await openWithTable(await scratch(t));
  t.after(() => db.close());
  const insert = 'insert into t (id, name, data) values ($1, $2, $3) returning id, name, data';
  const [row] = await db.query(insert, [2 ** 52, 'ä\0𝄞', Uint8Array.of(0, 255)]);
  assert.deepEqual({ ...row }, { id: 2 ** 52, name: 'ä\0𝄞', data: Uint8Array.of(0, 255) });
  assert.deepEqual({ ...(await db.query(insert, [1n, null, null]))[0] }, { id: 1, name: null, data: null });
  assert.deepEqual(await db.query('delete from t where id = $1', [1]), []);
  const [again] = await db.query('select $1 as a, $2 as b, $1 as c', ['x', 'y']);
  assert.deepEqual({ ...again }, { a: 'x', b: 'y', c: 'x' });
});

test('the number of values must be that of the parameters', async (t) => {
  const db = await openWithTable(await scratch(t));
  t.after(() => db.close());
  await assert.rejects(db.query('select * from t where id = $1'), /0 values for 1 parameters/);
  await assert.rejects(db.query('select * from t', [1]), /1 values for 0 parameters/);
});

test('a transaction commits as a whole or not at all', async (t) => {
  const directory = await scratch(t);
  const db = await openWithTable(directory);
  t.after(() => db.close());
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
    /UNIQUE/,
  );
  assert.deepEqual(await ids(), [1, 2]);
  await db.close();
  const reopened = openSqlite(join(directory, 'test.db'));
  t.after(() => reopened.close());
  assert.equal((await reopened.query('select count(*) as n from t'))[0]?.n, 2);
});

test('transactions and queries run one after another, in the order of asking', async (t) => {
  const db = await openWithTable(await scratch(t));
  t.after(() => db.close());
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

test('what would wait for itself is refused instead, and a query after the end too', async (t) => {
  const db = await openWithTable(await scratch(t));
  t.after(() => db.close());
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

test('a second opening, in this process or another, is STATE_IN_USE until the first closes', async (t) => {
  const directory = await scratch(t);
  const path = join(directory, 'test.db');
  const db = await openWithTable(directory);
  const elsewhere = () => {
    const module = fileURLToPath(new URL('../../src/vault/sqlite.ts', import.meta.url));
    const script = `import { openSqlite } from ${JSON.stringify(module)};
      try { await openSqlite(${JSON.stringify(path)}).close(); process.stdout.write('opened'); }
      catch (error) { process.stdout.write(error.code); }`;
    return execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
  };
  assert.throws(() => openSqlite(path), { code: 'STATE_IN_USE' });
  assert.equal(elsewhere(), 'STATE_IN_USE');
  await db.close();
  assert.equal(elsewhere(), 'opened');
});

test('a commit is synced: write-ahead log and synchronous = full', async (t) => {
  const db = await openWithTable(await scratch(t));
  t.after(() => db.close());
  assert.deepEqual({ ...(await db.query('pragma journal_mode'))[0] }, { journal_mode: 'wal' });
  assert.deepEqual({ ...(await db.query('pragma synchronous'))[0] }, { synchronous: 2 });
});

test('a file that is not a database, or is damaged, is STORE_UNAVAILABLE; so is a closed one', async (t) => {
  const directory = await scratch(t);
  const path = join(directory, 'test.db');
  await writeFile(path, 'this is not a database, and long enough to be noticed'.repeat(100));
  assert.throws(() => openSqlite(path), { code: 'STORE_UNAVAILABLE' });
  assert.throws(() => openSqlite(join(directory, 'absent', 'test.db')), { code: 'STORE_UNAVAILABLE' });

  const other = await scratch(t);
  const db = await openWithTable(other);
  for (let id = 0; id < 200; id++) await db.query('insert into t (id, data) values ($1, $2)', [id, Buffer.alloc(500)]);
  await db.close();
  await assert.rejects(db.query('select 1 as one'), { code: 'STORE_UNAVAILABLE' });
  const bytes = await readFile(join(other, 'test.db'));
  bytes.fill(0xee, 4096); // every page but the first
  await writeFile(join(other, 'test.db'), bytes);
  const damaged = openSqlite(join(other, 'test.db'));
  t.after(() => damaged.close());
  await assert.rejects(damaged.query('select * from t'), { code: 'STORE_UNAVAILABLE' });
});
