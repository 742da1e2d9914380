/** `verifyLog`, the stranger's check of a whole log: every file of a log that Abaton wrote is changed, cut, moved or taken. */
import assert from 'node:assert/strict';
import { cp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { openLogDirectory } from '@abaton/client';
import { type VerifyLogInput, verifyLog } from '@abaton/verify';
import { appendAll, ORIGIN, openLog, scratch } from './support.ts';

const SIZE = 66_000; // tiles of three levels, and a partial one at each

async function writeLog(t: TestContext, size: number): Promise<{ dir: string; vkeys: string[]; older: string }> {
  const dir = join(await scratch(t), 'log');
  const log = await openLog(dir);
  await appendAll(log, 0, 300);
  const older = log.checkpoint();
  await appendAll(log, 300, size, 512);
  const vkeys = log.vkeys();
  await log.close();
  const again = await openLog(dir); // what was not on disk yet is written at the start
  await again.close();
  return { dir, vkeys, older };
}

const verify = (dir: string, vkeys: string[], more: Partial<VerifyLogInput> = {}) =>
  verifyLog({ read: openLogDirectory(dir), vkeys, entries: 'required', ...more });

test('a log of three levels holds, and continues an older checkpoint', async (t) => {
  const { dir, vkeys, older } = await writeLog(t, SIZE);
  const seen: number[] = [];
  const found = await verify(dir, vkeys, { from: older, onProgress: (done) => seen.push(done) });
  assert.deepEqual(
    [found.origin, found.size, found.entries, found.continues, [...new Set(found.signedBy)]],
    [ORIGIN, SIZE, 'verified', 300, [ORIGIN]],
  );
  assert.equal(seen.at(-1), SIZE);
  await rm(join(dir, 'tile/entries'), { recursive: true });
  assert.equal((await verify(dir, vkeys, { entries: 'optional' })).entries, 'not-public');
  await assert.rejects(verify(dir, vkeys), { code: 'TILES_INVALID' });
});

test('every file of it matters: flipped, cut, taken away, or in the place of another', async (t) => {
  const { dir, vkeys } = await writeLog(t, 700);
  const files = (await readdir(join(dir, 'tile'), { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name).slice(dir.length + 1));
  assert.ok(files.length >= 7, String(files));
  for (const [i, file] of files.entries()) {
    const bytes = await readFile(join(dir, file));
    for (const changed of [Buffer.from(bytes).fill(bytes[40]! ^ 1, 40, 41), bytes.subarray(0, -1), null]) {
      if (changed) await writeFile(join(dir, file), changed);
      else await rm(join(dir, file));
      await assert.rejects(verify(dir, vkeys), { code: 'TILES_INVALID' }, file);
      await writeFile(join(dir, file), bytes);
    }
    const other = await readFile(join(dir, files[(i + 1) % files.length]!));
    await writeFile(join(dir, file), other);
    await assert.rejects(verify(dir, vkeys), { code: 'TILES_INVALID' }, file);
    await writeFile(join(dir, file), bytes);
  }
  await verify(dir, vkeys);
});

test('rolled back, forked, of another key, of another log, or without a checkpoint', async (t) => {
  const { dir, vkeys } = await writeLog(t, 700);
  const head = await readFile(join(dir, 'checkpoint'), 'utf8');
  const rolled = await writeLog(t, 400);
  await verify(rolled.dir, vkeys);
  await assert.rejects(verify(rolled.dir, vkeys, { from: head }), { code: 'CONSISTENCY_INVALID' });
  const forked = join(await scratch(t), 'forked');
  const log = await openLog(forked);
  await appendAll(log, 1, 800);
  await log.close();
  await (await openLog(forked)).close();
  await verify(forked, vkeys);
  await assert.rejects(verify(forked, vkeys, { from: head }), { code: 'CONSISTENCY_INVALID' });
  const stranger = `${ORIGIN}+${vkeys[0]!.split('+')[1]!.replace(/./, (c) => (c === '0' ? '1' : '0'))}+${vkeys[0]!.split('+')[2]}`;
  await assert.rejects(verify(dir, [stranger]), { code: 'VKEY_INVALID' });
  await assert.rejects(verify(dir, vkeys, { origin: 'another.example/log' }), { code: 'CHECKPOINT_UNSIGNED' });
  const copy = join(await scratch(t), 'copy');
  await cp(dir, copy, { recursive: true });
  await rename(join(copy, 'checkpoint'), join(copy, 'checkpoint.away'));
  await assert.rejects(verify(copy, vkeys), { code: 'TILES_INVALID' });
});

test('an empty log holds', async (t) => {
  const dir = join(await scratch(t), 'log');
  const log = await openLog(dir);
  const vkeys = log.vkeys();
  await log.close();
  assert.equal((await verify(dir, vkeys)).size, 0);
});
