/** What may become of the share of an epoch, and what is on disk meanwhile. */
import assert from 'node:assert/strict';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  linkSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { createKeyFile, newKeyMaterial } from '../../src/index.ts';
import { readShare } from '../../src/keyholder/share-folder.ts';
import { openShares } from '../../src/keyholder/shares.ts';
import { makePlace, NAME, optionsOf, type Place, SUBJECT, sealingKeyIn, shareOf, withShares } from './support.ts';

let place: Place;
beforeEach(async () => {
  place = await makePlace();
});
afterEach(() => place.remove());

const files = () => readdirSync(place.dir).filter((name) => name !== 'lock');
/** Three were made, and 1 is destroyed. */
const makeThree = () =>
  withShares(place, async (shares) => {
    const made = [await shareOf(shares, 1), await shareOf(shares, 2), await shareOf(shares, 3)];
    await shares.destroy(SUBJECT, 1);
    return made;
  });
const states = () => withShares(place, (shares) => shares.states().map(({ state }) => state));

test('the same share for the same epoch, also after a restart; another for each epoch', async () => {
  const made = await makeThree();
  assert.equal(new Set(made).size, 3);
  await withShares(place, async (shares) => {
    assert.deepEqual([await shareOf(shares, 2), await shareOf(shares, 3)], made.slice(1));
    assert.equal((await shares.share(SUBJECT, 3)).made, false);
  });
  assert.deepEqual(await states(), ['destroyed', 'held', 'held']);
  assert.deepEqual(files(), ['epoch-1.destroyed', 'epoch-2.share', 'epoch-3.share']);
});

test('no share is on disk in clear', async () => {
  const made = await makeThree();
  const bytes = Buffer.concat([
    ...files().map((name) => readFileSync(join(place.dir, name))),
    readFileSync(place.keyFile),
  ]);
  for (const share of made) {
    assert.ok(!bytes.includes(Buffer.from(share, 'hex')));
    assert.ok(!bytes.includes(share));
  }
});

for (const epoch of [0, 2, 7, -1, 1.5, Number.NaN])
  test(`epoch ${epoch} out of the blue: refused, and nothing is made`, async () => {
    await withShares(place, async (shares) => {
      await assert.rejects(shares.share(SUBJECT, epoch), { code: 'EPOCH_UNEXPECTED' });
      await assert.rejects(shares.destroy(SUBJECT, epoch), { code: 'EPOCH_UNEXPECTED' });
      assert.equal(shares.subject(), null, 'nor pinned');
    });
    assert.deepEqual(files(), []);
  });

test('a destroyed epoch is never given and never made again', async () => {
  await makeThree();
  await withShares(place, async (shares) => {
    await assert.rejects(shares.share(SUBJECT, 1), { code: 'EPOCH_DESTROYED' });
    await shares.destroy(SUBJECT, 1); // said again: nothing to do
  });
});

test('the newest is never destroyed', async () => {
  await withShares(place, async (shares) => {
    await shareOf(shares, 1);
    await assert.rejects(shares.destroy(SUBJECT, 1), { code: 'EPOCH_NEEDED' });
    await shareOf(shares, 2);
    await shares.destroy(SUBJECT, 1);
    await assert.rejects(shares.destroy(SUBJECT, 2), { code: 'EPOCH_NEEDED' });
  });
});

test('another subject gets nothing, and destroys nothing', async () => {
  await makeThree();
  await withShares(place, async (shares) => {
    await assert.rejects(shares.share('abaton/other', 3), { code: 'SUBJECT_OTHER' });
    await assert.rejects(shares.share('abaton/other', 4), { code: 'SUBJECT_OTHER' });
    await assert.rejects(shares.destroy('abaton/other', 2), { code: 'SUBJECT_OTHER' });
  });
  await assert.rejects(openShares({ ...optionsOf(place), subject: 'abaton/other' }), { code: 'SUBJECT_OTHER' });
});

test('a subject that is pinned beforehand, and one that cannot be', async () => {
  (await openShares({ ...optionsOf(place), subject: SUBJECT })).close();
  await withShares(place, (shares) => assert.rejects(shares.share('abaton/x', 1), { code: 'SUBJECT_OTHER' }));
  rmSync(place.keyFile);
  await createKeyFile(place.keyFile, newKeyMaterial(NAME));
  for (const bad of ['', '-', 'two words', 'a\nepochs 9', 'x'.repeat(129)])
    await withShares(place, (shares) => assert.rejects(shares.share(bad, 1), { code: 'SUBJECT_OTHER' }));
});

test('two keyholders on one folder, and on one key file', async () => {
  await withShares(place, async () => {
    await assert.rejects(openShares(optionsOf(place)), { code: 'KEYHOLDER_IN_USE' });
    await assert.rejects(openShares({ ...optionsOf(place), dir: join(place.root, 'other') }), {
      code: 'KEYHOLDER_IN_USE',
    });
  });
  await states();
});

