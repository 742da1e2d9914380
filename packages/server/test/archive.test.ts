// StudyArchive over sealed rows.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { listed } from '../../../test/contract/blobs.suite.ts';
import type { StoredInstance, StudyArchive } from '../src/imaging/archive.ts';
import type { Dataset, Element } from '../src/imaging/dataset.ts';
import { decodeDataset, encodeDataset } from '../src/imaging/dataset-codec.ts';
import { datasetOf, newInstance, resultOf } from './archive-fixture.ts';
import { collect, flipped, runs, scratch, testState } from './vault/support.ts';

const isBroken = { code: 'SEAL_BROKEN' };

async function listAll(archive: StudyArchive, study?: string, series?: string): Promise<StoredInstance[]> {
  const all: StoredInstance[] = [];
  for await (const instance of archive.listInstances(study, series)) all.push(instance);
  return all;
}
const sopsOf = (instances: StoredInstance[]) => instances.map((instance) => instance.sopInstanceUid);

const { dataset: anyDataset } = fc.letrec<{ dataset: Dataset; element: Element }>((tie) => ({
  element: fc.record(
    {
      tag: fc.integer({ min: 0, max: 0xffffffff }),
      vr: fc.constantFrom('UN', 'PN', 'OB', 'SQ'),
      value: fc.oneof(
        { depthSize: 'small' },
        fc.uint8Array(),
        fc.array(tie('dataset') as fc.Arbitrary<Dataset>, { maxLength: 3 }),
      ),
    },
    { noNullPrototype: true },
  ),
  dataset: fc
    .array(tie('element') as fc.Arbitrary<Element>, { maxLength: 4 })
    .map((elements) => datasetOf(...elements)),
}));

test('a data set is the same after encoding and decoding, and no cut of it decodes', () => {
  const property = fc.property(anyDataset, (dataset) => {
    const bytes = encodeDataset(dataset);
    assert.deepEqual(decodeDataset(bytes), dataset);
    for (let length = 1; length < bytes.length; length++)
      assert.throws(() => decodeDataset(bytes.subarray(0, length)), isBroken);
    assert.throws(() => decodeDataset(Buffer.concat([bytes, Buffer.alloc(1)])), isBroken);
  });
  fc.assert(property, runs());
  assert.throws(() => decodeDataset(Uint8Array.of(2, 0, 0, 0, 0)), { code: 'STATE_TOO_NEW' });
  assert.throws(() => encodeDataset(datasetOf({ tag: 1, vr: 'OBX', value: new Uint8Array() })), /two letters/);
});

test('the encoding of version 1 is what it was', () => {
  const item = datasetOf({ tag: 0x00080100, vr: 'SH', value: Buffer.from('ab') });
  const dataset = datasetOf(
    { tag: 0x0008002a, vr: 'DT', value: new Uint8Array() },
    { tag: 0x00082218, vr: 'SQ', value: [item] },
  );
  const expected = [
    '01 00000002',
    '0008002a 4454 00 00000000',
    '00082218 5351 01 00000001',
    '00000001 00080100 5348 00 00000002 6162',
  ];
  assert.equal(Buffer.from(encodeDataset(dataset)).toString('hex'), expected.join('').replaceAll(' ', ''));
});

test('a stored instance comes back, found, listed and opened, also after a restart', async (t) => {
  const dataDir = await scratch(t);
  const first = await testState(t, { dataDir });
  const sequence: Element = { tag: 0x00081111, vr: 'SQ', value: [datasetOf(), datasetOf()] };
  const added = await newInstance(first, { elements: [sequence] });
  assert.deepEqual(await first.archive.addInstances([added]), ['stored']);
  await first.close();
  const { archive, vault } = await testState(t, { dataDir });
  const found = await archive.findInstance('2.25.1', '2.25.1.1', '2.25.1.1.1');
  assert.deepEqual(found, {
    studyInstanceUid: '2.25.1',
    seriesInstanceUid: '2.25.1.1',
    sopInstanceUid: '2.25.1.1.1',
    sopClassUid: added.header.sopClassUid,
    transferSyntaxUid: added.header.transferSyntaxUid,
    dataset: new Map(
      [...added.header.dataset].map(([tag, e]) => [
        tag,
        { ...e, value: e.value instanceof Uint8Array ? new Uint8Array(e.value) : e.value },
      ]),
    ),
    patient: added.patient,
    object: added.object,
  });
  assert.deepEqual(await listAll(archive), [found]);
  assert.equal((await collect(vault.openObject(found!.patient, found!.object))).toString(), 'content of 2.25.1.1.1');
});

