/**
 * The whole path (verified connection, STOW, sealing, job, isolated child, SR, log, result with checked proof) against
 * bare decode + preprocess + inference of the same studies, in the same run. `ratio`: wall time per study at steady load,
 * whole path over bare. Mean ms of its parts stand
 * beside it: `storeMs` until the sender has its acknowledgement, then the steps of the analysis. Parts overlap: one study is
 * stored while the next is scored.
 */
import { randomUUID } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { awaitAnalysis, connectVerified, sendFiles } from '@abaton/client';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { decodeGrey } from '../packages/server/src/imaging/decode.ts';
import { drawPhantom } from '../packages/server/src/imaging/phantom.ts';
import { squash, toGrey8 } from '../packages/server/src/imaging/preprocess.ts';
import { loadRegistry } from '../packages/server/src/models/registry.ts';
import { root, type Stack, startStack } from '../test/e2e/stack.ts';
import type { Figures } from './main.ts';
import { mean, quantile } from './statistics.ts';

const STUDIES = 100;
const SENDERS = 8; // keeps the model process busy all the time

export async function run(): Promise<Figures> {
  const folder = mkdtempSync(join(tmpdir(), 'abaton-bench-'));
  const stack = await startStack();
  try {
    const files = Array.from({ length: STUDIES + SENDERS }, (_, i) => {
      const file = join(folder, `${i}.dcm`);
      const studyInstanceUid = `2.25.${BigInt(`0x${randomUUID().replaceAll('-', '')}`)}`;
      writeFileSync(file, drawPhantom({ studyInstanceUid, ageYears: 3, now: new Date() }));
      return file;
    });
    const warmUp = files.splice(0, SENDERS);
    const bareBefore = await runBare(files);
    await stack.startServer({ ABATON_STUDY_IDLE_MS: '1' });
    await runWhole(stack, warmUp);
    const whole = await runWhole(stack, files);
    const bareAfter = await runBare(files); // before and after: a machine that changes its pace shows
    const bareMs = mean([bareBefore, bareAfter]);
    return {
      ratio: whole.perStudyMs / bareMs,
      p50Ms: quantile(whole.latenciesMs, 0.5),
      p99Ms: quantile(whole.latenciesMs, 0.99),
      perSecond: 1000 / whole.perStudyMs,
      wholePerStudyMs: whole.perStudyMs,
      barePerStudyMs: bareMs,
      bareDrift: bareAfter / bareBefore,
      ...whole.parts,
      studies: STUDIES,
      senders: SENDERS,
    };
  } finally {
    await stack.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Wall ms per study of decode + preprocess + inference, as the child does it, with nothing around. */
async function runBare(files: string[]): Promise<number> {
  const model = (await loadRegistry(join(root, 'models'), ['chest-xray-ai'])).models[0]!;
  const { input, output } = model.manifest;
  const session = await InferenceSession.create(model.onnx, {
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    logSeverityLevel: 4,
  });
  const infer = async (file: string) => {
    const grey = squash(toGrey8(decodeGrey(readFileSync(file)), input.window), input.width, input.height);
    const pixels = Float32Array.from(grey, (value) => (value / 255 - input.mean) / input.std);
    const outputs = await session.run({
      [session.inputNames[0]!]: new Tensor('float32', pixels, [1, 1, input.height, input.width]),
    });
    if (!Number.isFinite(Number(outputs[output.name]?.data[0]))) throw new Error('no score');
  };
  for (const file of files.slice(0, 5)) await infer(file);
  const beganMs = performance.now();
  for (const file of files) await infer(file);
  const perStudyMs = (performance.now() - beganMs) / files.length;
  await session.release();
  return perStudyMs;
}

async function runWhole(
  stack: Stack,
  files: string[],
): Promise<{ perStudyMs: number; latenciesMs: number[]; parts: Figures }> {
  const queue = [...files];
  const latenciesMs: number[] = [];
  const storesMs: number[] = [];
  const send = async () => {
    const connection = await connectVerified(stack.trust());
    for (let file = queue.shift(); file; file = queue.shift()) {
      const sentMs = performance.now();
      const { studies } = await sendFiles(connection, [file]);
      storesMs.push(performance.now() - sentMs);
      const { results } = await awaitAnalysis(connection, studies[0]!);
      if (results[0]?.result.outcome !== 'scored') throw new Error('a study was not scored');
      latenciesMs.push(performance.now() - sentMs);
    }
    connection.close();
  };
  const before = await readSteps(stack);
  const beganMs = performance.now();
  await Promise.all(Array.from({ length: SENDERS }, send));
  const perStudyMs = (performance.now() - beganMs) / files.length;
  const after = await readSteps(stack);
  const parts: Figures = { storeMs: mean(storesMs) };
  for (const step of STEPS) parts[`${step}Ms`] = ((after[step] - before[step]) * 1000) / files.length;
  return { perStudyMs, latenciesMs, parts };
}

const STEPS = ['infer', 'report', 'log', 'commit'] as const;

/** Seconds spent in each step of all analyses so far, from /metrics: where the rest goes. */
async function readSteps(stack: Stack): Promise<Record<(typeof STEPS)[number], number>> {
  const connection = await connectVerified(stack.trust());
  const text = Buffer.from(await (await connection.request({ method: 'GET', path: '/metrics' })).bytes()).toString();
  connection.close();
  const sum = (step: string) => Number(new RegExp(`^abaton_analysis_${step}_seconds_sum (\\S+)$`, 'm').exec(text)?.[1]);
  return { infer: sum('infer'), report: sum('report'), log: sum('log'), commit: sum('commit') };
}
