/** Reports on a disk that belongs to somebody else: whole or absent, for their time, and never invented. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { appendFile, mkdir, readdir, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { continuityOf } from '../../src/trust/continuity.ts';
import { openReport } from '../../src/trust/report.ts';
import { openLedger, proofAt, START_MS, scratch } from './support.ts';

const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

test('what was recorded is there after a restart, in one chain', async (t) => {
  const dir = await scratch(t);
  const ledger = await openLedger(dir);
  const failed = { id: null, state: 'failed', codes: ['AGENT_UNAVAILABLE'], trust: 'none' } as const;
  for (const [i, change] of [{}, failed, {}].entries()) await ledger.record(proofAt(START_MS + i, change));
  const again = await openLedger(dir);
  assert.deepEqual(again.summaries(), ledger.summaries());
  await again.record(proofAt(START_MS + 3));
  const [first, second, third, fourth] = again.summaries();
  assert.deepEqual(
    [first, second, third, fourth].map((summary) => summary!.previous),
    [null, first!.id, second!.id, third!.id],
  );
  for (const { id, previous, state, codes } of again.summaries()) {
    const report = openReport((await again.find(id))!, [ledger.vkey]);
    assert.deepEqual([report.id, report.previous, report.state, report.codes], [id, previous, state, codes]);
  }
});

test('whole reports for a day, lines for 31', async (t) => {
  const dir = await scratch(t);
  let ms = START_MS;
  const ledger = await openLedger(dir, { nowMs: () => ms });
  for (; ms < START_MS + 33 * DAY_MS; ms += 6 * HOUR_MS) await ledger.record(proofAt(ms));
  const now = ms - 6 * HOUR_MS;
  const ages = ledger.summaries().map(({ at }) => now - Date.parse(at));
  assert.equal(Math.max(...ages), 31 * DAY_MS);
  assert.equal(ages.length, 31 * 4 + 1);
  for (const { id, at } of ledger.summaries())
    assert.equal((await ledger.find(id)) !== null, now - Date.parse(at) <= DAY_MS, at);
  assert.equal((await readdir(join(dir, 'reports'))).length, 5);
  assert.deepEqual((await readdir(join(dir, 'summaries'))).length, 32);
  ms = START_MS + 90 * DAY_MS;
  assert.deepEqual((await openLedger(dir, { nowMs: () => ms })).summaries(), []);
  assert.deepEqual(await readdir(join(dir, 'summaries')), []);
});

test('a storm of failures is bounded: the last 1000 whole reports', async (t) => {
  const dir = await scratch(t);
  const ledger = await openLedger(dir);
  const proofs = Array.from({ length: 1010 }, (_, i) => proofAt(START_MS + i));
  await Promise.all(proofs.map((proof) => ledger.record(proof)));
  assert.equal(ledger.summaries().length, 1010);
  assert.equal((await readdir(join(dir, 'reports'))).length, 1001); // the next one takes the oldest
  assert.equal(await ledger.find(proofs[0]!.id!), null);
  assert.notEqual(await ledger.find(proofs[1009]!.id!), null);
});

test('a report that is torn or changed is not served, and the operator is told', async (t) => {
  const dir = await scratch(t);
  const lines: string[] = [];
  const ledger = await openLedger(dir, {}, lines);
  const proofs = [proofAt(START_MS), proofAt(START_MS + 1)];
  for (const proof of proofs) await ledger.record(proof);
  const [id, other] = proofs.map((proof) => proof.id!) as [string, string];
  const file = join(dir, 'reports', id);
  const whole = await readFile(file, 'utf8');
  for (const torn of [0, 1, whole.indexOf('\n'), whole.length - 1]) {
    await truncate(file, torn);
    assert.equal(await ledger.find(id), null, `cut at ${torn}`);
    await writeFile(file, whole);
  }
  assert.notEqual(await ledger.find(id), null);
  await writeFile(file, whole.replace('"verified"', '"failed"'));
  assert.equal(await ledger.find(id), null);
  assert.match(lines.join(''), /attestation-report-changed.*CHECKPOINT_SIGNATURE_INVALID/);
  await writeFile(file, (await ledger.find(other))!); // genuine, and of another
  assert.equal(await ledger.find(id), null);
});

test('a line that is torn takes nothing else with it, and the next one begins on its own', async (t) => {
  const dir = await scratch(t);
  const ledger = await openLedger(dir);
  for (let i = 0; i < 3; i++) await ledger.record(proofAt(START_MS + i));
  const file = join(dir, 'summaries', '2026-11-24');
  const whole = await readFile(file);
  const lengths = new Set<number>();
  for (let length = whole.length; length >= 0; length -= 7) {
    await writeFile(file, whole.subarray(0, length));
    const cut = await openLedger(dir);
    assert.deepEqual(cut.summaries(), ledger.summaries().slice(0, cut.summaries().length));
    lengths.add(cut.summaries().length);
    await cut.record(proofAt(START_MS + 9));
    assert.equal((await openLedger(dir)).summaries().length, cut.summaries().length);
  }
  assert.deepEqual([...lengths], [3, 2, 1, 0]);
});

test('the operator can add no proof, change none, and hide none without a gap', async (t) => {
  const dir = await scratch(t);
  const ledger = await openLedger(dir);
  for (const [i, state] of (['verified', 'failed', 'verified'] as const).entries())
    await ledger.record(proofAt(START_MS + i * 5 * MINUTE_MS, { state }));
  const file = join(dir, 'summaries', '2026-11-24');
  const text = await readFile(file, 'utf8');
  const hour = { fromMs: START_MS, toMs: START_MS + HOUR_MS };
  const covered = async () => continuityOf((await openLedger(dir)).summaries(), hour, 6 * MINUTE_MS);
  const before = await covered();
  assert.equal(before, (5 + 6) / 60);

  await writeFile(file, text.replace('"failed"', '"verified"')); // changed: as if it were not there
  assert.equal(await covered(), 6 / 60);
  const lines = text.split('\n').filter(Boolean);
  await writeFile(file, `${[lines[0], lines[2]].join('\n')}\n`); // taken away
  assert.equal(await covered(), 6 / 60);
  await writeFile(file, text);
  await appendFile(file, `\n${lines[0]!.replace('08:00', '08:40')}\n`); // invented
  assert.equal(await covered(), before);
  const foreign = await openLedger(await scratch(t), { summarySeed: new Uint8Array(32).fill(1) });
  await foreign.record(proofAt(START_MS + 30 * MINUTE_MS));
  assert.equal(foreign.summaries().length, 1);
  const other = await openLedger(dir, { summarySeed: new Uint8Array(32).fill(1) });
  assert.deepEqual(other.summaries(), [], 'of another key');
});

/** What the operator may put in the place of a file. */
const NO_FILES: [string, (path: string) => Promise<unknown>][] = [
  ['a directory', (path) => mkdir(path)],
  ['a link to a device that never ends', (path) => symlink('/dev/zero', path)],
  ['a link to nothing', (path) => symlink(`${path}-elsewhere`, path)],
  ['a pipe', async (path) => execFileSync('mkfifo', [path])],
];

