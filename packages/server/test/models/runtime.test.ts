/** The pool of model processes: what a model or an image does wrong is a named failure, and the next study is scored. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { decodeGrey } from '../../src/imaging/decode.ts';
import { squash, toGrey8 } from '../../src/imaging/preprocess.ts';
import { detectIsolation, noIsolation } from '../../src/models/isolation.ts';
import type { InferenceOutcome, LoadedModel, ModelRuntime } from '../../src/models/model.ts';
import { loadRegistry } from '../../src/models/registry.ts';
import { createModelRuntime } from '../../src/models/runtime.ts';
import { chunked, drawnAnswer, drawnChest, MODELS, withOnnx } from './fixtures.ts';
import { crash, hang, memoryHog, notANumber, plain } from './onnx-writer.ts';

const isolation = await detectIsolation(); // on a platform without, the same tests hold for the plain child process
const { models } = await loadRegistry(MODELS);
const model = models.find(({ manifest }) => manifest.id === 'chest-xray-ai')!;
const options = { isolation, processes: 2, timeMs: 30_000, memoryBytes: 2 ** 30, studiesPerProcess: 50 };
let runtime: ModelRuntime;

before(() => {
  runtime = createModelRuntime(options);
});
after(() => runtime.close());

const infer = (which: LoadedModel, part10: Uint8Array = drawnChest, by = runtime): Promise<InferenceOutcome> =>
  by.infer(which, chunked(part10), part10.length);

/** The drawn image with one element's value changed; `at` is where its value stands. */
function patched(tagBytes: number[], value: number[]): Buffer {
  const copy = Buffer.from(drawnChest);
  copy.set(value, copy.indexOf(Buffer.from(tagBytes)) + 8);
  return copy;
}

test('a labelled synthetic image in scope gets the score that Python gives for the same pixels', async () => {
  assert.equal(
    createHash('sha256').update(model.onnx).digest('hex'),
    drawnAnswer.onnxSha256,
    'the vector is of these weights',
  );
  const { input } = model.manifest;
  const pixels = squash(toGrey8(decodeGrey(drawnChest), input.window), input.width, input.height);
  assert.equal(createHash('sha256').update(pixels).digest('hex'), drawnAnswer.squashedSha256);
  const outcome = await infer(model);
  assert.ok(outcome.kind === 'scored', JSON.stringify(outcome));
  assert.ok(Math.abs(outcome.score - drawnAnswer.score) < 1e-3, `${outcome.score} against ${drawnAnswer.score}`);
  assert.equal(outcome.score, Number(outcome.score.toFixed(4)), 'four digits');
  assert.deepEqual(await infer(model), outcome, 'and the same again');
});

const MISBEHAVING: [string, Buffer, string][] = [
  ['that divides integers by zero (SIGFPE)', crash(), 'crashed'],
  ['that is no ONNX file', Buffer.from('not a model'), 'crashed'],
  ['that gives NaN', notANumber(), 'not-finite'],
  ['that gives a number outside 0 to 1', plain(), 'not-finite'],
  ['that asks for 6 GB', memoryHog(40_000), 'memory'],
];
for (const [name, onnx, reason] of MISBEHAVING) {
  test(`a model ${name}: failed, ${reason}`, async () => {
    const outcome = await infer(withOnnx(model, onnx));
    assert.equal(outcome.kind === 'failed' && outcome.reason, reason, JSON.stringify(outcome));
    assert.equal((await infer(model)).kind, 'scored', 'the next study is scored');
  });
}

test('without isolation the memory limit still holds: the server watches the resident memory', async (t) => {
  if (process.platform !== 'linux') return t.skip('needs /proc');
  const pool = createModelRuntime({ ...options, isolation: noIsolation('asked for'), memoryBytes: 400 * 2 ** 20 });
  t.after(() => pool.close());
  const outcome = await infer(withOnnx(model, memoryHog(16_000)), drawnChest, pool); // 1 GB
  assert.equal(outcome.kind === 'failed' && outcome.reason, 'memory', JSON.stringify(outcome));
});

test('a model that hangs: failed, timeout', async (t) => {
  const short = createModelRuntime({ ...options, timeMs: 1500 });
  t.after(() => short.close());
  const outcome = await infer(withOnnx(model, hang()), drawnChest, short);
  assert.equal(outcome.kind === 'failed' && outcome.reason, 'timeout', JSON.stringify(outcome));
});

