/** The keyholder and an attested server: what is given, what is refused, and what is said of it. */
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { type CustomerServer, startCustomerServer } from './customer-server.ts';
import { type RunningKeyholder, run, waitFor } from './running.ts';
import { makePlace, optionsOf, type Place, SUBJECT, shareOf, withShares } from './support.ts';

let server: CustomerServer;
let place: Place;
let keyholder: RunningKeyholder | null = null;
before(async () => {
  server = await startCustomerServer();
});
beforeEach(async () => {
  place = await makePlace();
  server.wishes = { subject: SUBJECT, wanted: null, retired: [] };
  server.told = [];
  server.beforeAnswer = () => {};
  server.vkey = place.vkey;
});
afterEach(async () => {
  await stop();
  place.remove();
});
after(() => server.close());

const start = async () => {
  keyholder = await run(optionsOf(place), server.trust());
  return keyholder;
};
const stop = async () => {
  await keyholder?.stop();
  keyholder = null;
};
const want = async (wanted: number) => {
  server.wishes.wanted = wanted;
  await waitFor(`epoch ${wanted}`, () => server.wishes.wanted === null);
};
const retire = async (...retired: number[]) => {
  server.wishes.retired = retired;
  await waitFor(`${retired} destroyed`, () => (server.wishes.retired as number[]).length === 0);
};
/** Resolves when the server was asked anew and has told what it wants. */
const askedAgain = async () => {
  const { questions } = server;
  await waitFor('two more questions', () => server.questions >= questions + 2);
};
const states = () => withShares(place, (shares) => shares.states().map(({ state }) => state));

test('two epochs: given, the first one retired; the second given again after a restart', async () => {
  const first = await start();
  await want(1);
  await want(2);
  await retire(1);
  await want(2);
  await waitFor('what is said of it', () => first.events('share-given').length === 3);
  await stop();
  const [one, two, gone, again] = server.told;
  assert.deepEqual([one!.epoch, two!.epoch, gone], [1, 2, { epoch: 1, share: null }]);
  assert.match(one!.share!, /^[0-9a-f]{64}$/);
  assert.notEqual(one!.share, two!.share);
  assert.deepEqual(again, two);
  assert.deepEqual(
    first.events('share-made').map(({ epoch }) => epoch),
    [1, 2],
  );
  assert.deepEqual(
    first.events('share-given').map(({ epoch }) => epoch),
    [1, 2, 2],
  );
  const { subject, codeHash } = first.events('share-given')[0]!;
  assert.deepEqual([subject, codeHash], [SUBJECT, server.attested.tee.codeHash]);
  assert.deepEqual(
    first.events('share-destroyed').map(({ epoch }) => epoch),
    [1],
  );

  const second = await start();
  await want(2);
  await stop();
  assert.deepEqual(server.told.at(-1), two);
  const said = [...first.lines, ...second.lines].join('');
  for (const { share } of server.told)
    if (share) {
      const bytes = Buffer.from(share, 'hex');
      for (const form of ['hex', 'base64', 'base64url'] as const) assert.ok(!said.includes(bytes.toString(form)));
    }
});

test('while the gate of the server is closed: it cannot open without the share', async () => {
  await server.attested.tee.setFault('agent-down');
  const { gate, monitor, clock } = server.attested;
  await monitor.attest();
  clock.aheadMs += 3_600_000;
  assert.equal(gate.state().open, false);
  await server.attested.tee.setFault(null);
  await start();
  await want(1);
  assert.equal(gate.state().open, false);
  clock.aheadMs = 0;
  await monitor.attest();
});

for (const [what, wishes, code] of [
  ['epoch 7 out of the blue', { wanted: 7 }, 'EPOCH_UNEXPECTED'],
  ['a destroyed epoch', { wanted: 1 }, 'EPOCH_DESTROYED'],
  ['the end of the newest epoch', { retired: [2] }, 'EPOCH_NEEDED'],
  ['the end of an epoch that never was', { retired: [9] }, 'EPOCH_UNEXPECTED'],
  ['the share of another subject', { subject: 'abaton/other', wanted: 2 }, 'SUBJECT_OTHER'],
  ['the end of another subject’s epoch', { subject: 'abaton/other', retired: [2] }, 'SUBJECT_OTHER'],
] as const)
  test(`${what}: ${code}, logged once, nothing is told`, async () => {
    await withShares(place, async (shares) => {
      await shareOf(shares, 1);
      await shareOf(shares, 2);
      await shares.destroy(SUBJECT, 1);
    });
    const running = await start();
    await askedAgain();
    server.wishes = { ...server.wishes, ...(structuredClone(wishes) as object) };
    await waitFor(code, () => running.events('share-refused').length > 0);
    await askedAgain();
    assert.deepEqual(
      running.events('share-refused').map(({ level, code }) => [level, code]),
      [['error', code]],
    );
    assert.deepEqual(server.told, []);
    server.wishes = { subject: SUBJECT, wanted: 3, retired: [] };
    await waitFor('epoch 3', () => server.told.some(({ epoch }) => epoch === 3));
    await stop();
    assert.deepEqual(await states(), ['destroyed', 'held', 'held']);
  });

test('what is no answer, or too large: nothing is told, and it is asked again', async () => {
  const running = await start();
  for (const wishes of [
    { subject: SUBJECT, wanted: '1', retired: [] },
    { subject: 7, wanted: 1, retired: [] },
    { subject: SUBJECT, wanted: 1, retired: [0] },
    { subject: SUBJECT, wanted: 1, retired: Array(100_000).fill(1) },
  ]) {
    server.wishes = wishes;
    await askedAgain();
  }
  assert.deepEqual(server.told, []);
  assert.deepEqual(
    running.events('keyholder-away').map(({ code }) => code),
    ['ANSWER_INVALID'],
  );
  server.wishes = { subject: SUBJECT, wanted: null, retired: [] };
  await want(1);
  assert.equal(running.events('keyholder-heard').length, 1);
});

test('a server that pins another key: refused by it, said, and tried again', async () => {
  const right = server.vkey;
  const other = await makePlace();
  server.vkey = other.vkey;
  other.remove();
  server.wishes.wanted = 1;
  const running = await start();
  await waitFor('away', () => running.events('keyholder-away').length > 0);
  assert.deepEqual(server.told, []);
  server.vkey = right;
  await waitFor('epoch 1', () => server.wishes.wanted === null);
});

test('a crash before the server has answered: the same is told again', async () => {
  for (const act of [
    () => (server.wishes.wanted = 1),
    () => (server.wishes.wanted = 2),
    () => (server.wishes.retired = [1]),
  ]) {
    act();
    const before = server.told.length;
    server.beforeAnswer = () => {
      throw new Error('no answer');
    };
    await start();
    await waitFor('told', () => server.told.length > before);
    await stop();
    server.beforeAnswer = () => {};
    await start();
    await waitFor(
      'told again',
      () => server.wishes.wanted === null && (server.wishes.retired as number[]).length === 0,
    );
    await stop();
    assert.equal(new Set(server.told.slice(before).map(({ epoch, share }) => `${epoch} ${share}`)).size, 1);
  }
  assert.deepEqual(await states(), ['destroyed', 'held']);
});

test('a disk that fails: nothing is given', async () => {
  const running = await start();
  await askedAgain();
  rmSync(place.dir, { recursive: true });
  server.wishes.wanted = 1;
  await waitFor('failed', () => running.events('keyholder-failed').length > 0);
  assert.deepEqual([running.events('keyholder-failed')[0]!.code, server.told], ['ENOENT', []]);
  await stop();
});
