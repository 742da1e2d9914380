/** What every BlobStore does; run once per driver. `open` opens the same store again, as after a restart. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import type { BlobStore } from '../../packages/server/src/vault/blobs.ts';
import { collect, pieces } from '../../packages/server/test/vault/support.ts';

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

export async function listed(blobs: BlobStore): Promise<string[]> {
  const keys: string[] = [];
  for await (const key of blobs.list()) keys.push(key);
  return keys.sort();
}

export function blobStoreSuite(driver: string, setUp: (t: TestContext) => Promise<() => Promise<BlobStore>>): void {
  test(`${driver}: what was put comes back, whole and in ranges, also after a restart`, async (t) => {
    const open = await setUp(t);
    const blobs = await open();
    for (const size of [0, 1, 70_000, 1_000_000]) {
      const bytes = randomBytes(size);
      assert.deepEqual(await blobs.put(pieces(bytes)), { key: sha256(bytes), bytes: size });
      const again = await open();
      assert.ok((await collect(again.get(sha256(bytes)))).equals(bytes));
      for (const [offset, length] of [
        [0, 1],
        [17, 300_000],
        [size - 1, 1],
        [size, 5],
      ] as const)
        if (offset >= 0)
          assert.ok(
            (await collect(again.get(sha256(bytes), { offset, length }))).equals(
              bytes.subarray(offset, offset + length),
            ),
          );
    }
  });

  test(`${driver}: putting the same bytes twice keeps one blob`, async (t) => {
    const blobs = await (await setUp(t))();
    const [a, b] = await Promise.all([blobs.put(pieces(Buffer.from('x'))), blobs.put(pieces(Buffer.from('x')))]);
    assert.deepEqual(a, b);
    assert.deepEqual(await listed(blobs), [a.key]);
  });

  test(`${driver}: a source that fails leaves nothing, and its error passes`, async (t) => {
    const open = await setUp(t);
    const blobs = await open();
    async function* failing() {
      yield randomBytes(100_000);
      throw new Error('the sender is gone');
    }
    await assert.rejects(blobs.put(failing()), /the sender is gone/);
    assert.deepEqual(await listed(blobs), []);
  });

  test(`${driver}: an absent blob is STORE_UNAVAILABLE to read and nothing to delete`, async (t) => {
    const blobs = await (await setUp(t))();
    const key = sha256(Buffer.from('absent'));
    await assert.rejects(collect(blobs.get(key)), { code: 'STORE_UNAVAILABLE' });
    await blobs.delete(key);
    const put = await blobs.put(pieces(Buffer.from('x')));
    await blobs.delete(put.key);
    await assert.rejects(collect(blobs.get(put.key)), { code: 'STORE_UNAVAILABLE' });
  });

  test(`${driver}: a key that is not a digest is refused`, async (t) => {
    const blobs = await (await setUp(t))();
    for (const key of ['', '..', '../../etc/passwd', 'A'.repeat(64), `${'a'.repeat(64)}/`]) {
      await assert.rejects(collect(blobs.get(key)), { code: 'SEAL_BROKEN' });
      await assert.rejects(blobs.delete(key), { code: 'SEAL_BROKEN' });
    }
  });

  test(`${driver}: reconcile deletes what no row refers to, and nothing else`, async (t) => {
    const blobs = await (await setUp(t))();
    const keep = await blobs.put(pieces(Buffer.from('keep')));
    for (const orphan of ['a', 'b', 'c']) await blobs.put(pieces(Buffer.from(orphan)));
    assert.equal(await blobs.reconcile(async (key) => key === keep.key), 3);
    assert.deepEqual(await listed(blobs), [keep.key]);
    assert.equal(await blobs.reconcile(async (key) => key === keep.key), 0);
  });
}
