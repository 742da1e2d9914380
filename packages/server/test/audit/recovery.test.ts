/** What a start makes of a directory that a crash, a broken disk or a hand has left. */
import assert from 'node:assert/strict';
import { appendFile, copyFile, cp, mkdir, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { verifyLogProof } from '@abaton/verify';
import { appendAll, entryOf, ORIGIN, openLog, readDirectory, SEED, scratch, signersOf } from './support.ts';

/** A closed log of `size` entries, and its first WAL segment. */
async function closedLog(t: TestContext, size: number, segmentBytes?: number): Promise<string> {
  const dir = await scratch(t);
  const log = await openLog(dir, segmentBytes === undefined ? {} : { segmentBytes });
  await appendAll(log, 0, size);
  await log.close();
  return dir;
}

const segments = async (dir: string) => (await readdir(join(dir, 'wal'))).sort().map((name) => join(dir, 'wal', name));
const lastSegment = async (dir: string) => (await segments(dir)).at(-1)!;

/** The log opens, holds the first `size` entries and goes on. */
async function assertGoesOn(dir: string, size: number): Promise<void> {
  const log = await openLog(dir);
  assert.equal(log.size(), size);
  assert.equal((await log.append(entryOf(size))).index, size);
  verifyLogProof(await log.proof(size >> 1), log.vkeys());
  await log.close();
  const entries = await readDirectory(dir, log.vkeys());
  assert.ok(entries.every((entry, i) => entryOf(i).equals(entry)));
}

const assertCorrupt = (dir: string) => assert.rejects(openLog(dir), { code: 'LOG_CORRUPT' });

async function flipByte(path: string, at: number): Promise<void> {
  const bytes = await readFile(path);
  bytes[at < 0 ? bytes.length + at : at]! ^= 1;
  await writeFile(path, bytes);
}

test('a torn tail that was never acknowledged is cut, at every length', async (t) => {
  const dir = await closedLog(t, 300);
  const segment = await readFile(await lastSegment(dir));
  // The record of the next entry, as a crash may leave it: whole in another log, here in part.
  const other = await closedLog(t, 301);
  const record = (await readFile(await lastSegment(other))).subarray(segment.length);
  for (const length of [1, 4, 5, 6, 7, record.length - 1]) {
    await writeFile(await lastSegment(dir), Buffer.concat([segment, record.subarray(0, length)]));
    const log = await openLog(dir);
    assert.equal(log.size(), 300);
    await log.close();
    assert.deepEqual(await readFile(await lastSegment(dir)), segment);
  }
  await writeFile(await lastSegment(dir), Buffer.concat([segment, Buffer.alloc(4096)]));
  await assertGoesOn(dir, 300);
});

test('a whole entry behind the checkpoint is kept: a checkpoint over it may have been signed', async (t) => {
  const dir = await closedLog(t, 300);
  const old = join(await scratch(t), 'checkpoint');
  await copyFile(join(dir, 'checkpoint'), old);
  const log = await openLog(dir);
  await appendAll(log, 300, 700);
  const { checkpoint } = await log.proof(0);
  await log.close();
  await copyFile(old, join(dir, 'checkpoint'));
  const again = await openLog(dir);
  const headOf = (note: string) => note.split('\n\n')[0]; // ML-DSA signatures differ each time
  assert.equal(headOf(again.checkpoint()), headOf(checkpoint));
  await again.close();
  await assertGoesOn(dir, 700);
});

test('tiles that were never synced are made anew from the WAL', async (t) => {
  const dir = await closedLog(t, 700);
  await rm(join(dir, 'tile'), { recursive: true });
  await assertGoesOn(dir, 700);
  await truncate(join(dir, 'tile/0/000'), 100);
  await flipByte(join(dir, 'tile/entries/001'), 9);
  await assertGoesOn(dir, 701);
});

test('LOG_CORRUPT: an acknowledged entry is missing or changed', async (t) => {
  const dir = await closedLog(t, 300);
  const good = await scratch(t);
  await cp(dir, good, { recursive: true });
  const restore = () => cp(good, dir, { recursive: true, force: true });
  const damages: ((segment: string) => Promise<unknown>)[] = [
    (segment) => truncate(segment, 20),
    (segment) => truncate(segment, 0),
    async (segment) => truncate(segment, (await readFile(segment)).length - 1),
    (segment) => flipByte(segment, -1),
    (segment) => flipByte(segment, 0),
    (segment) => flipByte(segment, 14),
    (segment) => flipByte(segment, 18),
    (segment) => flipByte(segment, 200),
    (segment) => rm(segment),
    () => rm(join(dir, 'wal'), { recursive: true }),
    () => rm(join(dir, 'checkpoint')),
    () => writeFile(join(dir, 'checkpoint'), ''),
    () => flipByte(join(dir, 'checkpoint'), -5),
    () => flipByte(join(dir, 'checkpoint'), 40),
    () => appendFile(join(dir, 'checkpoint'), 'x'),
  ];
  for (const damage of damages) {
    await damage(await lastSegment(dir));
    await assertCorrupt(dir);
    await restore();
  }
  await assertGoesOn(dir, 300);
});

test('LOG_CORRUPT: entries of another log, with right checksums', async (t) => {
  const dir = await closedLog(t, 300);
  const other = await scratch(t);
  const log = await openLog(other);
  for (let i = 0; i < 300; i += 100)
    await Promise.all(Array.from({ length: 100 }, (_, k) => log.append(entryOf(i + k + 1))));
  await log.close();
  await copyFile(await lastSegment(other), await lastSegment(dir));
  await assertCorrupt(dir);
});

test('LOG_CORRUPT: the checkpoint of another key, or another log', async (t) => {
  const dir = await closedLog(t, 10);
  await assert.rejects(
    openLog(dir, {
      signers: signersOf(
        ORIGIN,
        SEED.map((b) => b ^ 1),
      ),
    }),
    { code: 'LOG_CORRUPT' },
  );
  await assert.rejects(openLog(dir, { origin: 'other.example/audit' }), { code: 'LOG_CORRUPT' });
});

test('LOG_CORRUPT: a tile under the WAL is missing or changed, or the checkpoint is older than it', async (t) => {
  const dir = await scratch(t);
  const log = await openLog(dir, { segmentBytes: 4096 });
  await appendAll(log, 0, 300);
  const old = await readFile(join(dir, 'checkpoint'));
  await appendAll(log, 300, 3000);
  await log.close();
  assert.ok(!(await segments(dir))[0]!.endsWith('/0000000000000000'), 'the first segment is gone');
  const good = await scratch(t);
  await cp(dir, good, { recursive: true });
  for (const damage of [
    () => rm(join(dir, 'tile/0/001')),
    () => truncate(join(dir, 'tile/0/001'), 8191),
    () => flipByte(join(dir, 'tile/0/001'), 77),
    () => writeFile(join(dir, 'checkpoint'), old),
    async () => rm((await segments(dir))[0]!),
  ]) {
    await damage();
    await assertCorrupt(dir);
    await cp(good, dir, { recursive: true, force: true });
  }
  await assertGoesOn(dir, 3000);
  // An entry bundle under the WAL is not read at the start: its own entries, and only they, are refused.
  await flipByte(join(dir, 'tile/entries/001'), 3);
  const again = await openLog(dir);
  await assert.rejects(again.proof(256), { code: 'LOG_CORRUPT' });
  await assert.rejects(again.entry(256), { code: 'LOG_CORRUPT' });
  assert.deepEqual(Buffer.from(await again.entry(258)), entryOf(258));
});

test('STATE_TOO_NEW: a WAL of a later version is left as it is', async (t) => {
  const dir = await closedLog(t, 10);
  const newer = Buffer.from('abaton-wal v2\nsomething else');
  await writeFile(await lastSegment(dir), newer);
  await assert.rejects(openLog(dir), { code: 'STATE_TOO_NEW' });
  assert.deepEqual(await readFile(await lastSegment(dir)), newer);
});

test('AUDIT_UNAVAILABLE: the directory cannot be read', async (t) => {
  const dir = await closedLog(t, 10);
  await rm(join(dir, 'checkpoint'));
  await mkdir(join(dir, 'checkpoint'));
  await assert.rejects(openLog(dir), { code: 'AUDIT_UNAVAILABLE' });
});
