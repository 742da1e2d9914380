/** What is sent when: a service that is busy, one that fails at an upload, and a file that cannot be read. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Link, openLink } from '../src/link.ts';
import { createLogger } from '../src/log.ts';
import { type Drain, startDrain } from '../src/queue/drain.ts';
import { openQueue, type Queue } from '../src/queue/queue.ts';
import { openRefusals } from '../src/refusals.ts';
import { GUARD_MS, type Service, startService } from './harness.ts';

const PAUSE_MS = 5;

let service: Service;
let dir: string;
let queue: Queue;
let link: Link;
let drain: Drain;
/** What the service answers to an upload. */
let answerTo: (text: string) => number;
let lines: string[];
before(async () => {
  service = await startService();
  Object.defineProperty(service, 'storeStatus', { get: () => answerTo(arrived().at(-1)!) });
});
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'abaton-drain-'));
  answerTo = () => 200;
  lines = [];
  service.arrived.length = 0;
  queue = await openQueue(dir, 2 ** 20);
});
afterEach(async () => {
  link.close();
  await drain.stop();
  queue.close();
  rmSync(dir, { recursive: true });
});
after(() => service.close());

/** Lets the service take what is queued. */
async function start(): Promise<void> {
  const logger = createLogger((line) => lines.push(line));
  const refusals = await openRefusals(dir);
  link = openLink({ trust: service.trust(), intervalMs: 60_000, graceMs: 60_000, refusals, logger });
  drain = startDrain(queue, link, logger, () => PAUSE_MS);
}

async function until(wanted: () => boolean): Promise<void> {
  for (const deadline = Date.now() + GUARD_MS; !wanted(); await sleep(5))
    assert.ok(Date.now() < deadline, `not reached: ${lines.join('')}`);
}

async function* bodyOf(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text);
}
const add = (text: string): Promise<string> =>
  queue.add({ path: '/dicom-web/studies', headers: { 'content-type': 'application/dicom' } }, bodyOf(text));
const arrived = (): string[] => service.arrived.map(({ bytes }) => bytes.toString());

test('seven times 503 and then 500: the 500 is the first failure of this upload, not its eighth', async () => {
  const id = await add('one');
  const answers = [...Array(7).fill(503), 500];
  answerTo = () => answers.shift() ?? 200;
  await start();
  await until(() => queue.counts().queued === 0);
  assert.equal(arrived().length, 9);
  assert.equal((await queue.find(id))?.state, 'forwarded');
});

test('eight times 500 to one upload: it is refused, others go meanwhile, and each is counted by itself', async () => {
  const failures = new Map([
    ['bad', 8],
    ['poor', 7],
  ]);
  const ids = [await add('bad'), await add('poor'), await add('good')];
  answerTo = (text) => {
    const left = failures.get(text) ?? 0;
    failures.set(text, left - 1);
    return left > 0 ? 500 : 200;
  };
  await start();
  await until(() => queue.counts().queued === 0);
  const states = await Promise.all(ids.map((id) => queue.find(id)));
  assert.deepEqual(
    states.map((found) => found?.state),
    ['refused', 'forwarded', 'forwarded'],
  );
  assert.ok(arrived().indexOf('good') < arrived().lastIndexOf('bad'));
});

test('a file that cannot be read: the others go in their order, and it goes once it can be', async () => {
  const ids: string[] = [];
  for (const text of ['unreadable', 'a', 'b', 'c']) ids.push(await add(text));
  const name = readdirSync(join(dir, 'queue')).find((each) => each.includes(ids[0]!))!;
  const file = join(dir, 'queue', name);
  renameSync(file, join(dir, 'away'));
  mkdirSync(file); // EISDIR stands for a disk that does not give it out
  await start();
  await until(() => queue.counts().queued === 1);
  assert.deepEqual(arrived(), ['a', 'b', 'c']);
  assert.equal((await queue.find(ids[0]!))?.state, 'queued');
  const line = lines.map((each) => JSON.parse(each)).find(({ code }) => code === 'EISDIR');
  assert.match(line.at, /^packages\/gateway\/src\/queue\/sealed-file\.ts:\d+:\d+$/);
  rmSync(file, { recursive: true });
  renameSync(join(dir, 'away'), file);
  await until(() => queue.counts().queued === 0);
  assert.deepEqual(arrived(), ['a', 'b', 'c', 'unreadable']);
});
