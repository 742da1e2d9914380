/** Power cuts and kills at every operation of the disk, and disks that fail: what was acknowledged is there (I3, I6). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { leafHash, rootOf, verifyCheckpoint, verifyLogProof } from '@abaton/verify';
import fc from 'fast-check';
import { openTileLog, type TileLog } from '../../src/audit/tile-log.ts';
import { FragileDisk } from './fragile-disk.ts';
import { entryOf, ORIGIN, signersOf } from './support.ts';

/** Small segments, so that a run passes through rotations. */
const open = (disk: FragileDisk) =>
  openTileLog({ dir: '', origin: ORIGIN, signers: signersOf(), segmentBytes: 3_000, disk });
const diskError = (code: string) => Object.assign(new Error(code), { code });
const leaves = Array.from({ length: 20_000 }, (_, i) => leafHash(entryOf(i)));
const roots = new Map<number, Buffer>();

/** Root of entryOf(0) … entryOf(size - 1), by the definition in RFC 6962. */
function rootAt(size: number): Buffer {
  const root = roots.get(size) ?? Buffer.from(rootOf(leaves.slice(0, size)));
  roots.set(size, root);
  return root;
}

/** Fails for good from the given operation on. */
function failFrom(disk: FragileDisk, operation: number): void {
  const last = disk.operations + operation;
  disk.failure = () => (disk.operations > last ? diskError('EIO') : null);
}

/** Appends entryOf(size), entryOf(size + 1), … until it fails or `commits` are done. Returns what was acknowledged. */
async function appendUntilFailure(log: TileLog, commits: number): Promise<number> {
  let acknowledged = log.size();
  for (let c = 0; c < commits; c++) {
    const next = acknowledged;
    const batch = Array.from({ length: 1 + ((c * 7) % 40) }, (_, i) => log.append(entryOf(next + i)));
    const results = await Promise.allSettled(batch);
    const failed = results.find((result) => result.status === 'rejected');
    if (failed) {
      assert.equal(failed.reason.code, 'AUDIT_UNAVAILABLE');
      assert.equal(log.healthy(), false);
      return acknowledged;
    }
    acknowledged += batch.length;
  }
  return acknowledged;
}

/** The log holds entryOf(0), entryOf(1), …, at least those acknowledged and all that a checkpoint was ever signed over. */
async function assertWhole(log: TileLog, disk: FragileDisk, acknowledged: number): Promise<void> {
  for (const note of new Set([...disk.notes.slice(-3), ...disk.notes.slice(0, 1), log.checkpoint()])) {
    const { size, root } = verifyCheckpoint(note, log.vkeys());
    assert.ok(size <= log.size(), `a checkpoint of ${size} was signed, ${log.size()} are there`);
    assert.ok(rootAt(size).equals(root), `the checkpoint of ${size} has another root`);
  }
  disk.notes.length = 0;
  assert.ok(log.size() >= acknowledged, `${acknowledged} were acknowledged, ${log.size()} are there`);
  if (acknowledged > 0) verifyLogProof(await log.proof(acknowledged - 1), log.vkeys());
}

const crash = fc.record({ operation: fc.nat(200), isPowerCut: fc.boolean() });

test('crash upon crash: killed or without power at any operation, also while recovering', async () => {
  const story = fc.asyncProperty(fc.array(crash, { minLength: 1, maxLength: 6 }), fc.nat(), async (crashes, seed) => {
    let state = seed;
    const coin = () => {
      // xorshift32, so that fast-check's seed repeats the whole story
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      return (state & 1) === 1;
    };
    const disk = new FragileDisk();
    let acknowledged = 0;
    for (const { operation, isPowerCut } of crashes) {
      failFrom(disk, operation);
      const log = await open(disk).catch((error) => assert.equal(error.code, 'AUDIT_UNAVAILABLE'));
      if (log) {
        await assertWhole(log, disk, acknowledged).catch((error) => {
          if (error.code !== 'AUDIT_UNAVAILABLE') throw error;
        });
        acknowledged = Math.max(acknowledged, await appendUntilFailure(log, 25));
        await log.close();
      }
      if (isPowerCut) disk.cutPower(coin);
    }
    disk.failure = () => null;
    const log = await open(disk);
    await assertWhole(log, disk, acknowledged);
    await log.close();
  });
  await fc.assert(story, { numRuns: process.env.SLOW ? 1000 : 10 });
});

test('a power cut at each operation of one run', async (t) => {
  const whole = new FragileDisk();
  const log = await open(whole);
  const total = await appendUntilFailure(log, 25);
  await log.close();
  assert.ok(total > 256 * 2 - 60);
  const step = process.env.SLOW ? 1 : 11;
  const first = Math.floor(Math.random() * step);
  t.diagnostic(`${whole.operations} operations, every ${step}th from ${first}`);
  for (let operation = first; operation < whole.operations; operation += step)
    for (const [unsyncedIsKept, restartFirst] of [
      [false, false],
      [true, false],
      [false, true],
    ] as const) {
      const disk = new FragileDisk();
      failFrom(disk, operation);
      const before = await open(disk).catch(() => null);
      let acknowledged = before ? await appendUntilFailure(before, 25) : 0;
      await before?.close();
      disk.failure = () => null;
      // The process was killed, and the power goes once its successor has signed what it found.
      if (restartFirst) {
        const successor = await open(disk);
        acknowledged = successor.size();
        await successor.close();
      }
      disk.cutPower(() => unsyncedIsKept);
      const note = (await disk.read('checkpoint'))?.toString();
      const after = await open(disk);
      const { size } = verifyCheckpoint(note ?? after.checkpoint(), after.vkeys());
      assert.ok(restartFirst || size >= acknowledged, 'the checkpoint on disk covers what was acknowledged');
      await assertWhole(after, disk, acknowledged);
      await after.close();
    }
});