test('find and list take only what was asked for', async (t) => {
  const state = await testState(t);
  const { archive } = state;
  const fixtures = [
    { study: '2.25.1', series: '2.25.1.2', sop: '2.25.9.1', number: 1 },
    { study: '2.25.1', series: '2.25.1.1', sop: '2.25.9.2', number: 10 },
    { study: '2.25.1', series: '2.25.1.1', sop: '2.25.9.3', number: 9 },
    { study: '2.25.2', series: '2.25.2.1', sop: '2.25.9.4', number: 1 },
  ];
  for (const fixture of fixtures) await archive.addInstances([await newInstance(state, fixture)]);
  assert.deepEqual(sopsOf(await listAll(archive, '2.25.1')), ['2.25.9.3', '2.25.9.2', '2.25.9.1']);
  assert.deepEqual(sopsOf(await listAll(archive, '2.25.1', '2.25.1.2')), ['2.25.9.1']);
  assert.deepEqual(sopsOf(await listAll(archive)).sort(), ['2.25.9.1', '2.25.9.2', '2.25.9.3', '2.25.9.4']);
  assert.deepEqual(await listAll(archive, '2.25.3'), []);
  assert.deepEqual(await listAll(archive, '2.25.1', '2.25.2.1'), []);
  assert.ok(await archive.findInstance('2.25.1', '2.25.1.2', '2.25.9.1'));
  assert.equal(await archive.findInstance('2.25.2', '2.25.1.2', '2.25.9.1'), null);
  assert.equal(await archive.findInstance('2.25.1', '2.25.1.1', '2.25.9.1'), null);
  assert.equal(await archive.findInstance('2.25.1', '2.25.1.2', '2.25.9.9'), null);
});

test('tenants in one state do not see each other', async (t) => {
  const dataDir = await scratch(t);
  const one = await testState(t, { dataDir, tenant: 'one' });
  await one.archive.addInstances([await newInstance(one)]);
  await one.close();
  const two = await testState(t, { dataDir, tenant: 'two' });
  assert.deepEqual(await listAll(two.archive), []);
  assert.equal(await two.archive.findInstance('2.25.1', '2.25.1.1', '2.25.1.1.1'), null);
  assert.deepEqual(await two.archive.addInstances([await newInstance(two)]), ['stored']);
});

test('the same UID again: identical or conflict, the first is kept and the blob of the second is gone', async (t) => {
  const state = await testState(t);
  const { archive, blobs, queue } = state;
  const first = await newInstance(state, { bytes: Buffer.from('first') });
  assert.deepEqual(await archive.addInstances([first]), ['stored']);
  await queue.lease('analyze-study', 60_000);
  const outcomes = await archive.addInstances([
    await newInstance(state, { bytes: Buffer.from('first') }),
    await newInstance(state, { bytes: Buffer.from('other') }),
    await newInstance(state, { study: '2.25.7', sop: '2.25.1.1.1', bytes: Buffer.from('other') }),
  ]);
  assert.deepEqual(outcomes, ['identical', 'conflict', 'conflict']);
  assert.deepEqual(await listed(blobs), [first.object.blobKey]);
  // Nothing new came: the running analysis is not asked to run again, and no study appeared.
  assert.deepEqual(await queue.counts(), { ready: 0, running: 1, dead: 0 });
  assert.equal(await archive.studyState(archive.studyRef('2.25.7')), 'unknown');
  const twins = [await newInstance(state, { sop: '2.25.8' }), await newInstance(state, { sop: '2.25.8' })];
  assert.deepEqual(await archive.addInstances(twins), ['stored', 'identical']);
  assert.equal((await listed(blobs)).length, 2);
});

test('all rows of a call are committed or none, and then no blob is left', async (t) => {
  const state = await testState(t);
  const { archive, blobs, db, queue } = state;
  const good = await newInstance(state, { sop: '2.25.5' });
  const twice = { ...(await newInstance(state, { sop: '2.25.6' })), object: good.object }; // one blob, two rows
  await assert.rejects(archive.addInstances([good, twice]), /UNIQUE/);
  assert.deepEqual(await listAll(archive), []);
  assert.deepEqual(await db.query('select * from studies'), []);
  assert.deepEqual(await queue.counts(), { ready: 0, running: 0, dead: 0 });
  assert.ok(!(await listed(blobs)).includes(good.object.blobKey));
});

