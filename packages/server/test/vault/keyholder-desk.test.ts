/** What the keyholder brings: only his own share, asked for, for this app, that opens what was sealed. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { createNoteSigner, formatKeyShare, type KeyShare } from '@abaton/client';
import { ED25519_TYPE, ML_DSA_44_TYPE } from '@abaton/verify';
import { openDatabase, openSharedVault, openVault, type State } from '../../src/open-state.ts';
import { createKeyholderDesk } from '../../src/vault/keyholder-desk.ts';
import { newInstance } from '../archive-fixture.ts';
import { scratch, TEE_KEY } from './support.ts';

const SUBJECT = 'abaton/0123';
const keyholder = createNoteSigner({ name: 'hospital.example/keyholder', type: ED25519_TYPE, seed: randomBytes(32) });
const stranger = createNoteSigner({ name: 'hospital.example/keyholder', type: ED25519_TYPE, seed: randomBytes(32) });
const noteOf = (message: Partial<KeyShare>, signer = keyholder): string => {
  const text = formatKeyShare({ subject: SUBJECT, epoch: 1, share: null, ...message });
  return `${text}\n${signer.sign(text)}`;
};
const isRefused = { code: 'SHARE_REFUSED' };

async function openDesk(t: TestContext, dataDir: string, vkey: string | null = keyholder.vkey) {
  const db = await openDatabase({ dataDir, teeKey: TEE_KEY });
  t.after(() => db.close());
  const events: string[] = [];
  const desk = createKeyholderDesk({
    ...{ db, vkey, subject: SUBJECT },
    record: async (what, epoch) => void events.push(`${what} ${epoch}`),
  });
  return { db, desk, events };
}
const options = (dataDir: string) => ({ dataDir, teeKey: TEE_KEY, tenant: 'test', studyIdleMs: 0 });

/** The desk asks while it looks at the database first. */
async function wanted(desk: { wishes(): Promise<{ wanted: number | null }> }): Promise<number> {
  for (;;) {
    const { wanted } = await desk.wishes();
    if (wanted !== null) return wanted;
    await new Promise(setImmediate);
  }
}

test('the vault opens with the share that it was sealed with, and with no other', async (t) => {
  const dataDir = join(await scratch(t), 'data');
  const share = randomBytes(32);
  const first = await openDesk(t, dataDir);
  assert.equal(first.desk.state(), 'pending');
  const opening = openSharedVault(first.db, first.desk, options(dataDir));
  assert.equal(await wanted(first.desk), 1);
  await first.desk.take(noteOf({ share }));
  const state = await opening;
  assert.deepEqual([first.desk.state(), (await first.desk.wishes()).wanted], ['held', null]);
  await state.archive.addInstances([await newInstance(state)]);
  await first.db.close();

  const again = await openDesk(t, dataDir);
  let opened: State | null = null;
  const reopening = openSharedVault(again.db, again.desk, options(dataDir)).then((state) => {
    opened = state;
  });
  await wanted(again.desk);
  for (const bad of [
    noteOf({ share: randomBytes(32) }),
    noteOf({ share }, stranger),
    noteOf({ share, subject: 'abaton/4567' }),
    noteOf({ share, epoch: 2 }),
    noteOf({ epoch: 1 }),
    noteOf({ share }).replace('epoch 1', 'epoch 01'),
    noteOf({ share }).slice(0, -10),
    '',
  ])
    await assert.rejects(again.desk.take(bad), isRefused);
  assert.deepEqual([opened, again.desk.state()], [null, 'pending']);
  await again.desk.take(noteOf({ share }));
  await reopening;
  assert.ok(opened);
  await assert.rejects(again.desk.take(noteOf({ share })), isRefused, 'nobody asks any more');
  assert.deepEqual(again.events, ['share-refused 1', 'share-given 1']);
  await again.db.close();

  const alone = await openDatabase({ dataDir, teeKey: TEE_KEY });
  t.after(() => alone.close());
  await assert.rejects(openVault(alone, { ...options(dataDir), keyholderShare: null }), { code: 'SEAL_BROKEN' });
});

test('an epoch that was given up is destroyed once he says so, and only then', async (t) => {
  const dataDir = join(await scratch(t), 'data');
  const { db, desk, events } = await openDesk(t, dataDir);
  const opening = openSharedVault(db, desk, options(dataDir));
  await wanted(desk);
  await desk.take(noteOf({ share: randomBytes(32) }));
  const state = await opening;
  await assert.rejects(desk.take(noteOf({ epoch: 1 })), isRefused, 'in use');
  const rotating = desk.need(2, (share) => state.keys.rotate(share), 5_000);
  await desk.take(noteOf({ epoch: 2, share: randomBytes(32) }));
  await rotating;
  assert.deepEqual((await desk.wishes()).retired, [1]);
  await assert.rejects(desk.allDestroyed(20), { code: 'KEYHOLDER_UNAVAILABLE' });
  const waiting = desk.allDestroyed(5_000);
  await desk.take(noteOf({ epoch: 1 }));
  await waiting;
  assert.deepEqual((await desk.wishes()).retired, []);
  await assert.rejects(desk.take(noteOf({ epoch: 1 })), isRefused, 'twice');
  assert.deepEqual(events, ['share-given 1', 'share-given 2', 'share-destroyed 1']);
});

test('a vault that was sealed without a share gets one in a new epoch', async (t) => {
  const dataDir = join(await scratch(t), 'data');
  const before = await openDatabase({ dataDir, teeKey: TEE_KEY });
  const unshared = await openVault(before, { ...options(dataDir), keyholderShare: null });
  await unshared.archive.addInstances([await newInstance(unshared)]);
  await before.close();
  const { db, desk } = await openDesk(t, dataDir);
  const opening = openSharedVault(db, desk, options(dataDir));
  assert.equal(await wanted(desk), 2);
  await desk.take(noteOf({ epoch: 2, share: randomBytes(32) }));
  const state = await opening;
  assert.equal(state.keys.status().epoch, 2);
  assert.equal((await Array.fromAsync(state.archive.listInstances())).length, 1);
});

test('who does not come in time, and who is none', async (t) => {
  const dataDir = join(await scratch(t), 'data');
  const { db, desk } = await openDesk(t, dataDir);
  await assert.rejects(
    desk.need(1, async () => {}, 10),
    { code: 'KEYHOLDER_UNAVAILABLE' },
  );
  assert.equal((await desk.wishes()).wanted, null);
  await db.close();
  const none = await openDesk(t, dataDir, null);
  assert.deepEqual(
    [none.desk.state(), await none.desk.wishes()],
    ['none', { subject: SUBJECT, wanted: null, retired: [] }],
  );
  await assert.rejects(none.desk.take(noteOf({ share: randomBytes(32) })), isRefused);
  const cosigner = createNoteSigner({ name: 'x', type: ML_DSA_44_TYPE, seed: randomBytes(32) });
  for (const vkey of ['nonsense', cosigner.vkey])
    assert.throws(() => createKeyholderDesk({ db: none.db, vkey, subject: SUBJECT, record: async () => {} }), {
      code: 'MANIFEST_INVALID',
    });
});

test('another TEE key is refused before anything is written', async (t) => {
  const dataDir = join(await scratch(t), 'data');
  const db = await openDatabase({ dataDir, teeKey: TEE_KEY });
  await openVault(db, { ...options(dataDir), keyholderShare: null });
  await db.close();
  await assert.rejects(openDatabase({ dataDir, teeKey: randomBytes(32) }), { code: 'SEAL_BROKEN' });
});
