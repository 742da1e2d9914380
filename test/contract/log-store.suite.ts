/** What the audit log does wherever it lies; run once per store. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { leafHash, parseBundle, rootOf, TILE_WIDTH, tilePath, tileWidth, verifyCheckpoint } from '@abaton/verify';
import type { LogStore } from '../../packages/server/src/audit/log-store.ts';
import { openTileLog, type TileLog } from '../../packages/server/src/audit/tile-log.ts';
import { appendAll, entryOf, ORIGIN, signersOf } from '../../packages/server/test/audit/support.ts';

export const openLogOf = (store: LogStore): Promise<TileLog> =>
  openTileLog({ dir: '', origin: ORIGIN, signers: signersOf(), segmentBytes: 3000, store });

/** Reads the store of a closed log as a stranger would: checkpoint, then bundles, whose leaves must lead to its root. */
async function readAsStranger(store: LogStore, vkeys: readonly string[]): Promise<string[]> {
  const { size, root } = verifyCheckpoint(String(await store.read('checkpoint')), vkeys);
  const entries: Uint8Array[] = [];
  for (let n = 0; n * TILE_WIDTH < size; n++) {
    const bundle = await store.read(tilePath({ level: 'entries', n, width: tileWidth('entries', n, size) }));
    entries.push(...(parseBundle(bundle!) ?? assert.fail(`bundle ${n}`)));
  }
  assert.deepEqual(rootOf(entries.map(leafHash)), root);
  return entries.map((entry) => Buffer.from(entry).toString());
}

/** `open` opens the same store again, as after a restart. */
export function logStoreSuite(name: string, setUp: (t: TestContext) => Promise<() => Promise<LogStore>>): void {
  test(`${name}: an empty log opens again, and what was appended is there, proven, for a stranger too`, async (t) => {
    const open = await setUp(t);
    await (await openLogOf(await open())).close();
    const counts = [1, 255, 256, 300, 700];
    let size = 0;
    for (const next of counts) {
      const log = await openLogOf(await open());
      assert.equal(log.size(), size);
      await appendAll(log, size, next);
      size = next;
      assert.equal(log.size(), size);
      assert.deepEqual(Buffer.from(await log.entry(size - 1)), entryOf(size - 1));
      assert.equal((await log.proof(0)).entry, entryOf(0).toString());
      await log.close();
      const entries = await readAsStranger(await open(), log.vkeys());
      assert.deepEqual(
        entries,
        Array.from({ length: size }, (_, i) => entryOf(i).toString()),
      );
    }
  });

  test(`${name}: the write-ahead log is let go of when full tiles stand for it`, async (t) => {
    const open = await setUp(t);
    const log = await openLogOf(await open());
    await appendAll(log, 0, 1500, 50);
    await log.close();
    const first = Math.min(...(await (await open()).list('wal')).map(Number));
    assert.ok(first >= 512, `the first entry that is kept is ${first}`);
    const again = await openLogOf(await open());
    t.after(() => again.close());
    assert.equal(again.size(), 1500);
    assert.deepEqual(Buffer.from(await again.entry(3)), entryOf(3));
  });

  test(`${name}: a write-ahead log that lost its end, or its beginning, is LOG_CORRUPT`, async (t) => {
    const open = await setUp(t);
    const store = await open();
    const log = await openLogOf(store);
    await appendAll(log, 0, 600, 20);
    await log.close();
    const names = (await store.list('wal')).filter((file) => /^\d{16}$/.test(file)).sort();
    assert.ok(names.length > 2);
    const last = `wal/${names.at(-1)}`;
    const kept = (await store.read(last))!;
    await store.remove(last);
    await assert.rejects(openLogOf(await open()), { code: 'LOG_CORRUPT' });
    kept[kept.length - 1]! ^= 1;
    await store.put(last, kept);
    await assert.rejects(openLogOf(await open()), { code: 'LOG_CORRUPT' });
    kept[kept.length - 1]! ^= 1;
    await store.put(last, kept);
    await (await openLogOf(await open())).close();
    await store.remove(`wal/${names[1]}`);
    await assert.rejects(openLogOf(await open()), { code: 'LOG_CORRUPT' });
  });

  test(`${name}: a checkpoint that is gone while entries are there is LOG_CORRUPT`, async (t) => {
    const open = await setUp(t);
    const log = await openLogOf(await open());
    await appendAll(log, 0, 600);
    await log.close();
    await (await open()).remove('checkpoint');
    await assert.rejects(openLogOf(await open()), { code: 'LOG_CORRUPT' });
  });
}
