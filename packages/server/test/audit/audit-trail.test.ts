/** Entries: JCS JSON version 1, pseudonyms and sealed details (audit-events.md §2), time that never goes back (I11). */
import assert from 'node:assert/strict';
import { createHash, createHmac, hkdfSync, randomBytes } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { canonicalize, verifyLogProof } from '@abaton/verify';
import { detailOf, type FhirAuditEvent } from '../../src/audit/audit-event.ts';
import { AuditKeys } from '../../src/audit/audit-keys.ts';
import { type AuditEntry, type AuditTrailOptions, createAuditTrail } from '../../src/audit/audit-trail.ts';
import { recordBoot } from '../../src/audit/boot-entry.ts';
import type { AuditEvent } from '../../src/audit/events.ts';
import type { TileLog } from '../../src/audit/tile-log.ts';
import { errorOf } from '../../src/errors.ts';
import { type AccountingKeys, KeyHierarchy } from '../../src/vault/keys.ts';
import { migrate } from '../../src/vault/migrations.ts';
import { openSqlite } from '../../src/vault/sqlite.ts';
import type { PatientRef } from '../../src/vault/vault.ts';
import { openLog, scratch } from './support.ts';

const AUDIT_KEY = new Uint8Array(32).fill(3);
const PATIENT = 'patient-reference-of-a-test' as PatientRef;
const EVENT: AuditEvent = {
  action: 'read',
  actor: 'anonymous',
  patient: PATIENT,
  object: { kind: 'study', ref: 's-1' },
  outcome: 'success',
  facts: { z: 1, a: null, model: 'sha256:00' },
  detail: { query: 'PatientName=Canary^Doe', uid: '1.2.3.4.5' },
};

/** No test here lives to see another year. */
const trailBeforeKeys = (tree: TileLog, options: Partial<AuditTrailOptions> = {}) =>
  createAuditTrail({
    ...{
      log: { append: (entry: Uint8Array) => tree.append(entry), begin: () => undefined, vkeys: () => tree.vkeys() },
      auditKey: AUDIT_KEY,
      tenant: 'north',
      bootId: 'boot-1',
      lastEntryMs: 0,
      nowMs: () => 1_000_000,
    },
    ...options,
  });

const accountingKey = { id: randomBytes(8), detail: randomBytes(32) };
const accounting: AccountingKeys = {
  forRecording: async () => accountingKey,
  find: async (id) => (accountingKey.id.equals(id) ? accountingKey : null),
};

function trailOf(log: TileLog, options: Partial<AuditTrailOptions> = {}) {
  const trail = trailBeforeKeys(log, options);
  trail.useAccountingKeys(accounting);
  return trail;
}

async function openKeys(t: TestContext): Promise<KeyHierarchy> {
  const db = openSqlite(':memory:');
  t.after(() => db.close());
  await migrate(db, Date.now);
  return KeyHierarchy.open(db, { teeKey: randomBytes(32), keyholderShare: null }, Date.now);
}

const textOf = async (log: TileLog, index: number) => Buffer.from(await log.entry(index)).toString();
const entryAt = async (log: TileLog, index: number): Promise<AuditEntry> => JSON.parse(await textOf(log, index));

test('an entry is canonical JSON with every member, and its proof holds for a stranger', async (t) => {
  const log = await openLog(await scratch(t));
  const { index } = await trailOf(log).record(EVENT);
  const text = await textOf(log, index);
  const { salt, detail, pid, ...rest } = JSON.parse(text) as AuditEntry;
  assert.deepEqual(rest, {
    v: 1,
    time: '1970-01-01T00:16:40.000Z',
    boot: 'boot-1',
    action: 'read',
    actor: 'anonymous',
    pidEpoch: 1,
    object: { kind: 'study', ref: 's-1' },
    outcome: 'success',
    facts: { z: 1, a: null, model: 'sha256:00' },
  });
  assert.equal(Buffer.from(salt, 'base64url').length, 16);
  assert.match(pid!, /^[a-z2-7]{26}$/);
  assert.match(detail!, /^[\w-]+$/);
  assert.equal(canonicalize(JSON.parse(text)), text);
  assert.equal((await log.proof(index)).entry, text);
  verifyLogProof(await log.proof(index), log.vkeys());
});

