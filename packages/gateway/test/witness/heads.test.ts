/** What a witness remembers: over restarts, kill -9, full disks, damage; and when it refuses to start. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseVkey, verifyNote } from '@abaton/verify';
import { originHash } from '../../src/witness/heads.ts';
import { makeWitnessKey, readWitnessKey } from '../../src/witness/key-file.ts';
import { trustLogs } from '../../src/witness/trusted-logs.ts';
import { watchDisk } from '../disk.ts';
import { cosignedAt, LetterLog, NAME, newWitness, ORIGIN, openIn, scratchDir, signed, signersOf } from './support.ts';

const LOG = new LetterLog('abcdefghijklmnopqrstu');

test('what was cosigned is there after a restart, with the signatures of the log and of the witness', async (t) => {
  const dir = scratchDir(t);
  const first = await openIn(t, dir, { isNew: true });
  const note = LOG.note(10);
  const { body } = await first.witness.addCheckpoint(`old 0\n\n${note}`);
  await first.witness.close();
  const { witness } = await openIn(t, dir);
  const head = witness.head(ORIGIN)!;
  assert.ok(head.note === `${note}${body}`);
  assert.equal(
    verifyNote(head.note, [...witness.vkeys, ...signersOf().map(({ vkey }) => vkey)].map(parseVkey)).signedBy.length,
    4,
  );
  assert.equal((await witness.addCheckpoint(LOG.request(0, 12))).body, '10\n');
  assert.equal((await witness.addCheckpoint(LOG.request(10, 12))).status, 200);
});

test('after a restart with a clock set back, time goes on from what was signed', async (t) => {
  const dir = scratchDir(t);
  const first = await openIn(t, dir, { isNew: true, nowMs: () => 1_800_000_000_000 });
  await first.witness.addCheckpoint(LOG.request(0, 10));
  await first.witness.close();
  const { witness } = await openIn(t, dir, { nowMs: () => 1_700_000_000_000 });
  const { body } = await witness.addCheckpoint(LOG.request(10, 12));
  assert.deepEqual(cosignedAt(LOG.text(12), body, witness), [1_800_000_000, 1_800_000_000]);
});

test('the answer comes after the directory is synced', async (t) => {
  const { witness } = await newWitness(t);
  const disk = watchDisk();
  t.after(() => disk.restore());
  await witness.addCheckpoint(LOG.request(0, 10));
  const head = [`rename ${originHash(ORIGIN)}`, 'sync heads'];
  assert.deepEqual(
    disk.done.filter((done) => !done.startsWith('rm')),
    [...head, 'rename witness', 'sync state'],
  );
  disk.done = [];
  await witness.addCheckpoint(LOG.request(10, 12));
  assert.deepEqual(
    disk.done.filter((done) => !done.startsWith('rm')),
    head,
  );
});

for (const operation of [`rename ${originHash(ORIGIN)}`, 'sync heads'])
  test(`a disk that is full at "${operation}": 503, nothing is cosigned, and what was held counts`, async (t) => {
    const { witness, lines } = await newWitness(t);
    await witness.addCheckpoint(LOG.request(0, 10));
    const disk = watchDisk();
    t.after(() => disk.restore());
    disk.before = (asked) => {
      if (asked === operation) throw Object.assign(new Error('full'), { code: 'ENOSPC', errno: -28, syscall: 'fsync' });
    };
    const { status, body } = await witness.addCheckpoint(LOG.request(10, 12));
    assert.equal(status, 503);
    assert.doesNotMatch(body, /\u2014/);
    assert.equal(witness.head(ORIGIN)?.size, 10);
    assert.ok(lines.some((line) => line.includes('store-unavailable')));
    disk.before = () => {};
    assert.equal((await witness.addCheckpoint(LOG.request(10, 12))).status, 200, 'once there is room');
  });

test('kill -9 between the store and the answer: the old size gets 409, the new size a fresh cosignature', async (t) => {
  const dir = scratchDir(t);
  const { witness } = await openIn(t, dir, { isNew: true });
  await witness.addCheckpoint(LOG.request(0, 10));
  await witness.close();
  const child = spawn(process.execPath, [join(import.meta.dirname, 'witness-child.ts'), dir], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  t.after(() => child.kill('SIGKILL'));
  child.stdin.end(LOG.request(10, 12));
  const [chunk] = await once(child.stdout, 'data'); // it is stored, and nothing is answered
  assert.equal(String(chunk), 'stored\n');
  child.kill('SIGKILL');
  await once(child, 'exit');
  const again = await openIn(t, dir);
  const late = await again.witness.addCheckpoint(LOG.request(10, 12));
  assert.deepEqual([late.status, late.body], [409, '12\n']);
  const { status, body } = await again.witness.addCheckpoint(LOG.request(12, 12));
  assert.equal(status, 200);
  cosignedAt(LOG.text(12), body, again.witness);
});

test('a .part that a crash has left is not what was cosigned', async (t) => {
  const dir = scratchDir(t);
  const first = await openIn(t, dir, { isNew: true });
  await first.witness.addCheckpoint(LOG.request(0, 10));
  await first.witness.close();
  writeFileSync(join(dir, 'state', 'heads', `${originHash(ORIGIN)}.part`), LOG.note(20));
  const { witness } = await openIn(t, dir);
  assert.equal(witness.head(ORIGIN)?.size, 10);
  assert.deepEqual(readdirSync(join(dir, 'state', 'heads')), [originHash(ORIGIN)]);
});

test('a state that is damaged, missing, moved or of others is a refusal to start', async (t) => {
  const dir = scratchDir(t);
  const first = await openIn(t, dir, { isNew: true });
  await first.witness.addCheckpoint(LOG.request(0, 10));
  await first.witness.close();
  const name = originHash(ORIGIN);
  const good = readFileSync(join(dir, 'state', 'heads', name), 'utf8');
  const lines = good.trimEnd().split('\n');
  const without = (pattern: RegExp) => `${lines.filter((line) => !pattern.test(line)).join('\n')}\n`;
  const changes: [string, (state: string) => void][] = [
    ['flipped', (state) => writeFileSync(join(state, 'heads', name), good.replace('\n10\n', '\n11\n'))],
    ['cut', (state) => writeFileSync(join(state, 'heads', name), good.slice(0, -40))],
    ['empty', (state) => writeFileSync(join(state, 'heads', name), '')],
    ['without our signatures', (state) => writeFileSync(join(state, 'heads', name), LOG.note(10))],
    ['without one of ours', (state) => writeFileSync(join(state, 'heads', name), without(/witness .{200}/))],
    ['under another name', (state) => renameSync(join(state, 'heads', name), join(state, 'heads', originHash('else')))],
    ['a file of another kind', (state) => writeFileSync(join(state, 'heads', 'notes.txt'), 'x')],
    ['a directory', (state) => mkdirSync(join(state, 'heads', originHash('x')))],
    ['gone', (state) => rmSync(join(state, 'heads', name))],
    ['all gone', (state) => rmSync(join(state, 'heads'), { recursive: true })],
    [
      'a damaged list',
      (state) => writeFileSync(join(state, 'witness'), readFileSync(join(state, 'witness')).subarray(0, -2)),
    ],
    ['no identity', (state) => rmSync(join(state, 'witness'))],
    ['wholly empty', (state) => rmSync(state, { recursive: true })],
  ];
  for (const [what, change] of changes) {
    const copy = scratchDir(t);
    cpSync(dir, copy, { recursive: true });
    change(join(copy, 'state'));
    const code = what === 'a directory' ? 'EISDIR' : 'WITNESS_STATE_INVALID';
    await assert.rejects(openIn(t, copy), { code }, what);
  }
  const { witness } = await openIn(t, dir);
  assert.equal(witness.head(ORIGIN)?.size, 10, 'as it was: it starts');
});

test('--new is for the first time alone', async (t) => {
  const dir = scratchDir(t);
  await makeWitnessKey(join(dir, 'key'), NAME);
  await assert.rejects(openIn(t, dir), { code: 'WITNESS_STATE_INVALID' });
  const other = scratchDir(t);
  const first = await openIn(t, other, { isNew: true });
  await first.witness.addCheckpoint(LOG.request(0, 10));
  await first.witness.close();
  const signers = await readWitnessKey(join(other, 'key'));
  await assert.rejects(openIn(t, scratchDir(t), { signers, isNew: true, dir: join(other, 'state') }), {
    code: 'WITNESS_STATE_INVALID',
  });
  await openIn(t, other);
});

test('a witness that has begun and never cosigned starts with --new and without', async (t) => {
  const dir = scratchDir(t);
  await (await openIn(t, dir, { isNew: true })).witness.close();
  await (await openIn(t, dir)).witness.close();
  await openIn(t, scratchDir(t), {
    signers: await readWitnessKey(join(dir, 'key')),
    isNew: true,
    dir: join(dir, 'state'),
  });
});

test('the key of another witness is refused, and nothing is touched', async (t) => {
  const dir = scratchDir(t);
  const first = await openIn(t, dir, { isNew: true });
  await first.witness.addCheckpoint(LOG.request(0, 10));
  await first.witness.close();
  const note = readFileSync(join(dir, 'state', 'heads', originHash(ORIGIN)));
  copyFileSync(join(dir, 'key'), join(dir, 'key.kept'));
  rmSync(join(dir, 'key'));
  await makeWitnessKey(join(dir, 'key'), NAME);
  await assert.rejects(openIn(t, dir), { code: 'WITNESS_KEY_INVALID' });
  assert.deepEqual(readFileSync(join(dir, 'state', 'heads', originHash(ORIGIN))), note);
});

test('two witnesses on one directory: the second is refused, and may start once the first has ended', async (t) => {
  const dir = scratchDir(t);
  const { witness } = await openIn(t, dir, { isNew: true });
  await assert.rejects(openIn(t, dir), { code: 'WITNESS_IN_USE' });
  await witness.close();
  await openIn(t, dir);
});

test('the key file: mode 600, never over an existing one, refused when damaged or exposed', async (t) => {
  const file = join(scratchDir(t), 'deep', 'key');
  const vkeys = await makeWitnessKey(file, NAME);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.deepEqual(
    (await readWitnessKey(file)).map(({ vkey }) => vkey),
    vkeys,
  );
  const text = readFileSync(file, 'utf8');
  await assert.rejects(makeWitnessKey(file, NAME), { code: 'WITNESS_KEY_INVALID' });
  assert.equal(readFileSync(file, 'utf8'), text);
  await assert.rejects(makeWitnessKey(`${file}2`, 'two words'), { code: 'VKEY_INVALID' });
  await assert.rejects(makeWitnessKey(`${file}2`, 'x'.repeat(256)), { code: 'WITNESS_KEY_INVALID' });
  await assert.rejects(readWitnessKey(`${file}2`), { code: 'WITNESS_KEY_INVALID' });
  await assert.rejects(readWitnessKey(join(file, '..')), { code: 'WITNESS_KEY_INVALID' });
  for (const damaged of [text.slice(0, -2), text.replace('v1', 'v2'), `${text}\n`, text.toUpperCase(), '']) {
    writeFileSync(file, damaged);
    await assert.rejects(readWitnessKey(file), { code: 'WITNESS_KEY_INVALID' });
  }
  writeFileSync(file, text);
  chmodSync(file, 0o640);
  await assert.rejects(readWitnessKey(file), { code: 'WITNESS_KEY_INVALID' });
});

test('a log with as many signatures as are read is readable at the next start; with more it is refused', async (t) => {
  const many = Array.from({ length: 99 }, (_, i) => signersOf(ORIGIN, i + 1)[0]!);
  const logs = trustLogs(many.map(({ vkey }) => vkey));
  const dir = scratchDir(t);
  const first = await openIn(t, dir, { isNew: true, logs: () => logs });
  const ask = (count: number) => first.witness.addCheckpoint(`old 0\n\n${signed(LOG.text(5), many.slice(0, count))}`);
  assert.equal((await ask(99)).status, 400);
  assert.equal((await ask(98)).status, 200);
  await first.witness.close();
  const { witness } = await openIn(t, dir);
  assert.equal(witness.head(ORIGIN)?.size, 5);
});

test('logs of several origins are remembered apart', async (t) => {
  const dir = scratchDir(t);
  const origins = ['a.example', 'b.example'];
  const logs = trustLogs(origins.flatMap((origin) => signersOf(origin).map(({ vkey }) => vkey)));
  const { witness } = await openIn(t, dir, { isNew: true, logs: () => logs });
  for (const [i, origin] of origins.entries())
    assert.equal(
      (await witness.addCheckpoint(`old 0\n\n${signed(LOG.text(i + 3, origin), signersOf(origin))}`)).status,
      200,
    );
  assert.deepEqual(
    origins.map((origin) => witness.head(origin)?.size),
    [3, 4],
  );
  assert.deepEqual(witness.origins().sort(), origins);
  assert.equal(witness.headByHash(originHash('a.example'))?.size, 3);
  assert.equal(witness.headByHash(originHash('c.example')), null);
});
