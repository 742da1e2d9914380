// JobQueue on a table of Db: what is its own; what every JobQueue does stands in test/contract/jobs.suite.ts.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { openSqliteQueue } from '../../src/jobs/sqlite-queue.ts';
import { migrate } from '../../src/vault/migrations.ts';
import { openSqlite } from '../../src/vault/sqlite.ts';

async function setUp(t: TestContext) {
  const clock = { ms: 1_700_000_000_000 };
  const db = openSqlite(':memory:');
  t.after(() => db.close());
  await migrate(db, () => clock.ms);
  return { db, queue: await openSqliteQueue(db, () => clock.ms), clock };
}

test('a restart takes back the leases of the process before, and their attempts count', async (t) => {
  const { db, queue, clock } = await setUp(t);
  for (const subject of ['a', 'b']) await db.tx((q) => queue.enqueue(q, { kind: 'k', subject, notBeforeMs: 0 }));
  const before = await queue.lease('k', 60_000);
  await db.tx((q) => queue.enqueue(q, { kind: 'k', subject: before!.subject, notBeforeMs: 0 }));
  const restarted = await openSqliteQueue(db, () => clock.ms);
  const leases = [await restarted.lease('k', 60_000), await restarted.lease('k', 60_000)];
  assert.deepEqual(leases.map((job) => [job?.subject, job?.attempt]).sort(), [
    ['a', 2],
    ['b', 1],
  ]);
  assert.equal(await restarted.lease('k', 60_000), null);
});

test('rows hold a version, and nothing but what was given as kind and subject', async (t) => {
  const { db, queue } = await setUp(t);
  await db.tx((q) => queue.enqueue(q, { kind: 'k', subject: 'opaque', notBeforeMs: 5 }));
  const [row] = await db.query('select * from jobs');
  assert.match(String(row?.id), /^[0-9a-f-]{36}$/);
  assert.deepEqual(
    { ...row, id: '' },
    {
      id: '',
      version: 1,
      kind: 'k',
      subject: 'opaque',
      state: 'ready',
      attempt: 0,
      not_before_ms: 5,
      lease_until_ms: null,
      again_ms: null,
    },
  );
});