test('the pseudonym is the published construction, and belongs to key, tenant and epoch', () => {
  const key = hkdfSync('sha256', AUDIT_KEY, '', '["abaton/audit-pid/v1","north",1]', 32);
  const mac = createHmac('sha256', Buffer.from(key)).update(`["audit/v1","north","${PATIENT}"]`).digest();
  // RFC 4648 §6, as a number in base 32: 128 bits and two of padding.
  const alphabet = 'abcdefghijklmnopqrstuvwxyz234567';
  let value = BigInt(`0x${mac.toString('hex', 0, 16)}`) << 2n;
  let expected = '';
  for (; expected.length < 26; value >>= 5n) expected = alphabet[Number(value & 31n)] + expected;
  const keys = new AuditKeys(AUDIT_KEY, 'north');
  assert.equal(keys.pid(PATIENT, 1), expected);
  const others = [
    keys.pid(PATIENT, 2),
    keys.pid(`${PATIENT}x` as PatientRef, 1),
    new AuditKeys(AUDIT_KEY, 'south').pid(PATIENT, 1),
    new AuditKeys(AUDIT_KEY.with(0, 4), 'north').pid(PATIENT, 1),
  ];
  assert.equal(new Set([expected, ...others]).size, 5);
});

test('nothing identifying stands in the files of the log', async (t) => {
  const dir = await scratch(t);
  const log = await openLog(dir);
  const trail = trailOf(log);
  await trail.recordAll(Array.from({ length: 300 }, () => EVENT));
  await log.close();
  const files = await readdir(dir, { recursive: true, withFileTypes: true });
  for (const file of files.filter((f) => f.isFile())) {
    const bytes = await readFile(join(file.parentPath, file.name));
    for (const canary of [PATIENT, 'Canary', '1.2.3.4.5'])
      for (const form of [canary, Buffer.from(canary).toString('base64url'), Buffer.from(canary).toString('hex')])
        assert.ok(!bytes.includes(form), `${file.name} holds ${form}`);
    assert.ok(file.name !== '000' || !file.parentPath.endsWith('entries') || bytes.includes('"actor":"anonymous"'));
  }
});

test('a detail opens in its own entry, and with the key that it was sealed for', async (t) => {
  const log = await openLog(await scratch(t));
  const trail = trailOf(log);
  await trail.recordAll([EVENT, EVENT, { ...EVENT, patient: null }, { ...EVENT, patient: null }]);
  const texts = await Promise.all([0, 1, 2, 3].map((i) => textOf(log, i)));
  const keys = new AuditKeys(AUDIT_KEY, 'north');
  const { find } = accounting;
  for (const at of [0, 2]) {
    const [text, next] = [texts[at]!, texts[at + 1]!];
    const resource = (await keys.openDetail(text, find)) as unknown as FhirAuditEvent;
    assert.deepEqual(detailOf(resource), EVENT.detail);
    const entry: AuditEntry = JSON.parse(text);
    const other: AuditEntry = JSON.parse(next);
    assert.notEqual(entry.detail, other.detail);
    assert.notEqual(entry.salt, other.salt);
    const flipped = Buffer.from(entry.detail!, 'base64url');
    flipped[30]! ^= 1;
    for (const changed of [
      { ...entry, detail: other.detail },
      { ...entry, actor: 'someone' },
      { ...entry, time: '1970-01-01T00:16:40.001Z' },
      { ...entry, boot: 'boot-2' },
      { ...entry, detail: flipped.toString('base64url') },
      { ...entry, detail: entry.detail!.slice(0, -4) },
      { ...entry, detail: '' },
    ])
      await assert.rejects(keys.openDetail(canonicalize(changed), find), { code: 'SEAL_BROKEN' });
  }
  for (const others of [new AuditKeys(AUDIT_KEY, 'south'), new AuditKeys(AUDIT_KEY.with(0, 4), 'north')])
    await assert.rejects(others.openDetail(texts[2]!, find), { code: 'SEAL_BROKEN' });
  // of a patient: without that patient's key nothing, with another in its place neither
  assert.equal(await keys.openDetail(texts[0]!, async () => null), null);
  const wrong = async () => ({ id: accountingKey.id, detail: randomBytes(32) });
  await assert.rejects(keys.openDetail(texts[0]!, wrong), { code: 'SEAL_BROKEN' });
});

test('what the log says of a patient opens until the accounting key is destroyed, whatever becomes of the content', async (t) => {
  const log = await openLog(await scratch(t));
  const hierarchy = await openKeys(t);
  const trail = trailBeforeKeys(log);
  await trail.record({ ...EVENT, patient: null });
  await assert.rejects(trail.record(EVENT), { code: 'AUDIT_UNAVAILABLE' });
  for (const [thrown, code] of [
    [errorOf('STORE_UNAVAILABLE', 'no disk'), 'AUDIT_UNAVAILABLE'],
    [errorOf('SEAL_BROKEN', 'changed'), 'SEAL_BROKEN'],
  ] as const) {
    trail.useAccountingKeys({ ...accounting, forRecording: () => Promise.reject(thrown) });
    await assert.rejects(trail.recordAll([{ ...EVENT, patient: null }, EVENT]), { code });
  }
  assert.equal(log.size(), 1, 'nothing of a patient, or beside it, before the keys are open');
  trail.useAccountingKeys(hierarchy.accounting);
  await trail.record(EVENT);
  await hierarchy.rotate(randomBytes(32));
  await trail.record(EVENT);
  const keys = new AuditKeys(AUDIT_KEY, 'north');
  const open = async (index: number) => keys.openDetail(await textOf(log, index), hierarchy.accounting.find);
  assert.ok((await open(1)) && (await open(2)));
  await hierarchy.destroyAccountingKey(PATIENT);
  assert.equal(await open(1), null);
  await trail.record(EVENT); // who asks for the patient later begins anew
  assert.deepEqual([await open(1), await open(2)], [null, null]);
  assert.ok(await open(3));
});