for (const code of ['ENOSPC', 'EIO'])
  for (const [operation, path] of [
    ['write', 'wal/'],
    ['sync', 'wal/'],
    ['write', 'tile/'],
    ['rename', 'tile/'],
    ['write', 'checkpoint'],
    ['sync', 'checkpoint'],
    ['rename', 'checkpoint'],
    ['open', 'wal/'],
  ] as const)
    test(`${code} in ${operation} of ${path}: refused, unhealthy, and well again when the disk is`, async () => {
      const disk = new FragileDisk();
      const log = await open(disk);
      let acknowledged = await appendUntilFailure(log, 3);
      disk.failure = (o, p) => (o === operation && p.startsWith(path) ? diskError(code) : null);
      // The failing operation may come only with a full tile or a full segment.
      acknowledged = await appendUntilFailure(log, 40);
      assert.equal(log.healthy(), false, 'the fault was never met');
      const { size } = verifyCheckpoint(log.checkpoint(), log.vkeys());
      assert.equal(size, acknowledged);
      // Nothing piles up meanwhile, neither in memory nor in the WAL, even though the WAL itself may work.
      const walBytes = async () =>
        (await Promise.all((await disk.list('wal')).map((f) => disk.read(`wal/${f}`)))).map((f) => f!.length);
      const bytes = await walBytes();
      await assert.rejects(log.append(Buffer.from('not acknowledged')), { code: 'AUDIT_UNAVAILABLE' });
      if (path === 'tile/') assert.deepEqual(await walBytes(), bytes);
      verifyLogProof(await log.proof(acknowledged - 1), log.vkeys());
      disk.failure = () => null;
      const { index } = await log.append(Buffer.from('after'));
      assert.equal(log.healthy(), true);
      assert.ok(index >= acknowledged);
      assert.deepEqual(Buffer.from(await log.entry(index)).toString(), 'after');
      verifyLogProof(await log.proof(0), log.vkeys());
      await log.close();
      disk.cutPower(() => false);
      const again = await open(disk);
      assert.deepEqual(again.checkpoint(), log.checkpoint());
      await again.close();
    });

test('entries that were refused do not come back behind a shorter commit', async () => {
  const disk = new FragileDisk();
  const log = await open(disk);
  disk.failure = (operation, path) => (operation === 'sync' && path.startsWith('wal/') ? diskError('EIO') : null);
  const refused = await Promise.allSettled([1, 2, 3].map((n) => log.append(Buffer.from(`refused ${n}`))));
  assert.ok(refused.every(({ status }) => status === 'rejected'));
  disk.failure = () => null;
  await log.append(Buffer.from('accepted1'));
  await log.close();
  const again = await open(disk);
  assert.equal(again.size(), 1);
  await again.close();
});

test('after a failed fsync of tiles the WAL is kept until the next start', async () => {
  const disk = new FragileDisk();
  const log = await open(disk);
  disk.failure = (operation, path) => (operation === 'sync' && path.startsWith('tile/0/') ? diskError('EIO') : null);
  const acknowledged = await appendUntilFailure(log, 60);
  disk.failure = () => null;
  assert.ok(acknowledged > 1_000);
  await log.close();
  assert.ok((await disk.list('wal')).includes('0000000000000000'));
  disk.cutPower(() => false);
  const again = await open(disk);
  await assertWhole(again, disk, acknowledged);
  await appendUntilFailure(again, 30);
  await again.close();
  assert.ok(!(await disk.list('wal')).includes('0000000000000000'));
});

test('a log that cannot commit tries by itself, and says so', async () => {
  const disk = new FragileDisk();
  const log = await open(disk);
  disk.failure = (operation) => (operation === 'sync' ? diskError('EIO') : null);
  await assert.rejects(log.append(entryOf(0)), (error: Error & { code?: string }) => {
    assert.equal(error.code, 'AUDIT_UNAVAILABLE');
    assert.equal((error.cause as { code?: string }).code, 'EIO');
    assert.ok(!error.message.includes(entryOf(0).toString()));
    return true;
  });
  assert.equal(log.healthy(), false);
  disk.failure = () => null;
  while (!log.healthy()) await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(log.size(), 0);
  await log.close();
});

test('what waits for a hanging disk is bounded', async () => {
  const disk = new FragileDisk();
  const log = await open(disk);
  const big = Buffer.alloc(65_535, 97);
  const waiting = Array.from({ length: 1_100 }, () => log.append(big));
  const results = await Promise.allSettled(waiting);
  const refused = results.filter((result) => result.status === 'rejected');
  assert.ok(refused.length > 0 && refused.length < 200);
  assert.ok(refused.every((result) => result.reason.code === 'AUDIT_UNAVAILABLE'));
  assert.equal(log.size(), 1_100 - refused.length);
  assert.equal(log.healthy(), true);
  await log.close();
});
