// Db on node:sqlite: what is SQLite's own; what every Db does stands in test/contract/db.suite.ts.
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

test('the number of values must be that of the parameters', async (t) => {
  const db = await openWithTable(await scratch(t));
  t.after(() => db.close());
  await assert.rejects(db.query('select * from t where id = $1'), /0 values for 1 parameters/);
  await assert.rejects(db.query('select * from t', [1]), /1 values for 0 parameters/);
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
