// Envelopes (AES-256-GCM, NIST SP 800-38D), HKDF (RFC 5869) and the key hierarchy.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Db } from '../../src/vault/db.ts';
import { deriveKey, openEnvelope, sealEnvelope } from '../../src/vault/envelope.ts';
import { KeyHierarchy } from '../../src/vault/keys.ts';
import { migrate } from '../../src/vault/migrations.ts';
import { createSealedState } from '../../src/vault/sealed-state.ts';
import { openSqlite } from '../../src/vault/sqlite.ts';
import type { PatientRef } from '../../src/vault/vault.ts';
import { flipped, runs, TEE_KEY } from './support.ts';

const isBroken = { code: 'SEAL_BROKEN' };
const now = () => 1_700_000_000_000;
const alice = 'alice' as PatientRef;
const bob = 'bob' as PatientRef;

async function openDb(t: { after(f: () => Promise<void>): void }): Promise<Db> {
  const db = openSqlite(':memory:');
  t.after(() => db.close());
  await migrate(db, now);
  return db;
}
const openKeys = (db: Db, keyholderShare: Uint8Array | null = null, teeKey = TEE_KEY) =>
  KeyHierarchy.open(db, { teeKey, keyholderShare }, now);

test('HKDF-SHA256 is that of RFC 5869, appendix A.3', () => {
  const okm = '8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8';
  const derived = deriveKey(new Uint8Array(22).fill(0x0b), '');
  assert.equal(Buffer.from(derived).toString('hex'), okm.slice(0, 64));
});

test('an envelope opens to what was sealed, in its context only', () => {
  const property = fc.property(fc.uint8Array(), fc.array(fc.string()), fc.array(fc.string()), (plain, here, there) => {
    const key = randomBytes(32);
    const sealed = sealEnvelope(key, here, plain);
    assert.deepEqual(new Uint8Array(openEnvelope(key, here, sealed)), plain);
    if (JSON.stringify(here) !== JSON.stringify(there)) assert.throws(() => openEnvelope(key, there, sealed), isBroken);
    assert.throws(() => openEnvelope(randomBytes(32), here, sealed), isBroken);
  });
  fc.assert(property, runs());
});

test('an envelope with any bit flipped, truncated or extended is broken', () => {
  const key = randomBytes(32);
  const sealed = sealEnvelope(key, ['here'], Buffer.from('a small value'));
  for (let bit = 0; bit < sealed.length * 8; bit++)
    assert.throws(() => openEnvelope(key, ['here'], flipped(sealed, bit)), isBroken);
  for (let length = 0; length < sealed.length; length++)
    assert.throws(() => openEnvelope(key, ['here'], sealed.subarray(0, length)), isBroken);
  assert.throws(() => openEnvelope(key, ['here'], Buffer.concat([sealed, Buffer.alloc(1)])), isBroken);
});

test('contexts that read alike when joined do not open for each other', () => {
  const key = randomBytes(32);
  const sealed = sealEnvelope(key, ['a', 'bc'], Buffer.from('x'));
  for (const context of [['ab', 'c'], ['abc'], ['a', 'bc', ''], ['a,bc']])
    assert.throws(() => openEnvelope(key, context, sealed), isBroken);
});

test('a patient has one key, the same after a restart and from two callers at once', async (t) => {
  const db = await openDb(t);
  const keys = await openKeys(db);
  const [one, two] = await Promise.all([keys.forSealing(alice), keys.forSealing(alice)]);
  assert.deepEqual(one, two);
  assert.notDeepEqual(one.wrap, one.value);
  assert.notDeepEqual(await keys.forSealing(bob), one);
  assert.deepEqual(await (await openKeys(db)).forOpening(alice), one);
  await assert.rejects(keys.forOpening('carol' as PatientRef), isBroken);
});

