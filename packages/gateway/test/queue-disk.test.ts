/** The queue against its disk: what is durable in which order, what fails, what a start finds, what may go by itself. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { openQueue, type Queue } from '../src/queue/queue.ts';
import { brokenDisk, type Disk, watchDisk } from './disk.ts';

const MAX_BYTES = 2 ** 20;

let dir: string;
let disk: Disk;
let queue: Queue | null = null;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'abaton-queue-'));
  disk = watchDisk();
});
afterEach(() => {
  disk.restore();
  queue?.close();
  queue = null;
  rmSync(dir, { recursive: true });
});

async function open(maxBytes = MAX_BYTES, limits?: { uploads: number; answers: number }): Promise<Queue> {
  queue?.close();
  queue = null;
  queue = await openQueue(dir, maxBytes, limits);
  return queue;
}

async function* bodyOf(bytes: number): AsyncGenerator<Uint8Array> {
  yield Buffer.alloc(bytes);
}
const add = (bytes = 3): Promise<string> => queue!.add({ path: '/dicom-web/studies', headers: {} }, bodyOf(bytes));
const settle = (id: string, state: 'forwarded' | 'refused', body = '') =>
  queue!.settle(id, { state, status: 200, contentType: null, body, at: '2026-01-01T00:00:00.000Z' });
const next = () => queue!.next(() => true);
const files = (end = '') => readdirSync(join(dir, 'queue')).filter((name) => name.endsWith(end));
const sizeOnDisk = () => files().reduce((sum, name) => sum + readFileSync(join(dir, 'queue', name)).length, 0);

test('the upload is gone for good before its answer goes: alone, it would wait again', async () => {
  await open();
  const id = await add();
  const [upload] = files('.upload');
  await settle(id, 'refused');
  disk.done = [];
  await queue!.remove(id);
  assert.deepEqual(disk.done, [`rm ${upload}`, 'sync queue', `rm ${id}.answer`, 'sync queue']);
});

test('an upload whose name could not be made durable is not acknowledged, and not there', async () => {
  await open();
  disk.before = (operation) => {
    if (operation === 'sync queue') throw brokenDisk();
  };
  await assert.rejects(add(), { code: 'EIO' });
  assert.ok(
    disk.done.some((operation) => /^rename .*upload$/.test(operation)),
    'it had its name already',
  );
  assert.deepEqual([files(), queue!.counts(), next()], [[], { queued: 0, refused: 0, bytes: 0 }, null]);
});

test('DELETE while a forwarded upload is unlinked: refused, and its bytes are counted out once', async () => {
  await open();
  const id = await add(1000);
  const reached = Promise.withResolvers<void>();
  const go = Promise.withResolvers<void>();
  disk.before = async (operation) => {
    if (!operation.startsWith('rm') || !operation.endsWith('.upload')) return;
    reached.resolve();
    await go.promise;
  };
  const settled = settle(id, 'forwarded');
  await reached.promise;
  await assert.rejects(queue!.remove(id), { code: 'NOT_SETTLED' });
  go.resolve();
  await settled;
  assert.equal(queue!.counts().bytes, sizeOnDisk());
  await queue!.remove(id);
  assert.deepEqual(queue!.counts(), { queued: 0, refused: 0, bytes: 0 });
});

test('DELETE that the disk refuses: the upload is still known, and the next DELETE ends it', async () => {
  await open();
  const id = await add();
  await settle(id, 'refused');
  disk.before = (operation) => {
    if (operation === `rm ${id}.answer`) throw brokenDisk();
  };
  await assert.rejects(queue!.remove(id), { code: 'EIO' });
  assert.equal((await queue!.find(id))?.state, 'refused');
  disk.before = () => {};
  await queue!.remove(id);
  assert.deepEqual([files(), queue!.counts()], [[], { queued: 0, refused: 0, bytes: 0 }]);
});

test('cut off between the answer and the end of a forwarded upload: a start finishes it; a refused one stays', async () => {
  await open();
  const [gone, kept] = [await add(), await add()];
  await settle(kept, 'refused');
  disk.before = (operation) => {
    if (/^rm .*upload$/.test(operation)) throw brokenDisk();
  };
  await assert.rejects(settle(gone, 'forwarded'), { code: 'EIO' });
  assert.deepEqual([files('.upload').length, files('.answer').length], [2, 2]);
  disk.before = () => {};
  await open();
  assert.deepEqual([(await queue!.find(gone))?.state, (await queue!.find(kept))?.state], ['forwarded', 'refused']);
  assert.deepEqual(queue!.counts(), { queued: 0, refused: 1, bytes: sizeOnDisk() });
  assert.equal(files('.upload').length, 1);
  await queue!.remove(gone);
  assert.equal(files('.upload').length, 1);
});

test('a clock that jumps ahead deletes nothing that was refused, also when its file is gone', async () => {
  await open();
  const [lost, refused, forwarded] = [await add(), await add(), await add()];
  rmSync(join(dir, 'queue', files(`${lost}.upload`)[0]!));
  await settle(lost, 'refused');
  await settle(refused, 'refused');
  await settle(forwarded, 'forwarded');
  for (const name of files('.answer')) utimesSync(join(dir, 'queue', name), 0, 0);
  await open();
  const states = await Promise.all([lost, refused, forwarded].map((id) => queue!.find(id)));
  assert.deepEqual(
    states.map((found) => found?.state),
    ['refused', 'refused', undefined],
  );
  assert.equal(queue!.counts().refused, 2);
});

test('answers to what was forwarded take bytes, are bounded, and make room: the oldest goes first', async () => {
  await open(MAX_BYTES, { uploads: 2, answers: 2 });
  const ids: string[] = [];
  for (let i = 0; i < 3; i++) {
    ids.push(await add());
    await settle(ids[i]!, 'forwarded', 'x'.repeat(100_000));
  }
  assert.equal(files('.answer').length, 2);
  assert.equal(await queue!.find(ids[0]!), null);
  assert.equal(queue!.counts().bytes, sizeOnDisk());
  assert.ok(queue!.counts().bytes > 200_000);

  await add(MAX_BYTES - 200_000);
  assert.equal(await queue!.find(ids[1]!), null);
  assert.equal((await queue!.find(ids[2]!))?.state, 'forwarded');
  await settle(await add(), 'refused');
  await assert.rejects(add(), { code: 'QUEUE_FULL' }, 'one waits, one is refused: two uploads');
  assert.equal(queue!.counts().bytes, sizeOnDisk());
  await open(MAX_BYTES, { uploads: 2, answers: 0 });
  assert.deepEqual([files('.answer').length, queue!.counts().queued, queue!.counts().refused], [1, 1, 1]);
});

const OTHER_KEY = `abaton-queue-key-v1 ${'5a'.repeat(32)}\n`;
const keyFile = () => join(dir, 'key');
const invalid = { code: 'QUEUE_KEY_INVALID' };

for (const kept of ['with its check', 'of before there were checks'])
  test(`another key, a directory ${kept}: the start is refused, and nothing is settled`, async () => {
    await open();
    const ids = [await add(), await add()];
    await settle(ids[0]!, 'refused');
    const key = readFileSync(keyFile(), 'utf8');
    const before = files();
    if (kept !== 'with its check') rmSync(join(dir, 'key-check'));
    writeFileSync(keyFile(), OTHER_KEY);
    for (let start = 0; start < 2; start++) await assert.rejects(open(), invalid);
    assert.deepEqual(files(), before);
    writeFileSync(keyFile(), key);
    await open();
    assert.deepEqual([next(), queue!.counts().refused], [ids[1], 1]);
    assert.ok(readdirSync(dir).includes('key-check'));
  });

test('a damaged check, and the right key: what is queued speaks for it', async () => {
  await open();
  const id = await add();
  writeFileSync(join(dir, 'key-check'), 'damaged');
  await open();
  assert.equal(next(), id);
  writeFileSync(keyFile(), OTHER_KEY);
  await assert.rejects(open(), invalid, 'the check was made anew');
});

test('a lost key, and nothing that it has sealed: another one is made', async () => {
  await open();
  rmSync(keyFile());
  await open();
  const id = await add();
  await open();
  assert.equal(next(), id);
});
