/** The log against C2SP tlog-tiles: what is on disk, what is given out, and that each proof holds for a stranger. */
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  leafHash,
  rootOf,
  TILE_WIDTH,
  tilePath,
  tileWidth,
  verifyCheckpoint,
  verifyConsistency,
  verifyLogProof,
} from '@abaton/verify';
import fc from 'fast-check';
import { appendAll, entryOf, ORIGIN, openLog, readDirectory, SEED, scratch, signersOf } from './support.ts';

const runs = { numRuns: process.env.SLOW ? 1000 : 10 };

test('10,000 entries: every tile and bundle on disk equals one derived from the entries alone', async (t) => {
  const dir = await scratch(t);
  const log = await openLog(dir, { segmentBytes: 32_768 });
  await appendAll(log, 0, 10_000, 311);
  const proofs = await Promise.all([0, 255, 256, 5_000, 9_999].map((i) => log.proof(i)));
  for (const proof of proofs) assert.equal(verifyLogProof(proof, log.vkeys()).size, 10_000);
  const checkpoint = log.checkpoint();
  await log.close();

  const files = (await readdir(dir, { recursive: true, withFileTypes: true }))
    .filter((f) => f.isFile())
    .map((f) => join(f.parentPath, f.name).slice(dir.length + 1))
    .filter((path) => !path.startsWith('wal/'));
  const expected = new Map<string, Uint8Array>([['checkpoint', Buffer.from(checkpoint)]]);
  const leaves = Array.from({ length: 10_000 }, (_, i) => leafHash(entryOf(i)));
  for (let level = 0, hashes = leaves; hashes.length > 0; level++) {
    for (let n = 0; n * TILE_WIDTH < hashes.length; n++) {
      const width = tileWidth(level, n, 10_000);
      expected.set(tilePath({ level, n, width }), Buffer.concat(hashes.slice(n * TILE_WIDTH, n * TILE_WIDTH + width)));
    }
    const full = Math.floor(hashes.length / TILE_WIDTH);
    hashes = Array.from({ length: full }, (_, n) => rootOf(hashes.slice(n * TILE_WIDTH, (n + 1) * TILE_WIDTH)));
  }
  for (let n = 0; n * TILE_WIDTH < 10_000; n++) {
    const width = tileWidth('entries', n, 10_000);
    const records = Array.from({ length: width }, (_, i) => [0, entryOf(0).length, ...entryOf(n * TILE_WIDTH + i)]);
    expected.set(tilePath({ level: 'entries', n, width }), Uint8Array.from(records.flat()));
  }
  assert.deepEqual(files.filter((file) => file !== 'vkeys').sort(), [...expected.keys()].sort());
  for (const [path, bytes] of expected) assert.ok(Buffer.from(bytes).equals(await readFile(join(dir, path))), path);
  assert.deepEqual(verifyCheckpoint(checkpoint, log.vkeys()).root, rootOf(leaves));
  // Old segments are gone: the WAL does not grow with the log.
  assert.ok((await readdir(join(dir, 'wal'))).length <= 4);

  const again = await openLog(dir);
  assert.equal(again.checkpoint(), checkpoint);
  assert.deepEqual(await again.proof(5_000), proofs[3]);
});

test('every append is under a checkpoint of its own tree when it is acknowledged', async (t) => {
  const dir = await scratch(t);
  const log = await openLog(dir);
  assert.deepEqual(verifyCheckpoint(log.checkpoint(), log.vkeys()).size, 0);
  const roots: Uint8Array[] = [];
  for (let i = 0; i < 70; i++) {
    assert.equal((await log.append(entryOf(i))).index, i);
    const onDisk = await readFile(join(dir, 'checkpoint'), 'utf8');
    assert.equal(onDisk, log.checkpoint());
    const { origin, size, root } = verifyCheckpoint(onDisk, log.vkeys());
    assert.deepEqual([origin, size], [ORIGIN, i + 1]);
    roots.push(root);
  }
  for (const [i, root] of roots.entries()) {
    const { hashes } = await log.consistencyProof(i + 1);
    verifyConsistency(
      i + 1,
      70,
      root,
      roots[69]!,
      hashes.map((h) => Buffer.from(h, 'base64')),
    );
  }
  await assert.rejects(log.consistencyProof(71), { code: 'NOT_FOUND' });
});