test('what stands in the place of a day is not read, and the day goes on without it', async (t) => {
  for (const [what, make] of NO_FILES) {
    const dir = await scratch(t);
    await (await openLedger(dir)).record(proofAt(START_MS));
    const file = join(dir, 'summaries', '2026-11-24');
    await rm(file);
    await make(file);
    const lines: string[] = [];
    const ledger = await openLedger(dir, {}, lines);
    assert.deepEqual(ledger.summaries(), [], what);
    await ledger.record(proofAt(START_MS + 1));
    assert.equal((await openLedger(dir)).summaries().length, 1, what);
    await rm(file);
    await make(file); // while the server runs
    await ledger.record(proofAt(START_MS + 2));
    assert.equal(ledger.summaries().length, 1, what);
    assert.match(lines.join(''), /attestation-report-not-kept/, what);
    assert.deepEqual(await readdir(join(dir, 'summaries')), ['2026-11-24'], 'nothing is written elsewhere');
  }
});

/** Of a terabyte of nothing. */
async function makeHuge(path: string): Promise<void> {
  await writeFile(path, '');
  await truncate(path, 2 ** 40);
}

test('what stands in the place of a report is not found', async (t) => {
  for (const [what, make] of [...NO_FILES, ['a huge file', makeHuge] as const]) {
    const dir = await scratch(t);
    const ledger = await openLedger(dir);
    const proof = proofAt(START_MS);
    await ledger.record(proof);
    const file = join(dir, 'reports', proof.id!);
    await rm(file);
    await make(file);
    assert.equal(await ledger.find(proof.id!), null, what);
  }
});

test('a day that is full takes no more, a larger one is not read, and a line that was copied counts once', async (t) => {
  const dir = await scratch(t);
  const ledger = await openLedger(dir);
  await ledger.record(proofAt(START_MS));
  const file = join(dir, 'summaries', '2026-11-24');
  const line = await readFile(file, 'utf8');
  await writeFile(file, line.repeat(3));
  assert.deepEqual((await openLedger(dir)).summaries(), ledger.summaries());
  await truncate(file, 40_000_000);
  await ledger.record(proofAt(START_MS + 1));
  assert.equal(ledger.summaries().length, 1);
  assert.deepEqual((await openLedger(dir)).summaries(), ledger.summaries(), 'full of nothing, after its line');
  await truncate(file, 40_000_001);
  assert.deepEqual((await openLedger(dir)).summaries(), []);
});

test('what the disk refuses is not listed, and the operator is told without a path', async (t) => {
  const dir = await scratch(t);
  const lines: string[] = [];
  const ledger = await openLedger(dir, {}, lines);
  const proof = proofAt(START_MS);
  await writeFile(join(dir, 'blocker'), '');
  await rm(join(dir, 'summaries'), { recursive: true });
  await symlink(join(dir, 'blocker'), join(dir, 'summaries'));
  await ledger.record(proof);
  assert.deepEqual(ledger.summaries(), []);
  assert.equal(await ledger.find(proof.id!), null);
  assert.match(lines.join(''), /attestation-report-not-kept/);
  assert.ok(!lines.join('').includes(dir));
});
