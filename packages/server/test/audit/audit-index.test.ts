/** The index finds a patient's entries without reading those of others, and is made anew from the log whenever it is not whole. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { openAuditIndex } from '../../src/audit/audit-index.ts';
import type { LogPosition } from '../../src/audit/log.ts';
import type { TileLog } from '../../src/audit/tile-log.ts';
import type { Db } from '../../src/vault/db.ts';
import { migrate } from '../../src/vault/migrations.ts';
import { openSqlite } from '../../src/vault/sqlite.ts';
import { ORIGIN, openLog, scratch } from './support.ts';

const PATIENTS = 7;

async function openDb(t: TestContext, path: string): Promise<Db> {
  const db = openSqlite(path);
  t.after(() => db.close());
  await migrate(db, Date.now);
  return db;
}

/** Entry i is about patient i mod 8, and every eighth about nobody. */
async function append(log: TileLog, count: number): Promise<void> {
  const first = log.size();
  const time = '2026-08-20T12:00:00.000Z';
  const entries = Array.from({ length: count }, (_, k) => {
    const who = (first + k) % (PATIENTS + 1);
    return { time, facts: {}, pid: who === PATIENTS ? null : `pid-${who}`, pidEpoch: who === PATIENTS ? null : 1 };
  });
  await Promise.all(entries.map((entry) => log.append(Buffer.from(JSON.stringify(entry)))));
}

const expected = (patient: number, size: number): LogPosition[] =>
  Array.from({ length: size }, (_, i) => i)
    .filter((i) => i % (PATIENTS + 1) === patient)
    .map((index) => ({ origin: ORIGIN, index }));

/** Counts what is read of the log. */
function watched(log: TileLog): { log: Pick<TileLog, 'origin' | 'size' | 'entriesOf'>; bundles: number[] } {
  const bundles: number[] = [];
  return {
    bundles,
    log: {
      origin: log.origin,
      size: () => log.size(),
      entriesOf: (n) => {
        bundles.push(n);
        return log.entriesOf(n);
      },
    },
  };
}

test('it is complete as of the question, also for entries that came after the start', async (t) => {
  const dir = await scratch(t);
  const log = await openLog(dir);
  const index = openAuditIndex({ db: await openDb(t, ':memory:'), trees: () => [log], intervalMs: 3_600_000 });
  assert.deepEqual(await index.entriesOf('pid-0', 1), []);
  for (const size of [1, 300, 700]) {
    await append(log, size - log.size());
    for (const patient of [0, 3, 6])
      assert.deepEqual(await index.entriesOf(`pid-${patient}`, 1), expected(patient, size));
  }
  assert.deepEqual(await index.entriesOf('pid-0', 2), [], 'another epoch is another name');
  const [one, two] = await Promise.all([index.entriesOf('pid-1', 1), index.entriesOf('pid-1', 1)]);
  assert.deepEqual([one, two], [expected(1, 700), expected(1, 700)]);
  await index.stop();
});

test('it is written behind the commits, and a restart goes on where it was', async (t) => {
  const dir = await scratch(t);
  const log = await openLog(dir);
  const db = await openDb(t, join(dir, 'index.db'));
  await append(log, 600);
  const first = openAuditIndex({ db, trees: () => [log], intervalMs: 5 });
  const size = async () => Number((await db.query('select size from audit_index_heads', []))[0]?.size ?? 0);
  while ((await size()) < 600) await new Promise((resolve) => setTimeout(resolve, 5));
  await append(log, 100);
  while ((await size()) < 700) await new Promise((resolve) => setTimeout(resolve, 5));
  await first.stop();
  const { log: seen, bundles } = watched(log);
  const again = openAuditIndex({ db, trees: () => [seen], intervalMs: 3_600_000 });
  assert.deepEqual(await again.entriesOf('pid-2', 1), expected(2, 700));
  assert.deepEqual(bundles, [], 'nothing is read twice');
  await append(log, 10);
  assert.deepEqual(await again.entriesOf('pid-2', 1), expected(2, 710));
  assert.deepEqual(bundles, [2]);
  await again.stop();
});

test('rows that are lost, or of a longer log, are found again from the log', async (t) => {
  const log = await openLog(await scratch(t));
  const db = await openDb(t, ':memory:');
  await append(log, 600);
  const index = openAuditIndex({ db, trees: () => [log], intervalMs: 3_600_000 });
  const whole = expected(4, 600);
  assert.deepEqual(await index.entriesOf('pid-4', 1), whole);
  for (const damage of [
    'delete from audit_index where entry = 4',
    'delete from audit_index',
    'delete from audit_index_heads',
    'update audit_index_heads set size = 900',
    'update audit_index_heads set entries = 1',
  ]) {
    await db.query(damage, []);
    assert.deepEqual(await index.entriesOf('pid-4', 1), whole, damage);
  }
  await index.stop();
});

test('a log that cannot be read is said, and found well again', async (t) => {
  const log = await openLog(await scratch(t));
  await append(log, 10);
  let isDown = true;
  const flaky = {
    origin: log.origin,
    size: () => log.size(),
    entriesOf: (n: number) => (isDown ? Promise.reject(new Error('down')) : log.entriesOf(n)),
  };
  const index = openAuditIndex({ db: await openDb(t, ':memory:'), trees: () => [flaky], intervalMs: 3_600_000 });
  await assert.rejects(index.entriesOf('pid-0', 1), /down/);
  isDown = false;
  assert.deepEqual(await index.entriesOf('pid-0', 1), expected(0, 10));
  await index.stop();
});