test('what is forbidden while a key is waited for is not recorded, and what forbids it stands before', async (t) => {
  const log = await openLog(await scratch(t));
  const trail = trailBeforeKeys(log);
  const key = Promise.withResolvers<typeof accountingKey>();
  trail.useAccountingKeys({ ...accounting, forRecording: () => key.promise });
  let open = true;
  const permit = () => {
    if (!open) throw errorOf('GATE_CLOSED', 'closed');
  };
  const waiting = [trail.record(EVENT, permit), trail.recordAll([{ ...EVENT, patient: null }, EVENT], permit)];
  const refused = waiting.map((each) => assert.rejects(each, { code: 'GATE_CLOSED' }));
  open = false;
  await trail.record({ ...EVENT, action: 'incident', patient: null });
  key.resolve(accountingKey);
  await Promise.all(refused);
  assert.deepEqual([log.size(), (await entryAt(log, 0)).action], [1, 'incident']);
  open = true;
  await trail.record(EVENT, permit);
  assert.equal(log.size(), 2);
});

test('time never goes behind the last entry', async (t) => {
  const dir = await scratch(t);
  const log = await openLog(dir);
  const clock = [5_000, 4_000, 4_000, 6_000, 1];
  const trail = trailOf(log, { nowMs: () => clock.shift()! });
  await trail.recordAll(Array.from({ length: 5 }, () => EVENT));
  const times = await Promise.all([0, 1, 2, 3, 4].map(async (i) => Date.parse((await entryAt(log, i)).time)));
  assert.deepEqual(times, [5_000, 5_000, 5_000, 6_000, 6_000]);
  await log.close();
  const again = await openLog(dir);
  const later = trailOf(again, { nowMs: () => 2_000, lastEntryMs: 6_000, bootId: 'boot-2' });
  const { index } = await later.record(EVENT);
  const entry = await entryAt(again, index);
  assert.equal(Date.parse(entry.time), 6_000);
  assert.equal(entry.boot, 'boot-2');
  assert.equal(entry.pid, (await entryAt(again, 0)).pid);
});

test('recordAll keeps the order; an unusable event or log refuses', async (t) => {
  const log = await openLog(await scratch(t));
  const trail = trailOf(log);
  const events = Array.from({ length: 20 }, (_, n) => ({ ...EVENT, facts: { n } }));
  const records = await trail.recordAll(events);
  for (const [n, { index }] of records.entries()) assert.deepEqual((await entryAt(log, index)).facts, { n });
  await assert.rejects(trail.record({ ...EVENT, facts: { n: Number.NaN } }));
  await assert.rejects(trail.record({ ...EVENT, detail: { query: 'x'.repeat(70_000) } }), { code: 'TOO_LARGE' });
  await log.close();
  await assert.rejects(trail.record(EVENT), { code: 'AUDIT_UNAVAILABLE' });
  await assert.rejects(trail.recordAll([EVENT]), { code: 'AUDIT_UNAVAILABLE' });
});

test('each boot records a fresh nonce and the checkpoint that it found', async (t) => {
  const dir = await scratch(t);
  const nonces = new Set<string>();
  for (let boot = 0; boot < 3; boot++) {
    const log = await openLog(dir);
    const trail = trailOf(log, { bootId: `boot-${boot}` });
    const found = log.checkpoint();
    const quoteSha256 = boot === 0 ? null : 'ab'.repeat(32);
    const { index, nonce, previousCheckpointSha256 } = await recordBoot({
      log,
      trail,
      quoteSha256,
      facts: { mode: 'synthetic' },
    });
    assert.equal(index, boot * 2);
    const { action, actor, pid, facts, object } = await entryAt(log, index);
    assert.deepEqual([action, actor, pid], ['boot', 'abaton', null]);
    assert.equal(previousCheckpointSha256, createHash('sha256').update(found).digest('hex'));
    assert.deepEqual(facts, { nonce, previousCheckpointSha256, previousSize: boot * 2, mode: 'synthetic' });
    assert.deepEqual(object, quoteSha256 && { kind: 'evidence', ref: quoteSha256 });
    assert.match(nonce, /^[0-9a-f]{64}$/);
    nonces.add(nonce);
    await trail.record(EVENT);
    await log.close();
  }
  assert.equal(nonces.size, 3);
});