test('a study is analysed once it is quiet, and again when more comes', async (t) => {
  const clock = { ms: 1_000_000 };
  const state = await testState(t, { studyIdleMs: 500, nowMs: () => clock.ms });
  const { archive, db, queue } = state;
  const study = archive.studyRef('2.25.1');
  assert.equal(await archive.studyState(study), 'unknown');
  await archive.addInstances([await newInstance(state, { sop: '2.25.1.1.1' })]);
  assert.equal(await archive.studyState(study), 'queued');
  clock.ms += 400;
  await archive.addInstances([await newInstance(state, { sop: '2.25.1.1.2' })]);
  clock.ms += 499;
  assert.equal(await queue.lease('analyze-study', 1000), null);
  clock.ms += 1;
  const job = await queue.lease('analyze-study', 1000);
  assert.equal(job?.subject, study);
  assert.equal(await archive.studyState(study), 'running');
  const before = await archive.inputOf(study);
  await archive.addInstances([await newInstance(state, { sop: '2.25.1.1.3' })]);
  const result = resultOf(study, before.instances[0]!.patient, before.inputDigest, '2.25.1');
  assert.equal(await archive.commitResult(job!, result, null), 'committed');
  assert.equal(await archive.studyState(study), 'queued');
  clock.ms += 500;
  const again = await queue.lease('analyze-study', 1000);
  assert.notEqual((await archive.inputOf(study)).inputDigest, before.inputDigest);
  assert.equal(await db.tx((q) => queue.complete(q, again!)), true);
  assert.equal(await archive.studyState(study), 'complete');
});

test('a study whose job is dead has failed', async (t) => {
  const state = await testState(t);
  await state.archive.addInstances([await newInstance(state)]);
  const job = await state.queue.lease('analyze-study', 1000);
  await state.queue.retry(job!, 0, 1);
  assert.equal(await state.archive.studyState(state.archive.studyRef('2.25.1')), 'failed');
});

test('the input digest is over the sorted digests of what was received, in whatever order it came', async (t) => {
  const contents = ['c', 'a', 'b'];
  const digests = contents.map((text) => createHash('sha256').update(text).digest('hex')).sort();
  const expected = createHash('sha256')
    .update(Buffer.from(digests.join(''), 'hex'))
    .digest('hex');
  for (const order of [contents, contents.toReversed()]) {
    const state = await testState(t);
    for (const text of order)
      await state.archive.addInstances([
        await newInstance(state, { sop: `2.25.${text.charCodeAt(0)}`, bytes: Buffer.from(text) }),
      ]);
    const input = await state.archive.inputOf(state.archive.studyRef('2.25.1'));
    assert.equal(input.inputDigest, expected);
    assert.deepEqual(sopsOf(input.instances), ['2.25.97', '2.25.98', '2.25.99']);
  }
});

test('a result is committed once, with its SR, which is no input and starts no analysis', async (t) => {
  const dataDir = await scratch(t);
  const state = await testState(t, { dataDir });
  const { archive, queue, blobs } = state;
  const study = archive.studyRef('2.25.1');
  await archive.addInstances([await newInstance(state)]);
  const job = (await queue.lease('analyze-study', 1000))!;
  const { instances, inputDigest } = await archive.inputOf(study);
  const result = resultOf(study, instances[0]!.patient, inputDigest, '2.25.1');
  const sr = () => newInstance(state, { series: '2.25.1.99', sop: '2.25.1.99.1', bytes: Buffer.from('report') });
  assert.equal(await archive.commitResult(job, result, await sr()), 'committed');
  assert.deepEqual(await queue.counts(), { ready: 0, running: 0, dead: 0 });
  assert.deepEqual(await archive.results(study), [result]);
  assert.deepEqual(await archive.findResult(result.id), result);
  assert.equal(await archive.findResult('0'.repeat(64)), null);
  assert.deepEqual(sopsOf(await listAll(archive)), ['2.25.1.1.1', '2.25.1.99.1']);
  assert.deepEqual(await archive.inputOf(study), { instances, inputDigest });

  // The lease is gone.
  assert.equal(await archive.commitResult(job, { ...result, id: 'other' }, await sr()), 'lost');
  assert.equal(await archive.findResult('other'), null);
  // The same result of a second run.
  await state.db.tx((q) => queue.enqueue(q, { kind: 'analyze-study', subject: study, notBeforeMs: 0 }));
  const second = (await queue.lease('analyze-study', 1000))!;
  assert.equal(
    await archive.commitResult(second, { ...result, logged: { ...result.logged, index: 99 } }, await sr()),
    'duplicate',
  );
  assert.deepEqual(await archive.results(study), [result]);
  assert.equal(await archive.studyState(study), 'complete');
  // Our own SR, sent back by a PACS.
  assert.deepEqual(await archive.addInstances([await sr()]), ['identical']);
  assert.equal(await archive.studyState(study), 'complete');
  assert.equal((await listed(blobs)).length, 2);
  await state.close();
  const reopened = await testState(t, { dataDir });
  assert.deepEqual(await reopened.archive.results(study), [result]);
});