test('readTile gives the hashes of the committed tree and nothing else', async (t) => {
  const log = await openLog(await scratch(t));
  await appendAll(log, 0, 600);
  assert.equal(Buffer.from((await log.readPublic('checkpoint'))!).toString(), log.checkpoint());
  const leaves = Array.from({ length: 600 }, (_, i) => leafHash(entryOf(i)));
  for (const [path, from, to] of [
    ['tile/0/000', 0, 256],
    ['tile/0/001.p/7', 256, 263],
    ['tile/0/002.p/88', 512, 600],
    ['tile/0/002.p/1', 512, 513],
  ] as const)
    assert.deepEqual(Buffer.from((await log.readPublic(path))!), Buffer.concat(leaves.slice(from, to)), path);
  const roots = [rootOf(leaves.slice(0, 256)), rootOf(leaves.slice(256, 512))];
  assert.deepEqual(Buffer.from((await log.readPublic('tile/1/000.p/2'))!), Buffer.concat(roots));
  for (const path of [
    'tile/0/002',
    'tile/0/002.p/89',
    'tile/0/003.p/1',
    'tile/1/000',
    'tile/1/000.p/3',
    'tile/2/000.p/1',
    'tile/entries/000',
    'tile/entries/002.p/88',
    'wal/0000000000000000',
    '../checkpoint',
    'tile/0/../../checkpoint',
    '',
  ])
    assert.equal(await log.readPublic(path), null, path);
});

test('entries of any bytes and sizes come back, and their proofs hold', async (t) => {
  const log = await openLog(await scratch(t));
  const sizes = fc.oneof(fc.integer({ min: 1, max: 40 }), fc.constantFrom(1, 255, 65_534, 65_535));
  await fc.assert(
    fc.asyncProperty(fc.array(sizes, { minLength: 1, maxLength: 5 }), fc.nat(255), async (lengths, byte) => {
      const entries = lengths.map((length) => Buffer.alloc(length, byte));
      const indexes = await Promise.all(entries.map((entry) => log.append(entry)));
      for (const [i, { index }] of indexes.entries()) assert.ok(entries[i]!.equals(await log.entry(index)));
    }),
    runs,
  );
  for (const length of [0, 65_536]) await assert.rejects(log.append(new Uint8Array(length)), { code: 'TOO_LARGE' });
  for (const index of [-1, 0.5, log.size()]) await assert.rejects(log.proof(index), { code: 'LOG_CORRUPT' });
  await log.close();
  await assert.rejects(log.append(entryOf(0)), { code: 'AUDIT_UNAVAILABLE' });
});

test('a proof of one log says nothing about another', async (t) => {
  const [ours, theirs, impostor] = await Promise.all([
    openLog(await scratch(t)),
    openLog(await scratch(t), { origin: 'other.example/audit' }),
    openLog(await scratch(t), {
      signers: signersOf(
        ORIGIN,
        SEED.map((b) => b ^ 1),
      ),
    }),
  ]);
  for (const log of [ours, theirs, impostor]) await appendAll(log, 0, 5);
  const proof = await ours.proof(3);
  verifyLogProof(proof, ours.vkeys());
  assert.throws(() => verifyLogProof(proof, theirs.vkeys()), { code: 'CHECKPOINT_UNSIGNED' });
  assert.throws(() => verifyLogProof(proof, impostor.vkeys()), { code: 'CHECKPOINT_UNSIGNED' });
  assert.throws(() => verifyLogProof({ ...proof, entry: entryOf(4).toString() }, ours.vkeys()), {
    code: 'INCLUSION_INVALID',
  });
  assert.throws(() => verifyLogProof({ ...proof, checkpoint: `${proof.checkpoint}x` }, ours.vkeys()), {
    code: 'CHECKPOINT_MALFORMED',
  });
  assert.throws(() => signersOf(ORIGIN, new Uint8Array(31)), RangeError);
  await assert.rejects(openLog(await scratch(t), { origin: 'with space' }), { code: 'VKEY_INVALID' });
});

test('callers that wait together share commits, and keep their order', async (t) => {
  const dir = await scratch(t);
  const log = await openLog(dir);
  const answers = await Promise.all(Array.from({ length: 1_000 }, (_, i) => log.append(entryOf(i))));
  assert.deepEqual(
    answers.map(({ index }) => index),
    Array.from({ length: 1_000 }, (_, i) => i),
  );
  await log.close();
  const entries = await readDirectory(dir, log.vkeys());
  assert.ok(entries.every((entry, i) => entryOf(i).equals(entry)));
});
