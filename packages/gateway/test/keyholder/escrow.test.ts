/** The way back after a loss: and no way back for what was destroyed. */
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { exportEscrow, importEscrow } from '../../src/index.ts';
import { makePlace, optionsOf, type Place, SUBJECT, shareOf, withShares } from './support.ts';

const PASSPHRASE = Buffer.from('seven horses, one bridge');

let place: Place;
let copy: string;
beforeEach(async () => {
  place = await makePlace();
  copy = join(place.root, 'escrow');
});
afterEach(() => place.remove());

/** Two epochs; the first one destroyed, when it says so. */
const makeTwo = (destroyed = true) =>
  withShares(place, async (shares) => {
    const made = [await shareOf(shares, 1), await shareOf(shares, 2)];
    if (destroyed) await shares.destroy(SUBJECT, 1);
    return made;
  });
const destroyFirst = () => withShares(place, (shares) => shares.destroy(SUBJECT, 1));
const take = () => exportEscrow(optionsOf(place), copy, PASSPHRASE);
const restore = (passphrase = PASSPHRASE) => importEscrow(optionsOf(place), copy, passphrase);
const loseFolder = () => rmSync(place.dir, { recursive: true });
const loseKey = () => rmSync(place.keyFile);
const look = () =>
  withShares(place, async (shares) => ({
    vkey: shares.signer.vkey,
    states: shares.states().map(({ state }) => state),
    newest: await shareOf(shares, 2),
  }));

for (const [what, lose] of [
  ['the machine', [loseFolder, loseKey]],
  ['the folder', [loseFolder]],
] as const)
  test(`${what} is lost: the copy brings back shares, tombstones and the signing key`, async () => {
    await makeTwo();
    const before = await look();
    assert.deepEqual(await take(), [2]);
    assert.equal(statSync(copy).mode & 0o777, 0o600);
    for (const each of lose) each();
    assert.deepEqual(await restore(), { held: [2], destroyed: [1] });
    assert.deepEqual(await look(), before);
    await withShares(place, async (shares) => {
      await assert.rejects(shares.share(SUBJECT, 1), { code: 'EPOCH_DESTROYED' });
      await shareOf(shares, 3);
    });
  });

test('the key file is lost: shares are moved away, tombstones keep their say', async () => {
  await makeTwo(false);
  const before = await look();
  await take(); // of before the destruction
  await destroyFirst();
  loseKey();
  await assert.rejects(restore(), { code: 'KEYHOLDER_STATE_INVALID' }, 'a share is there');
  rmSync(join(place.dir, 'epoch-2.share'));
  assert.deepEqual(await restore(), { held: [2], destroyed: [1] });
  assert.deepEqual(await look(), { ...before, states: ['destroyed', 'held'] });
});

test('a copy of before a destruction, and a key file that knows of it: it stays destroyed', async () => {
  await makeTwo(false);
  await take();
  await destroyFirst();
  loseFolder();
  assert.deepEqual(await restore(), { held: [2], destroyed: [1] });
  assert.deepEqual((await look()).states, ['destroyed', 'held']);
});

test('a copy that ends before the newest epoch is refused: its share would be made anew', async () => {
  await makeTwo();
  await take();
  await withShares(place, (shares) => shareOf(shares, 3));
  const key = readFileSync(place.keyFile);
  loseKey();
  await assert.rejects(
    restore(),
    { code: 'KEYHOLDER_STATE_INVALID', message: /ends at epoch 2/ },
    'the folder says so',
  );
  writeFileSync(place.keyFile, key, { mode: 0o600 });
  loseFolder();
  await assert.rejects(restore(), { code: 'KEYHOLDER_STATE_INVALID' });
  assert.deepEqual(
    readdirSync(place.dir).filter((name) => name.startsWith('epoch')),
    [],
  );
});

test('nothing is imported over shares, or over the key file of another keyholder', async () => {
  await makeTwo();
  await take();
  const before = readdirSync(place.dir);
  await assert.rejects(restore(), { code: 'KEYHOLDER_STATE_INVALID' });
  assert.deepEqual(readdirSync(place.dir), before);
  const other = await makePlace();
  await assert.rejects(importEscrow(optionsOf(other), copy, PASSPHRASE), { code: 'KEYHOLDER_KEY_INVALID' });
  await assert.rejects(
    importEscrow({ ...optionsOf(other), keyFile: join(other.root, 'new') }, copy, Buffer.from('x')),
    {
      code: 'ESCROW_INVALID',
    },
  );
  other.remove();
});

test('a wrong passphrase, a flipped byte, a cut, and another file', async () => {
  await makeTwo();
  await take();
  loseFolder();
  loseKey();
  const invalid = { code: 'ESCROW_INVALID' };
  await assert.rejects(restore(Buffer.from('seven horses, one bridgf')), invalid);
  const whole = readFileSync(copy);
  for (const at of [0, 4, 5, 21, 33, whole.length - 1]) {
    const flipped = Buffer.from(whole);
    flipped[at]! ^= 1;
    writeFileSync(copy, flipped);
    await assert.rejects(restore(), invalid, `byte ${at}`);
  }
  for (const length of [0, 5, 48, whole.length - 1]) {
    writeFileSync(copy, whole.subarray(0, length));
    await assert.rejects(restore(), invalid, `${length} bytes`);
  }
  assert.ok(!readdirSync(join(place.root, 'medium')).includes('keyholder.key'));
  writeFileSync(copy, whole);
  await restore();
});

test('a copy holds no share in clear, is written over nothing, and not while the keyholder runs', async () => {
  const made = await makeTwo();
  await take();
  const bytes = readFileSync(copy);
  for (const share of made) assert.ok(!bytes.includes(share) && !bytes.includes(Buffer.from(share, 'hex')));
  await assert.rejects(take(), { code: 'EEXIST' });
  assert.deepEqual(readFileSync(copy), bytes);
  rmSync(copy);
  await withShares(place, () => assert.rejects(take(), { code: 'KEYHOLDER_IN_USE' }));
  assert.ok(!readdirSync(place.root).includes('escrow'));
});

test('before anything was made, a copy brings back the signing key', async () => {
  assert.deepEqual(await take(), []);
  const elsewhere = { keyFile: join(place.root, 'key'), dir: join(place.root, 'elsewhere') };
  mkdirSync(elsewhere.dir);
  assert.deepEqual(await importEscrow(elsewhere, copy, PASSPHRASE), { held: [], destroyed: [] });
  const before = readFileSync(place.keyFile, 'utf8');
  const seed = (text: string) => /^sign (\S+)$/m.exec(text)![1];
  assert.equal(seed(readFileSync(elsewhere.keyFile, 'utf8')), seed(before));
});