test('a result whose SR cannot be stored is not committed', async (t) => {
  const state = await testState(t);
  const { archive, queue, blobs } = state;
  const study = archive.studyRef('2.25.1');
  await archive.addInstances([await newInstance(state)]);
  const job = (await queue.lease('analyze-study', 1000))!;
  const { instances, inputDigest } = await archive.inputOf(study);
  const result = resultOf(study, instances[0]!.patient, inputDigest, '2.25.1');
  const taken = await newInstance(state, { bytes: Buffer.from('report under a UID that a sender has used') });
  await assert.rejects(archive.commitResult(job, result, taken), { code: 'INTERNAL' });
  assert.deepEqual(await archive.results(study), []);
  assert.equal(await archive.studyState(study), 'running');
  assert.equal((await listed(blobs)).length, 1);
});

test('a row with any column changed, or moved to another row, does not open', async (t) => {
  const state = await testState(t);
  const { archive, db } = state;
  await archive.addInstances([await newInstance(state), await newInstance(state, { sop: '2.25.1.1.2' })]);
  const study = archive.studyRef('2.25.1');
  const { instances, inputDigest } = await archive.inputOf(study);
  const job = (await state.queue.lease('analyze-study', 1000))!;
  const result = resultOf(study, instances[0]!.patient, inputDigest, '2.25.1');
  await archive.commitResult(job, result, null);
  const other = state.vault.patientRef('test', '', 'another');
  await state.vault.sealValue(other, 'x', new Uint8Array()); // so that it has a key

  for (const [table, columns] of [
    ['instances', ['ref', 'study', 'series', 'patient', 'origin', 'blob_key', 'sealed']],
    ['results', ['ref', 'study', 'patient', 'created_ms', 'sealed']],
  ] as const) {
    const rows = await db.query(`select * from ${table}`);
    const read = () =>
      table === 'instances'
        ? collectAll(rows.map((row) => row.study as string))
        : archive.results(archive.studyRef('2.25.1'));
    const collectAll = async (studies: string[]) => {
      for (const ref of new Set([...studies, 'x'])) await archive.inputOf(ref as typeof study);
    };
    const change = async (column: string, value: string | number | Uint8Array) => {
      await db.query(`update ${table} set ${column} = $1 where ref = $2`, [value, rows[0]!.ref!]);
      await assert.rejects(
        table === 'results' && column === 'study' ? archive.findResult(result.id) : read(),
        isBroken,
        `${table}.${column}`,
      );
      if (column === 'ref')
        await db.query(`update ${table} set ref = $1 where ref = $2`, [rows[0]!.ref!, value as string]);
      else await db.query(`update ${table} set ${column} = $1 where ref = $2`, [rows[0]![column]!, rows[0]!.ref!]);
    };
    for (const column of columns)
      if (column === 'sealed') {
        const sealed = rows[0]!.sealed as Uint8Array;
        for (let i = 0; i < 50; i++) await change(column, flipped(sealed, (i * 7919) % (sealed.length * 8)));
        await change(column, sealed.subarray(0, -1));
        if (rows[1]) await change(column, rows[1].sealed as Uint8Array);
      } else if (column === 'patient') await change(column, other);
      else if (column === 'origin') await change(column, 'result');
      else await change(column, column === 'created_ms' ? 1 : 'x');
    await read();
  }
});