test('another TEE key or share does not open the state, and says so at once', async (t) => {
  const db = await openDb(t);
  const share = randomBytes(32);
  await openKeys(db, share);
  await openKeys(db, share);
  await assert.rejects(openKeys(db, share, randomBytes(32)), isBroken);
  await assert.rejects(openKeys(db, randomBytes(32)), isBroken);
  await assert.rejects(openKeys(db, null), isBroken);
  for (const length of [0, 16, 31, 33])
    await assert.rejects(openKeys(db, null, randomBytes(length)), { code: 'SETTING_INVALID' });
  await assert.rejects(openKeys(db, randomBytes(16)), { code: 'SETTING_INVALID' });
});

test('a wrapped patient key with a bit flipped, or moved to another patient or epoch, is broken', async (t) => {
  const db = await openDb(t);
  const keys = await openKeys(db);
  await keys.forSealing(alice);
  await keys.forSealing(bob);
  const wrappedOf = async (patient: PatientRef) =>
    (await db.query('select wrapped from patient_keys where patient = $1', [patient]))[0]!.wrapped as Uint8Array;
  const write = (wrapped: Uint8Array) =>
    db.query('update patient_keys set wrapped = $1 where patient = $2', [wrapped, bob]);
  const openBob = async () => (await openKeys(db)).forOpening(bob);
  const original = await wrappedOf(bob);
  for (let bit = 0; bit < original.length * 8; bit += 5) {
    await write(flipped(original, bit));
    await assert.rejects(openBob(), isBroken);
  }
  await write(await wrappedOf(alice));
  await assert.rejects(openBob(), isBroken);
  await write(original);
  await db.query('update patient_keys set epoch = 2');
  await assert.rejects(openBob(), isBroken);
  await db.query('update patient_keys set epoch = 1');
  await openBob();
});

test('a rotation moves every patient key to the new epoch and leaves nothing under the old share', async (t) => {
  const db = await openDb(t);
  const [first, second] = [randomBytes(32), randomBytes(32)];
  const keys = await openKeys(db, first);
  assert.deepEqual(keys.status(), { keyholder: 'held', epoch: 1 });
  const before = { alice: await keys.forSealing(alice), bob: await keys.forSealing(bob) };
  const [stolen] = await db.query('select wrapped from patient_keys where patient = $1', [bob]);

  await keys.rotate(second);
  assert.deepEqual(keys.status(), { keyholder: 'held', epoch: 2 });
  await keys.forSealing('carol' as PatientRef);
  assert.deepEqual(
    (await db.query('select distinct epoch from patient_keys')).map((row) => row.epoch),
    [2],
  );
  const reopened = await openKeys(db, second);
  assert.deepEqual(await reopened.forOpening(alice), before.alice);
  assert.deepEqual(await reopened.forOpening(bob), before.bob);
  await assert.rejects(openKeys(db, first), isBroken);
  // A row that the host kept from the old epoch.
  await db.query('update patient_keys set epoch = 1, wrapped = $1 where patient = $2', [stolen!.wrapped!, bob]);
  await assert.rejects((await openKeys(db, second)).forOpening(bob), isBroken);
});

test('the process that rotated has forgotten the old epoch too', async (t) => {
  const db = await openDb(t);
  await (await openKeys(db)).forSealing(bob);
  const [old] = await db.query('select wrapped from patient_keys');
  const keys = await openKeys(db);
  await keys.rotate(null);
  await db.query('update patient_keys set epoch = 1, wrapped = $1', [old!.wrapped!]);
  await assert.rejects(keys.forOpening(bob), isBroken);
});

test('a rotation that fails leaves the old epoch in force', async (t) => {
  const db = await openDb(t);
  const keys = await openKeys(db);
  const key = await keys.forSealing(alice);
  await db.query('update patient_keys set wrapped = $1', [randomBytes(61)]);
  await assert.rejects(keys.rotate(randomBytes(32)), isBroken);
  assert.deepEqual(keys.status(), { keyholder: 'none', epoch: 1 });
  assert.deepEqual(await keys.forOpening(alice), key);
  await keys.forSealing(bob);
  assert.deepEqual((await openKeys(db)).status(), { keyholder: 'none', epoch: 1 });
});

