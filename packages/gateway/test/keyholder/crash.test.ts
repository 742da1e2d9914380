/** A crash, kill -9 or a failing disk at every step: what was given stays the same, what was destroyed stays destroyed. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openShares } from '../../src/keyholder/shares.ts';
import { live } from './life.ts';
import { fullDisk, type Steps, watchSteps } from './steps.ts';
import { makePlace, optionsOf, type Place, withShares } from './support.ts';

/** Of the steps whose crash is followed by a second one. */
const STRIDE = process.env.SLOW ? 1 : 10;

let place: Place;
let fresh: Buffer;
let steps: Steps;
before(async () => {
  place = await makePlace();
  fresh = readFileSync(place.keyFile);
});
beforeEach(() => {
  steps = watchSteps();
});
afterEach(() => steps.restore());
after(() => place.remove());

const begin = () => {
  rmSync(place.dir, { recursive: true, force: true });
  writeFileSync(place.keyFile, fresh);
  steps.count = 0;
};

/** What was said of each epoch, in order. */
type Said = Map<number, string[]>;
const saying = (said: Said) => (epoch: number, what: string) => {
  said.set(epoch, [...(said.get(epoch) ?? []), what]);
};

/** Of an epoch: one share, over and over, and then perhaps its destruction, for good. */
function assertConsistent(said: Said, message: string): void {
  for (const all of said.values()) {
    const given = all.filter((what) => what !== 'destroyed');
    assert.ok(new Set(given).size <= 1, `${message}: two shares of one epoch`);
    const end = all.indexOf('destroyed');
    assert.ok(
      end < 0 || all.slice(end).every((what) => what === 'destroyed'),
      `${message}: given after its destruction`,
    );
  }
}

async function assertEnd(said: Said, message: string): Promise<void> {
  assertConsistent(said, message);
  await withShares(place, (shares) =>
    assert.deepEqual(
      shares.states().map(({ state }) => state),
      ['destroyed', 'destroyed', 'held'],
      message,
    ),
  );
  const left = readdirSync(place.dir).filter((name) => name !== 'lock');
  assert.deepEqual(left, ['epoch-1.destroyed', 'epoch-2.destroyed', 'epoch-3.share'], message);
  const key = readFileSync(place.keyFile, 'utf8');
  assert.deepEqual(key.match(/^generation \d+/gm), ['generation 3'], message);
  const beside = readdirSync(`${place.root}/medium`).sort();
  assert.deepEqual(beside, ['keyholder.key', 'keyholder.key.lock'], message);
}

const liveOnce = (said: Said) => withShares(place, (shares) => live(shares, saying(said)));

async function countSteps(): Promise<number> {
  begin();
  await liveOnce(new Map());
  return steps.count;
}

test('a crash before every step, and a start after it', async () => {
  const total = await countSteps();
  assert.ok(total > 60, `${total} steps`);
  for (let crash = 1; crash <= total; crash++) {
    begin();
    const said: Said = new Map();
    steps.before = (step) => {
      if (step >= crash) throw new Error('crashed'); // and nothing after it: no cleaning up
    };
    await assert.rejects(liveOnce(said), /crashed/, `step ${crash}`);
    steps.before = () => {};
    await withShares(place, (shares) => {
      const destroyed = shares.states().filter(({ state }) => state === 'destroyed').length;
      const files = readdirSync(place.dir);
      assert.equal(files.filter((name) => name.endsWith('.destroyed')).length, destroyed, `step ${crash}`);
      assert.equal(files.filter((name) => name.endsWith('.share')).length, shares.states().length - destroyed);
      assert.ok(!files.some((name) => name.endsWith('.part')));
      const generations = readFileSync(place.keyFile, 'utf8').match(/^generation/gm);
      assert.equal(generations!.length, 1, `step ${crash}: the start alone has finished it`);
    });
    await liveOnce(said);
    await assertEnd(said, `step ${crash}`);
  }
});

test('a second crash in the start after the first', async () => {
  const total = await countSteps();
  for (let crash = randomInt(1, STRIDE + 1); crash <= total; crash += STRIDE)
    for (const second of [1, 2, 3, 5, 8]) {
      begin();
      const said: Said = new Map();
      for (const limit of [crash, second]) {
        steps.count = 0;
        steps.before = (step) => {
          if (step >= limit) throw new Error('crashed');
        };
        await liveOnce(said).catch((error) => assert.match(error.message, /crashed/));
      }
      steps.before = () => {};
      await liveOnce(said);
      await assertEnd(said, `steps ${crash}, ${second}`);
    }
});

test('a full disk at every step, in a process that goes on', async () => {
  const total = await countSteps();
  for (let full = 1; full <= total; full++) {
    begin();
    const said: Said = new Map();
    let failures = 0;
    steps.before = (step) => {
      if (step === full) throw fullDisk();
    };
    const failing = (error: { code: string }) => {
      failures++;
      assert.equal(error.code, 'ENOSPC');
      return null;
    };
    const shares = (await openShares(optionsOf(place)).catch(failing)) ?? (await openShares(optionsOf(place)));
    await live(shares, saying(said)).catch(failing);
    await live(shares, saying(said));
    shares.close();
    assert.equal(failures, 1, `step ${full}`);
    await assertEnd(said, `step ${full}`);
  }
});

test('kill -9, of a process', async () => {
  const total = await countSteps();
  const child = fileURLToPath(new URL('./life-child.ts', import.meta.url));
  for (let kill = 0; kill < (process.env.SLOW ? 100 : 4); kill++) {
    begin();
    const said: Said = new Map();
    const step = randomInt(1, total + 1);
    const { signal, stdout } = spawnSync(process.execPath, [child, place.keyFile, place.dir, String(step)]);
    assert.equal(signal, 'SIGKILL', `step ${step}`);
    for (const line of stdout.toString().split('\n').slice(0, -1)) {
      const [epoch, what] = line.split(' ');
      saying(said)(Number(epoch), what!);
    }
    await liveOnce(said);
    await assertEnd(said, `step ${step}`);
  }
});