const BROKEN: [string, Buffer][] = [
  ['text', Buffer.from('this is not DICOM')],
  ['empty', Buffer.alloc(0)],
  ['cut in its pixels', drawnChest.subarray(0, -1000)],
  ['65535 rows and columns', patched([0x28, 0, 0x11, 0, 0x55, 0x53], [0xff, 0xff])],
  ['Rows 0', patched([0x28, 0, 0x10, 0, 0x55, 0x53], [0, 0])],
];
for (const [name, part10] of BROKEN) {
  test(`an instance that is broken (${name}): failed, undecodable, in words that are ours`, async () => {
    assert.deepEqual(await infer(model, part10), {
      kind: 'failed',
      reason: 'undecodable',
      detail: 'the pixels cannot be decoded',
    });
  });
}

test('a transfer syntax that is not decoded is named', async (t) => {
  const folder = process.env.ABATON_TEST_DATA ?? new URL('../../../../../shared/data', import.meta.url).pathname;
  let file: Buffer;
  try {
    file = readFileSync(`${folder}/imaging/dicom/cxr/pydicomdata__RG1_J2KI.dcm`);
  } catch {
    return t.skip('needs ABATON_TEST_DATA');
  }
  const outcome = await infer(model, file);
  assert.match(outcome.kind === 'failed' ? outcome.detail : '', /^the transfer syntax JPEG 2000.* is not decoded$/);
});

test('an instance larger than the memory limit is not even sent', async () => {
  const outcome = await runtime.infer(model, chunked(drawnChest), 2 ** 30);
  assert.equal(outcome.kind === 'failed' && outcome.reason, 'memory');
});

test('bytes changed anywhere give an outcome, never an exception', { timeout: 120_000 }, async () => {
  const change = fc.array(fc.tuple(fc.nat(2000), fc.nat(255)), { minLength: 1, maxLength: 20 });
  const property = fc.asyncProperty(change, fc.nat(drawnChest.length), async (changes, cut) => {
    const copy = Buffer.from(drawnChest.subarray(0, Math.max(cut, 1)));
    for (const [at, value] of changes) if (at < copy.length) copy[at] = value;
    const outcome = await infer(model, copy);
    assert.ok(outcome.kind === 'scored' || ['undecodable', 'memory'].includes(outcome.reason), JSON.stringify(outcome));
  });
  await fc.assert(property, { numRuns: process.env.SLOW === '1' ? 1000 : 10 });
});

test('a source that fails, or gives other than it announced, is thrown on, and the next study is scored', async () => {
  async function* failing(): AsyncIterable<Uint8Array> {
    yield drawnChest.subarray(0, 1000);
    throw new Error('seal broken');
  }
  await assert.rejects(runtime.infer(model, failing(), drawnChest.length), /seal broken/);
  await assert.rejects(runtime.infer(model, chunked(drawnChest), drawnChest.length + 1), /announced/);
  await assert.rejects(runtime.infer(model, chunked(drawnChest), drawnChest.length - 1), /announced/);
  assert.equal((await infer(model)).kind, 'scored');
});

test('studies at once share the pool, and each process is replaced after its number of studies', async (t) => {
  const pool = createModelRuntime({ ...options, processes: 2, studiesPerProcess: 1 });
  t.after(() => pool.close());
  const outcomes = await Promise.all(Array.from({ length: 5 }, () => infer(model, drawnChest, pool)));
  assert.deepEqual(new Set(outcomes.map((outcome) => outcome.kind)), new Set(['scored']));
});

test('prepare refuses a model that does not load; close ends everything, also what waits', async () => {
  const pool = createModelRuntime({ ...options, processes: 1 });
  await pool.prepare(model);
  await assert.rejects(pool.prepare(withOnnx(model, Buffer.from('x'))), { code: 'MODEL_INVALID' });
  const begun = Promise.withResolvers<void>();
  async function* endless(): AsyncIterable<Uint8Array> {
    yield drawnChest.subarray(0, 1000);
    begun.resolve();
    await new Promise(() => {});
  }
  const running = pool.infer(model, endless(), drawnChest.length);
  const queued = assert.rejects(infer(model, drawnChest, pool), { code: 'OVERLOADED' });
  await begun.promise;
  await pool.close();
  await queued;
  assert.equal((await running).kind, 'failed');
  await assert.rejects(infer(model, drawnChest, pool), { code: 'OVERLOADED' });
});