test('patients that appear while keys rotate are under the new epoch or moved to it', async (t) => {
  const db = await openDb(t);
  const keys = await openKeys(db);
  const refs = Array.from({ length: 40 }, (_, i) => `p${i}` as PatientRef);
  const made = refs.map((ref) => keys.forSealing(ref));
  await Promise.all([...made, keys.rotate(null), keys.rotate(null), ...refs.map((ref) => keys.forSealing(ref))]);
  assert.equal(keys.status().epoch, 3);
  const reopened = await openKeys(db);
  for (const [i, ref] of refs.entries()) assert.deepEqual(await reopened.forOpening(ref), await made[i]);
});

test('a patient has an accounting key of its own, which is found by the id that entries name', async (t) => {
  const db = await openDb(t);
  const keys = await openKeys(db);
  const [one, two] = await Promise.all([keys.accounting.forRecording(alice), keys.accounting.forRecording(alice)]);
  assert.deepEqual(one, two);
  const other = await keys.accounting.forRecording(bob);
  await keys.forSealing(alice);
  await keys.rotate(randomBytes(32));
  assert.deepEqual(await keys.accounting.find(one.id), one);
  keys.forget();
  assert.deepEqual(await keys.accounting.find(one.id), one);
  assert.equal(await keys.accounting.find(randomBytes(8)), null);
  const rows = await db.query('select patient, lookup, epoch from accounting_keys');
  assert.deepEqual(new Set(rows.map(({ epoch }) => Number(epoch))), new Set([2]), 'rotated with the others');
  for (const { lookup } of rows)
    for (const { id } of [one, other]) assert.ok(!String(lookup).includes(Buffer.from(id).toString('hex')));
  // content goes, the accounting stays; and the other way round
  await db.query('delete from patient_keys where patient = $1', [alice]);
  keys.forget();
  await assert.rejects(keys.forOpening(alice), isBroken);
  assert.deepEqual(await keys.accounting.find(one.id), one);
  await keys.forSealing(bob);
  await keys.destroyAccountingKey(bob);
  assert.equal(await keys.accounting.find(other.id), null);
  await keys.forOpening(bob);
});

test('a wrapped accounting key that was changed, moved or put in the place of a content key is broken', async (t) => {
  const db = await openDb(t);
  const keys = await openKeys(db);
  const { id } = await keys.accounting.forRecording(alice);
  await keys.accounting.forRecording(bob);
  await keys.forSealing(alice);
  const [row] = await db.query('select wrapped from accounting_keys where patient = $1', [alice]);
  const original = row!.wrapped as Uint8Array;
  const [content] = await db.query('select wrapped from patient_keys where patient = $1', [alice]);
  const [bobs] = await db.query('select wrapped from accounting_keys where patient = $1', [bob]);
  for (const wrapped of [flipped(original, 200), content!.wrapped as Uint8Array, bobs!.wrapped as Uint8Array]) {
    await db.query('update accounting_keys set wrapped = $1 where patient = $2', [wrapped, alice]);
    keys.forget();
    await assert.rejects(keys.accounting.find(id), isBroken);
    await assert.rejects(keys.accounting.forRecording(alice), isBroken);
  }
});

test('more patients than the cache holds still open', async (t) => {
  const db = await openDb(t);
  const keys = await openKeys(db);
  const ref = (i: number) => `p${i}` as PatientRef;
  const first = await keys.forSealing(ref(0));
  for (let i = 1; i <= 1030; i++) await keys.forSealing(ref(i));
  assert.deepEqual(await keys.forOpening(ref(0)), first);
});

test('sealed state comes back under its name and key only', async (t) => {
  const db = await openDb(t);
  const state = createSealedState(TEE_KEY);
  assert.equal(await state.get(db, 'latch'), null);
  await state.put(db, 'latch', Buffer.from('old'));
  await db.tx((q) => state.put(q, 'latch', Buffer.from('closed')));
  assert.equal(Buffer.from((await state.get(db, 'latch'))!).toString(), 'closed');
  await assert.rejects(createSealedState(randomBytes(32)).get(db, 'latch'), isBroken);
  await db.query(`update sealed_state set name = 'other'`);
  await assert.rejects(state.get(db, 'other'), isBroken);
});
