/** The log over the years: the old key signs the new log, and a year that is cut, exchanged or gone is found. */
import assert from 'node:assert/strict';
import { cp, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { openLogDirectory } from '@abaton/client';
import { parseVkey, verifyCheckpoint, verifyLog, verifyLogProof } from '@abaton/verify';
import { createAuditTrail } from '../../src/audit/audit-trail.ts';
import type { AuditEvent } from '../../src/audit/events.ts';
import { createLogKeys } from '../../src/audit/log-keys.ts';
import { directoryOfLogs } from '../../src/audit/log-place.ts';
import { openYearlyLog, type YearlyLog } from '../../src/audit/yearly-log.ts';
import { scratch } from './support.ts';

const FAMILY = 'hospital.example/audit';
const keys = createLogKeys(FAMILY, new Uint8Array(32).fill(3));
const EVENT: AuditEvent = { action: 'read', actor: 'abaton', patient: null, object: null, outcome: 'success' };

async function open(t: TestContext, dir: string): Promise<YearlyLog> {
  const log = await openYearlyLog({ place: directoryOfLogs(dir), keys, firstYear: 2025 });
  t.after(() => log.close());
  return log;
}

/** A trail whose clock the test sets. */
function trailOf(log: YearlyLog) {
  const clock = { at: '2025-12-31T23:59:59.000Z' };
  const trail = createAuditTrail({
    ...{ log, auditKey: new Uint8Array(32), tenant: 'north', bootId: 'b', lastEntryMs: 0 },
    nowMs: () => Date.parse(clock.at),
  });
  return { clock, trail };
}

/** Three entries in 2025, two beside the first in 2026, one in 2028. */
async function threeYears(t: TestContext): Promise<string> {
  const dir = await scratch(t);
  const log = await open(t, dir);
  const { clock, trail } = trailOf(log);
  for (let i = 0; i < 3; i++) await trail.record(EVENT);
  clock.at = '2026-01-01T00:00:00.000Z';
  assert.deepEqual(
    (await trail.recordAll([EVENT, EVENT])).map(({ origin, index }) => [origin, index]),
    [
      [`${FAMILY}/2026`, 1],
      [`${FAMILY}/2026`, 2],
    ],
  );
  clock.at = '2028-06-01T00:00:00.000Z';
  await trail.record(EVENT);
  await log.close();
  return dir;
}

test('each year begins with the end of the one before; entries of all years are proven under the keys of today', async (t) => {
  const dir = await threeYears(t);
  const log = await open(t, dir);
  assert.deepEqual(
    log.trees().map(({ origin }) => origin),
    [`${FAMILY}/2028`, `${FAMILY}/2026`, `${FAMILY}/2025`],
  );
  const end = verifyCheckpoint(log.tree(`${FAMILY}/2025`)!.checkpoint(), log.vkeys());
  const first = JSON.parse((await log.proof({ origin: `${FAMILY}/2026`, index: 0 })).entry);
  assert.equal(first.action, 'log-begin');
  assert.deepEqual(first.facts, {
    previousOrigin: `${FAMILY}/2025`,
    previousSize: 3,
    previousRoot: Buffer.from(end.root).toString('base64'),
  });
  for (const { origin } of log.trees())
    assert.equal(verifyLogProof(await log.proof({ origin, index: 0 }), log.vkeys()).origin, origin);
  const sizes: number[] = [];
  for await (const { entries } of log.backward()) sizes.push(entries.length);
  assert.deepEqual(sizes, [2, 3, 3]);
  await assert.rejects(log.proof({ origin: `${FAMILY}/2027`, index: 0 }), { code: 'LOG_CORRUPT' });
});

test('whoever knows the key of an earlier year verifies a later log under it; Ed25519 and ML-DSA-44 alone, too', async (t) => {
  const dir = await threeYears(t);
  const vkeyOf = (year: number, at: number) => keys.signersOf(year, [])[at]!.vkey;
  const verify = (year: number, vkey: string, origin = `${FAMILY}/${year}`) =>
    verifyLog({ read: openLogDirectory(join(dir, String(year))), vkeys: [vkey], origin, entries: 'required' });
  for (const [year, vkey] of [
    [2025, vkeyOf(2025, 0)],
    [2025, vkeyOf(2025, 1)],
    [2026, vkeyOf(2025, 0)],
    [2028, vkeyOf(2025, 0)],
    [2028, vkeyOf(2026, 0)],
    [2028, vkeyOf(2028, 1)],
  ] as const) {
    const { signedBy } = await verify(year, vkey);
    assert.deepEqual(signedBy, [parseVkey(vkey).name]);
  }
  await assert.rejects(verify(2025, vkeyOf(2026, 0)), { code: 'CHECKPOINT_UNSIGNED' });
  await assert.rejects(verify(2026, vkeyOf(2025, 1)), { code: 'CHECKPOINT_UNSIGNED' }, 'ML-DSA of the year alone');
});

test('a year that is missing, cut, or another log under the same key is refused', async (t) => {
  const dir = await threeYears(t);
  const copyOf = async (change: (copy: string) => Promise<unknown>) => {
    const copy = await scratch(t);
    await cp(dir, copy, { recursive: true });
    await change(copy);
    return copy;
  };
  const gone = await copyOf((copy) => rm(join(copy, '2026'), { recursive: true }));
  await assert.rejects(open(t, gone), { code: 'LOG_CORRUPT' });

  const longer = await copyOf(async (copy) => {
    await rm(join(copy, '2026'), { recursive: true });
    await rm(join(copy, '2028'), { recursive: true });
    const log = await open(t, copy);
    await trailOf(log).trail.record(EVENT);
    await log.close();
    await cp(join(dir, '2026'), join(copy, '2026'), { recursive: true });
  });
  await assert.rejects(open(t, longer), { code: 'LOG_CORRUPT' });

  // The newest alone gone: to the directory it never was. The database and the witnesses remember (log-head.ts).
  const rolledBack = await copyOf((copy) => rm(join(copy, '2028'), { recursive: true }));
  assert.equal((await open(t, rolledBack)).year(), 2026);
});

test('a crash before the first entry of a year is as if it had not begun', async (t) => {
  const dir = await scratch(t);
  const log = await open(t, dir);
  await trailOf(log).trail.record(EVENT);
  await log.close();
  const begun = await openYearlyLog({ place: directoryOfLogs(join(dir, 'begun')), keys, firstYear: 2026 });
  await begun.close();
  await rename(join(dir, 'begun', '2026'), join(dir, '2026'));
  await rm(join(dir, 'begun'), { recursive: true });
  const again = await open(t, dir);
  assert.deepEqual([again.year(), again.size()], [2025, 1]);
  const later = trailOf(again);
  later.clock.at = '2026-02-01T00:00:00.000Z';
  assert.deepEqual(await later.trail.record(EVENT), { origin: `${FAMILY}/2026`, index: 1 });
  assert.deepEqual((await readdir(dir)).sort(), ['2025', '2026']);
});

test('what is appended while a year begins is refused when it cannot begin, and taken once it can', async (t) => {
  const dir = await scratch(t);
  const log = await open(t, dir);
  const { clock, trail } = trailOf(log);
  await trail.record(EVENT);
  clock.at = '2026-01-01T00:00:00.000Z';
  await cp(join(dir, '2025', 'checkpoint'), join(dir, '2026')); // a file where the directory has to be
  for (let i = 0; i < 2; i++) await assert.rejects(trail.record(EVENT), { code: 'AUDIT_UNAVAILABLE' });
  assert.deepEqual([log.year(), log.size()], [2025, 1]);
  await rm(join(dir, '2026'));
  assert.deepEqual(await trail.record(EVENT), { origin: `${FAMILY}/2026`, index: 1 });
});

test('a first entry that became durable without its acknowledgement is not written again', async (t) => {
  const dir = await scratch(t);
  const log = await open(t, dir);
  const { clock, trail } = trailOf(log);
  await trail.record(EVENT);
  const other = await scratch(t);
  await cp(dir, other, { recursive: true });
  const begun = await open(t, other);
  const there = trailOf(begun);
  there.clock.at = '2026-01-01T00:00:00.000Z';
  await there.trail.record(EVENT);
  await begun.close();
  // the log of the new year as that try left it: its first entry, and nothing more
  await cp(join(other, '2026'), join(dir, '2026'), { recursive: true });
  clock.at = '2026-01-01T00:00:01.000Z';
  await trail.record(EVENT);
  const firsts: string[] = [];
  for await (const { origin, entries } of log.backward())
    if (origin === `${FAMILY}/2026`)
      for (const entry of entries) firsts.push(JSON.parse(Buffer.from(entry).toString()).action);
  assert.deepEqual(firsts, ['log-begin', 'read', 'read']);
});
