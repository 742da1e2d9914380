/**
 * The work that the kill tests interrupt: studies come in, are acknowledged on standard output, and are analysed. Run
 * as a process (data directory, kill point or '-', number of studies) it works until it is done or killed.
 */
import { createHash } from 'node:crypto';
import { writeSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { setKillPoint } from '../../src/durable-step.ts';
import { openState, type State } from '../../src/open-state.ts';
import { newInstance, resultOf } from '../archive-fixture.ts';
import { TEE_KEY } from './support.ts';

export const studyUid = (i: number) => `2.25.100${i}`;
/** 150 KB, so that a blob has several chunks. */
export const contentOf = (i: number) => createHash('shake256', { outputLength: 150_000 }).update(`${i}`).digest();

export const openTestState = (dataDir: string): Promise<State> =>
  openState({ dataDir, teeKey: TEE_KEY, keyholderShare: null, tenant: 'test', studyIdleMs: 0 });

/** Repeats what was done before without doing it twice. `acknowledge` gets `stored N` and `result N`. */
export async function work(state: State, studies: number, acknowledge: (line: string) => void): Promise<void> {
  const { archive, queue, keys, vault } = state;
  for (let i = 0; i < studies; i++) {
    const fixture = { study: studyUid(i), patientId: `P${i}` };
    const instance = await newInstance(state, { ...fixture, bytes: contentOf(i) });
    await archive.addInstances([instance]);
    await keys.accounting.forRecording(instance.patient);
    acknowledge(`stored ${i}`);
    await archive.addInstances([await newInstance(state, { ...fixture, bytes: Buffer.from('a conflict') })]);
  }
  for (;;) {
    const job = await queue.lease('analyze-study', 60_000);
    if (!job) break;
    const i = Array.from({ length: studies }, (_, n) => n).find((n) => archive.studyRef(studyUid(n)) === job.subject)!;
    const study = archive.studyRef(studyUid(i));
    const { instances, inputDigest } = await archive.inputOf(study);
    const sr = { study: studyUid(i), series: `${studyUid(i)}.9`, patientId: `P${i}`, bytes: Buffer.from(`SR ${i}`) };
    const result = resultOf(study, instances[0]!.patient, inputDigest, studyUid(i));
    await archive.commitResult(job, result, await newInstance(state, sr));
    acknowledge(`result ${i}`);
  }
  for (let i = 0; i < studies; i++) await keys.destroyAccountingKey(vault.patientRef('test', '', `P${i}`));
  await keys.rotate(null);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [dataDir = '', killPoint = '-', studies = '3'] = process.argv.slice(2);
  setKillPoint(killPoint === '-' ? null : killPoint);
  const state = await openTestState(dataDir);
  await work(state, Number(studies), (line) => writeSync(1, `${line}\n`));
  await state.close();
}
