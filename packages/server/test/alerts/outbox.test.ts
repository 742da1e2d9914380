/**
 * The outbox on a disk that belongs to somebody else: bounded, nothing but alerts, and no alert lost to a disk error.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type OutboxEntry, openOutbox } from '../../src/alerts/outbox.ts';

const NOW_MS = Date.parse('2026-11-24T08:00:00.000Z');
const NOBODY = 65_534;
const MESSAGE = { app: 'hospital-ai', kind: 'gate-closed', incidentId: null, codes: ['CODE'], at: '2026-11-24' };
const entryOf = (id: string): OutboxEntry => ({ v: 1, id, raisedMs: NOW_MS, message: MESSAGE, waiting: ['key'] });

const open = (directory: string) => openOutbox({ directory, app: 'hospital-ai', maxEntries: 10, nowMs: () => NOW_MS });
const load = async (directory: string) => (await open(directory)).load(new Set());

function scratch(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'abaton-outbox-'));
  t.after(() => rmSync(dir, { recursive: true }));
  return dir;
}

/** Root may read everything, so it becomes nobody for as long as `run` takes. */
async function withoutRights<T>(dir: string, run: () => Promise<T>): Promise<T> {
  if (process.geteuid!() !== 0) return run();
  chownSync(dir, NOBODY, NOBODY);
  process.seteuid!(NOBODY);
  try {
    return await run();
  } finally {
    process.seteuid!(0);
  }
}

test('a file that the disk does not give is left where it is, and taken up at the next start', async (t) => {
  const dir = scratch(t);
  const outbox = await open(dir);
  await outbox.save(entryOf('a'));
  await outbox.save(entryOf('b'));
  chmodSync(join(dir, 'a.json'), 0);
  chmodSync(join(dir, 'b.json'), 0o644);
  const first = await withoutRights(dir, () => load(dir));
  assert.deepEqual([first.entries.map(({ id }) => id), first.refused], [['b'], 1]);
  chmodSync(join(dir, 'a.json'), 0o600);
  const second = await load(dir);
  assert.deepEqual([second.entries.map(({ id }) => id).sort(), second.refused], [['a', 'b'], 0]);
});

test('a pipe, a device, a directory, a link, a file too large and what is no JSON are neither read nor kept', async (t) => {
  const [dir, elsewhere] = [scratch(t), scratch(t)];
  writeFileSync(join(elsewhere, 'link.json'), JSON.stringify(entryOf('link')));
  execFileSync('mkfifo', [join(dir, 'pipe.json')]);
  symlinkSync('/dev/zero', join(dir, 'device.json'));
  symlinkSync(join(elsewhere, 'link.json'), join(dir, 'link.json'));
  mkdirSync(join(dir, 'directory.json', 'deep'), { recursive: true });
  writeFileSync(join(dir, 'large.json'), JSON.stringify(entryOf('large')).padEnd(64 * 1024 + 1));
  for (const text of ['', 'null', '{"v":1,', '[]']) writeFileSync(join(dir, `text-${text.length}.json`), text);
  writeFileSync(join(dir, 'other.json'), JSON.stringify(entryOf('another')));
  writeFileSync(join(dir, 'a.json.tmp'), JSON.stringify(entryOf('a')));
  assert.deepEqual(await load(dir), { entries: [], told: new Set(), refused: 0 });
  assert.deepEqual(readdirSync(dir), []);
  assert.deepEqual(readdirSync(elsewhere), ['link.json']);
});

test('of a file only what an alert has is taken: no other members, our own name, no time to come', async (t) => {
  const dir = scratch(t);
  const message = { ...MESSAGE, app: 'another', text: 'call this number', toJSON: 'x' };
  const forged = { ...entryOf('a'), raisedMs: NOW_MS + 1e9, waiting: ['key', { a: 1 }], text: 'free', message };
  writeFileSync(join(dir, 'a.json'), JSON.stringify(forged));
  assert.deepEqual((await load(dir)).entries, [entryOf('a')]);
  const broken: object[] = [
    { raisedMs: 'x' },
    { raisedMs: null },
    { waiting: 'key' },
    { message: { ...MESSAGE, kind: 'call this number' } },
    { message: { ...MESSAGE, codes: ['free text'] } },
    { message: { ...MESSAGE, incidentId: 7 } },
    { v: 2 },
  ];
  for (const change of broken) {
    writeFileSync(join(dir, 'a.json'), JSON.stringify({ ...entryOf('a'), ...change }));
    assert.deepEqual((await load(dir)).entries, [], JSON.stringify(change));
  }
});

test('more files than are kept in memory wait for the next start', async (t) => {
  const dir = scratch(t);
  for (let i = 0; i < 25; i++) writeFileSync(join(dir, `${i}.json`), JSON.stringify(entryOf(`${i}`)));
  const outbox = await open(dir);
  const seen = new Set<string>();
  for (const count of [10, 10, 5, 0]) {
    const { entries } = await outbox.load(new Set());
    assert.equal(entries.length, count);
    assert.equal(readdirSync(dir).length, 25 - seen.size);
    for (const entry of entries) await outbox.save({ ...entry, waiting: [] });
    for (const { id } of entries) seen.add(id);
  }
  assert.equal(seen.size, 25);
});
