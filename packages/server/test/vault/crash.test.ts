// I6: kill -9 at any moment loses nothing acknowledged and duplicates nothing visible.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { listed } from '../../../../test/contract/blobs.suite.ts';
import { DURABLE_STEPS, durableStep, setKillPoint } from '../../src/durable-step.ts';
import type { State } from '../../src/open-state.ts';
import { contentOf, openTestState, studyUid, work } from './crash-child.ts';
import { collect, scratch } from './support.ts';

const CHILD = fileURLToPath(new URL('crash-child.ts', import.meta.url));
const STUDIES = 3;
/** Those of the audit log have tests of their own. */
const STEPS = DURABLE_STEPS.filter((step) => !step.startsWith('audit-'));

interface Ended {
  acknowledged: string[];
  signal: NodeJS.Signals | null;
  code: number | null;
}

/** Runs the work in a process of its own; `killAfter` sends SIGKILL so many ms after the first acknowledgement. */
function run(dataDir: string, killPoint: string, studies: number, killAfterMs?: number): Promise<Ended> {
  const child = spawn(process.execPath, [CHILD, dataDir, killPoint, String(studies)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.on('data', (data) => {
    if (output === '' && killAfterMs !== undefined) void sleep(killAfterMs).then(() => child.kill('SIGKILL'));
    output += data;
  });
  return new Promise((resolve) => {
    child.on('close', (code, signal) => resolve({ acknowledged: output.split('\n').slice(0, -1), code, signal }));
  });
}

/** What was acknowledged is there, whole and once; nothing is there that no row needs. */
async function verifyState(dataDir: string, { archive, blobs, vault, queue }: State, acknowledged: Iterable<string>) {
  for (const line of acknowledged) {
    const [what, number] = line.split(' ');
    const [i, uid] = [Number(number), studyUid(Number(number))];
    const instance = await archive.findInstance(uid, `${uid}.1`, `${uid}.1.1`);
    assert.ok(instance, line);
    assert.ok((await collect(vault.openObject(instance.patient, instance.object))).equals(contentOf(i)));
    const results = await archive.results(archive.studyRef(uid));
    if (what === 'result') {
      assert.equal(results.length, 1);
      const sr = await archive.findInstance(uid, `${uid}.9`, `${uid}.9.1`);
      assert.equal((await collect(vault.openObject(sr!.patient, sr!.object))).toString(), `SR ${i}`);
    } else assert.ok(results.length === 1 || (await queue.state('analyze-study', archive.studyRef(uid))) !== null);
  }
  const referenced: string[] = [];
  for await (const { object } of archive.listInstances()) referenced.push(object.blobKey);
  assert.deepEqual(await listed(blobs), referenced.sort());
  assert.deepEqual(await readdir(join(dataDir, 'blobs', 'tmp')), []);
}

async function recover(dataDir: string, studies: number, acknowledged: string[]): Promise<void> {
  const state = await openTestState(dataDir);
  try {
    await verifyState(dataDir, state, acknowledged);
    await work(state, studies, () => undefined);
    const all = Array.from({ length: studies }, (_, i) => [`stored ${i}`, `result ${i}`]);
    await verifyState(dataDir, state, all.flat());
    assert.deepEqual(await state.queue.counts(), { ready: 0, running: 0, dead: 0 });
  } finally {
    await state.close();
  }
}

for (const step of STEPS)
  test(`killed at '${step}', nothing acknowledged is lost and nothing is there twice`, async (t) => {
    const dataDir = await scratch(t);
    const once = ['migration-committed', 'epoch-created', 'epoch-rotated'].includes(step);
    const { signal, acknowledged } = await run(dataDir, `${step}:${once ? 1 : 2}`, STUDIES);
    assert.equal(signal, 'SIGKILL', 'the kill point was not passed');
    await recover(dataDir, STUDIES, acknowledged);
  });

test('killed at random moments', async (t) => {
  for (let round = 0; round < (process.env.SLOW ? 100 : 2); round++) {
    const dataDir = await scratch(t);
    const killAfterMs = randomInt(0, 80);
    t.diagnostic(`killed ${killAfterMs} ms after the first acknowledgement`);
    const { acknowledged } = await run(dataDir, '-', 8, killAfterMs);
    await recover(dataDir, 8, acknowledged);
  }
});

test('without a kill point nothing is killed; one that does not exist is refused', async (t) => {
  const { code, acknowledged } = await run(await scratch(t), '-', 1);
  assert.equal(code, 0);
  assert.deepEqual(acknowledged, ['stored 0', 'result 0']);
  for (const step of DURABLE_STEPS) durableStep(step);
  for (const spec of ['', 'nowhere', 'blob-stored:0', 'blob-stored:x', 'blob-stored:1:1', ':1'])
    assert.throws(() => setKillPoint(spec), { code: 'SETTING_INVALID' });
  setKillPoint('blob-stored:7');
  setKillPoint(null);
});
