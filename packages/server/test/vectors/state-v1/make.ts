/** Makes `data/`, a state directory as this release writes it: `node make.ts`. Run once, when version 1 was made. */
import { rm } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { openState } from '../../../src/open-state.ts';
import { newInstance, resultOf } from '../../archive-fixture.ts';

const dataDir = fileURLToPath(new URL('data', import.meta.url));
await rm(dataDir, { recursive: true, force: true });
const state = await openState({
  dataDir,
  teeKey: new Uint8Array(32).fill(1),
  keyholderShare: new Uint8Array(32).fill(2),
  tenant: 'vector',
  studyIdleMs: 500,
  nowMs: () => 1_767_225_600_000, // 2026-01-01
});
const { archive, queue, sealedState, db } = state;

await archive.addInstances([
  await newInstance(state, { study: '2.25.1', sop: '2.25.11', number: 1, bytes: Buffer.from('first instance') }),
  await newInstance(state, { study: '2.25.1', sop: '2.25.12', number: 2, bytes: Buffer.alloc(70_000, 'second') }),
]);
const study = archive.studyRef('2.25.1');
await db.query('update jobs set not_before_ms = 0');
const job = (await queue.lease('analyze-study', 60_000))!;
const { instances, inputDigest } = await archive.inputOf(study);
const sr = await newInstance(state, { study: '2.25.1', series: '2.25.19', sop: '2.25.191', bytes: Buffer.from('report') });
await archive.commitResult(job, resultOf(study, instances[0]!.patient, inputDigest, '2.25.1'), sr);

await archive.addInstances([await newInstance(state, { study: '2.25.2', sop: '2.25.21', patientId: 'P2' })]);
await sealedState.put(db, 'note', Buffer.from('sealed in version 1'));
await state.close();