test('what a destruction leaves: the old bytes overwritten, and an old copy of the folder that does not open', async () => {
  await withShares(place, async (shares) => {
    await shareOf(shares, 1);
    await shareOf(shares, 2);
  });
  const copy = join(place.root, 'copy');
  cpSync(place.dir, copy, { recursive: true });
  const oldKey = sealingKeyIn(place.keyFile);
  // stays after its last name went, as the blocks of a disk do
  const hard = { share: join(place.root, 'share'), key: join(place.root, 'key') };
  linkSync(join(place.dir, 'epoch-1.share'), hard.share);
  linkSync(place.keyFile, hard.key);
  const [share, key] = [readFileSync(hard.share), readFileSync(hard.key)];

  await withShares(place, (shares) => shares.destroy(SUBJECT, 1));
  assert.equal(readFileSync(hard.share).length, share.length);
  assert.notDeepEqual(readFileSync(hard.share), share);
  assert.ok(!readFileSync(hard.key).includes(oldKey.toString('hex')) && key.includes(oldKey.toString('hex')));
  const newKey = sealingKeyIn(place.keyFile);
  assert.notDeepEqual(newKey, oldKey);
  for (const epoch of [1, 2]) {
    await readShare(copy, [oldKey], SUBJECT, epoch);
    await assert.rejects(readShare(copy, [newKey], SUBJECT, epoch), { code: 'KEYHOLDER_STATE_INVALID' });
  }
  await assert.rejects(readShare(place.dir, [oldKey], SUBJECT, 2), { code: 'KEYHOLDER_STATE_INVALID' });

  // and put back in place of the folder, or of the file alone, it is no way to have the epoch again
  const now = join(place.root, 'now');
  renameSync(place.dir, now);
  renameSync(copy, place.dir);
  await assert.rejects(states(), { code: 'KEYHOLDER_STATE_INVALID' });
  copyFileSync(join(place.dir, 'epoch-1.share'), join(now, 'epoch-1.share'));
  rmSync(place.dir, { recursive: true });
  renameSync(now, place.dir);
  await assert.rejects(states(), { code: 'KEYHOLDER_STATE_INVALID' });
  rmSync(join(place.dir, 'epoch-1.share'));
  assert.deepEqual(await states(), ['destroyed', 'held']);
});

const invalid = { code: 'KEYHOLDER_STATE_INVALID' };

test('a folder of before the newest epoch: refused, not made anew', async () => {
  await withShares(place, (shares) => shareOf(shares, 1));
  const share = readFileSync(join(place.dir, 'epoch-1.share'));
  rmSync(join(place.dir, 'epoch-1.share'));
  await assert.rejects(states(), invalid);
  rmSync(place.dir, { recursive: true });
  await assert.rejects(states(), invalid);
  writeFileSync(join(place.dir, 'epoch-1.share'), share);
  assert.deepEqual(await states(), ['held']);
});

test('files that stand in for others: refused', async () => {
  await makeThree();
  const [one, two] = [join(place.dir, 'epoch-2.share'), join(place.dir, 'epoch-3.share')];
  const before = readFileSync(one);
  copyFileSync(two, one);
  await assert.rejects(states(), invalid);
  writeFileSync(one, before);
  rmSync(join(place.dir, 'epoch-1.destroyed'));
  await assert.rejects(states(), invalid);
});

test('the key file of before the newest epochs: refused', async () => {
  const old = readFileSync(place.keyFile);
  await makeThree();
  writeFileSync(place.keyFile, old);
  await assert.rejects(states(), invalid);
});

test('a flipped bit anywhere in any file, or a cut: the start is refused, and the file is left as it is', async () => {
  await makeThree();
  const all = [...files().map((name) => join(place.dir, name)), place.keyFile];
  for (const file of all) {
    const whole = readFileSync(file);
    for (let at = 0; at < whole.length; at += 5) {
      // 5: shorter than any part of the forms but the magic numbers
      const flipped = Buffer.from(whole);
      flipped[at]! ^= 1 << (at % 8);
      writeFileSync(file, flipped);
      await assert.rejects(
        states(),
        (error: { code: string }) => /^KEYHOLDER_(KEY|STATE)_INVALID$/.test(error.code),
        `${file} ${at}`,
      );
      assert.deepEqual(readFileSync(file), flipped);
    }
    for (const cut of [0, 1, whole.length - 1]) {
      writeFileSync(file, whole.subarray(0, cut));
      await assert.rejects(states(), {
        code: file === place.keyFile ? 'KEYHOLDER_KEY_INVALID' : 'KEYHOLDER_STATE_INVALID',
      });
    }
    writeFileSync(file, whole);
  }
  assert.deepEqual(await states(), ['destroyed', 'held', 'held']);
});

test('a key file that others can read, that is missing, or exists already', async () => {
  chmodSync(place.keyFile, 0o640);
  await assert.rejects(states(), { code: 'KEYHOLDER_KEY_INVALID' });
  chmodSync(place.keyFile, 0o600);
  const before = readFileSync(place.keyFile);
  await assert.rejects(createKeyFile(place.keyFile, newKeyMaterial(NAME)), { code: 'KEYHOLDER_KEY_INVALID' });
  assert.deepEqual(readFileSync(place.keyFile), before);
  rmSync(place.keyFile);
  await assert.rejects(states(), { code: 'KEYHOLDER_KEY_INVALID' });
});
