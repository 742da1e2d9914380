/**
 * What passes between server and model process over its standard input and output: frames of a uint32 (big endian)
 * length and so many bytes. To the child: ChildSettings (JSON), the ONNX bytes, then Part 10 bytes per study.
 * From it: one ChildAnswer (JSON) for the model and for each study.
 */
import type { FailureReason, ModelManifest } from './model.ts';

export interface ChildSettings {
  input: ModelManifest['input'];
  outputName: string;
}

export type ChildAnswer = { ready: true } | { score: number } | { failed: FailureReason; why?: string };

/** Four digits: a score says no more, and a hostile model cannot hide pixels in low-order digits. */
export const roundedScore = (score: number): number => Math.round(score * 1e4) / 1e4;

const LENGTH_BYTES = 4;

export function frameHeader(byteLength: number): Uint8Array {
  const header = Buffer.alloc(LENGTH_BYTES);
  header.writeUInt32BE(byteLength);
  return header;
}

export const frameOf = (value: unknown): Uint8Array => {
  const payload = Buffer.from(JSON.stringify(value));
  return Buffer.concat([frameHeader(payload.length), payload]);
};

/** The next frame, or null at the end of the stream. Throws RangeError when it is longer than `maxBytes`. */
export type ReadFrame = (maxBytes: number) => Promise<Buffer | null>;

export function frameReader(source: AsyncIterable<Uint8Array>): ReadFrame {
  const chunks = source[Symbol.asyncIterator]();
  let rest: Uint8Array = new Uint8Array(0);

  async function take(length: number): Promise<Buffer | null> {
    const taken = Buffer.allocUnsafe(length);
    for (let filled = 0; filled < length; ) {
      if (rest.length === 0) {
        const next = await chunks.next();
        if (next.done) return null;
        rest = next.value;
      }
      const part = rest.subarray(0, length - filled);
      taken.set(part, filled);
      filled += part.length;
      rest = rest.subarray(part.length);
    }
    return taken;
  }

  return async (maxBytes) => {
    const header = await take(LENGTH_BYTES);
    if (!header) return null;
    const length = header.readUInt32BE();
    if (length > maxBytes) throw new RangeError(`a frame of ${length} bytes, at most ${maxBytes} expected`);
    return take(length);
  };
}
