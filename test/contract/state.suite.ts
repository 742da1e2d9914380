/** What the state as a whole does, whatever it is stored in: archive, jobs and results, over a restart. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { StateOptions } from '../../packages/server/src/open-state.ts';
import { newInstance } from '../../packages/server/test/archive-fixture.ts';
import { contentOf, studyUid, work } from '../../packages/server/test/vault/crash-child.ts';
import { collect, pieces, testState } from '../../packages/server/test/vault/support.ts';

const STUDIES = 3;

/** `stores`: where one state lies, new for each test. */
export function stateSuite(name: string, setUp: (t: TestContext) => Promise<Partial<StateOptions>>): void {
  test(`${name}: studies are added, analysed and read again, also after a restart and a change of epoch`, async (t) => {
    const stores = await setUp(t);
    const first = await testState(t, stores);
    const acknowledged: string[] = [];
    await work(first, STUDIES, (line) => acknowledged.push(line));
    assert.equal(acknowledged.length, 2 * STUDIES);
    const orphan = await first.blobs.put(pieces(Buffer.from('no row came to need it')));
    await first.close();

    const { archive, vault, blobs, queue } = await testState(t, stores);
    for (let i = 0; i < STUDIES; i++) {
      const study = archive.studyRef(studyUid(i));
      assert.equal(await archive.studyState(study), 'complete');
      const { instances } = await archive.inputOf(study);
      assert.equal(instances.length, 1, 'a conflict was not taken');
      const { patient, object } = instances[0]!;
      assert.ok((await collect(vault.openObject(patient, object))).equals(contentOf(i)));
      const range = { offset: 70_000, length: 10 };
      assert.deepEqual(
        await collect(vault.openObject(patient, object, range)),
        contentOf(i).subarray(range.offset, range.offset + range.length),
      );
      assert.equal((await archive.results(study)).length, 1);
    }
    assert.deepEqual(await queue.counts(), { ready: 0, running: 0, dead: 0 });
    const kept: string[] = [];
    for await (const key of blobs.list()) kept.push(key);
    assert.equal(kept.length, 2 * STUDIES, 'an instance and a report each');
    assert.ok(!kept.includes(orphan.key));
  });

  test(`${name}: a study is committed once, and a lost lease commits nothing`, async (t) => {
    const state = await testState(t, await setUp(t));
    const { archive, queue, db } = state;
    assert.deepEqual(await archive.addInstances([await newInstance(state)]), ['stored']);
    assert.deepEqual(await archive.addInstances([await newInstance(state)]), ['identical']);
    const job = await queue.lease('analyze-study', 60_000);
    assert.ok(job);
    assert.equal(await archive.studyState(archive.studyRef('2.25.1')), 'running');
    assert.equal(await queue.retry(job, 0, 1), 'dead');
    assert.equal(await archive.studyState(archive.studyRef('2.25.1')), 'failed');
    assert.equal(await db.tx((q) => queue.complete(q, job)), false);
  });

  test(`${name}: wrong keys open nothing`, async (t) => {
    const stores = await setUp(t);
    await (await testState(t, stores)).close();
    await assert.rejects(testState(t, { ...stores, teeKey: new Uint8Array(32).fill(8) }), { code: 'SEAL_BROKEN' });
  });
}
