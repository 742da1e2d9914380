/**
 * The model process (child-protocol.ts). It ends with its input, holds nothing but the model and the instance at hand,
 * and is where everything hostile is parsed (isolation.ts).
 */
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { decodeGrey, UndecodableError } from '../imaging/decode.ts';
import { squash, toGrey8 } from '../imaging/preprocess.ts';
import { type ChildAnswer, type ChildSettings, frameOf, frameReader, roundedScore } from './child-protocol.ts';

const MAX_FRAME_BYTES = 2 ** 32 - 1; // the server sends what fits into the memory limit; anything else ends this process

const read = frameReader(process.stdin);
const answer = (value: ChildAnswer): void => void process.stdout.write(frameOf(value));

const { input, outputName }: ChildSettings = JSON.parse(String(await read(MAX_FRAME_BYTES)));
const onnx = (await read(MAX_FRAME_BYTES)) ?? Buffer.alloc(0);
const session = await InferenceSession.create(onnx, {
  intraOpNumThreads: 1, // two gave no gain when measured; the pool has a process for each core to use
  interOpNumThreads: 1,
  logSeverityLevel: 4,
});

/** `bad_alloc` and `Failed to allocate` are onnxruntime's words, the others V8's. */
const isOutOfMemory = (error: unknown): boolean =>
  error instanceof Error && /bad_alloc|failed to allocate|allocation failed|invalid .*length/i.test(error.message);

const messageOf = (error: unknown): string => (error instanceof UndecodableError ? error.message : '');

async function run(grey: Uint8Array): Promise<ChildAnswer> {
  const pixels = Float32Array.from(grey, (value) => (value / 255 - input.mean) / input.std);
  const image = new Tensor('float32', pixels, [1, 1, input.height, input.width]);
  try {
    const outputs = await session.run({ [session.inputNames[0] ?? '']: image });
    const score = Number(outputs[outputName]?.data[0]);
    return Number.isFinite(score) ? { score: roundedScore(score) } : { failed: 'not-finite' };
  } catch (error) {
    return { failed: isOutOfMemory(error) ? 'memory' : 'crashed' };
  }
}

async function score(part10: Buffer): Promise<ChildAnswer> {
  try {
    return await run(squash(toGrey8(decodeGrey(part10), input.window), input.width, input.height));
  } catch (error) {
    return isOutOfMemory(error) ? { failed: 'memory' } : { failed: 'undecodable', why: messageOf(error) };
  }
}

await run(new Uint8Array(input.width * input.height)); // the first run costs ten times the next: not at a study's expense
answer({ ready: true });
for (let part10 = await read(MAX_FRAME_BYTES); part10; part10 = await read(MAX_FRAME_BYTES))
  answer(await score(part10));
process.exit();
