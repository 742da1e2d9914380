/** Half a data directory is refused, and left as it is: a new database would orphan every blob beside it. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { directoryOfLogs } from '../src/audit/log-place.ts';
import { openState, verifyLogPresent } from '../src/open-state.ts';
import { keepLogHead, verifyLogHeads } from '../src/vault/log-head.ts';
import { newInstance } from './archive-fixture.ts';

test('a database without its log, and a log without its database, are refused', async (t) => {
  const dataDir = mkdtempSync(join(tmpdir(), 'abaton-state-'));
  t.after(() => rmSync(dataDir, { recursive: true }));
  const { years } = directoryOfLogs(join(dataDir, 'audit'));
  const open = () =>
    openState({ dataDir, teeKey: new Uint8Array(32).fill(7), keyholderShare: null, tenant: 'default', studyIdleMs: 0 });

  const state = await open();
  await verifyLogPresent(state.db, await years()); // a crash between the first database and the first log lost nothing
  await state.archive.addInstances([await newInstance(state)]);
  await assert.rejects(verifyLogPresent(state.db, await years()), { code: 'STATE_INCOMPLETE' });
  mkdirSync(join(dataDir, 'audit', '2026'), { recursive: true });
  writeFileSync(join(dataDir, 'audit', '2026', 'checkpoint'), 'a log');
  await verifyLogPresent(state.db, await years());
  await state.close();

  for (const file of ['abaton.db', 'abaton.db-wal', 'abaton.db-shm']) rmSync(join(dataDir, file), { force: true });
  await assert.rejects(open(), { code: 'STATE_INCOMPLETE' });
  assert.ok(!existsSync(join(dataDir, 'abaton.db')), 'no new database was made');
});

test('a log that is gone, or shorter than it was, is refused; also where nothing is stored', async (t) => {
  const dataDir = mkdtempSync(join(tmpdir(), 'abaton-state-'));
  t.after(() => rmSync(dataDir, { recursive: true }));
  const { years } = directoryOfLogs(join(dataDir, 'audit'));
  const options = { dataDir, teeKey: new Uint8Array(32).fill(7), keyholderShare: null, tenant: 'default' };
  const state = await openState({ ...options, studyIdleMs: 0 });
  t.after(() => state.close());
  const verify = (size: number) => verifyLogHeads(state.db, [{ origin: 'log', size }]);
  await verify(0);
  await keepLogHead(state.db, 'log', 7);
  await keepLogHead(state.db, 'log', 5); // a proof that comes late
  await verify(7);
  await verify(8);
  await verifyLogHeads(state.db, [
    { origin: 'next year', size: 0 },
    { origin: 'log', size: 7 },
  ]);
  await assert.rejects(verifyLogHeads(state.db, [{ origin: 'next year', size: 9 }]), { code: 'STATE_INCOMPLETE' });
  await assert.rejects(verify(6), { code: 'STATE_INCOMPLETE' });
  await assert.rejects(verifyLogPresent(state.db, await years()), { code: 'STATE_INCOMPLETE' });
});
