/** Flips bits of input and looks whether anything is still said about it. SLOW=1 flips all 8 bits of every byte. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import type { Verdict } from '../../src/index.ts';
import { runs, SLOW } from './property.ts';

/** Where a flip may leave the verdict as it is, and why it may. */
export interface Range {
  from: number;
  to: number;
  reason: string;
}
export const RANGES: Record<'quote' | 'crl' | 'chain' | 'json' | 'report' | 'rim', Range[]> = JSON.parse(
  readFileSync(new URL('../vectors/flip-ranges.json', import.meta.url), 'utf8'),
).ranges;

export const { seed } = runs();
let state = seed;
export const random = (below: number): number => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0; // Numerical Recipes' generator: no need of a better one
  return Math.floor((state / 2 ** 32) * below);
};

/** What the verdict says, without the digest of the quote itself. */
export const meaning = ({ evidenceId: _, ...verdict }: Verdict): string => JSON.stringify(verdict);

/** Flips one bit of each offset, or every bit, verifies what `build` makes of them, and lists the offsets where the verdict stayed the same. */
export async function sweep<T>(
  bytes: Uint8Array,
  offsets: readonly number[],
  build: (flipped: Buffer) => T,
  judge: (input: T) => Promise<Verdict>,
  { everyBit = SLOW } = {},
): Promise<number[]> {
  const baseline = meaning(await judge(build(Buffer.from(bytes))));
  const accepted: number[] = [];
  const flips = offsets.flatMap((at) =>
    (everyBit ? [0, 1, 2, 3, 4, 5, 6, 7] : [random(8)]).map((bit) => ({ at, bit })),
  );
  const worker = async (): Promise<void> => {
    for (let flip = flips.pop(); flip; flip = flips.pop()) {
      const flipped = Buffer.from(bytes);
      flipped[flip.at]! ^= 1 << flip.bit;
      const verdict = await judge(build(flipped));
      if (meaning(verdict) === baseline) accepted.push(flip.at);
      // A flip that is accepted *and* changes what is said would be worse than any range.
      else assert.ok(verdict.checks.some(({ status }) => status === 'fail') && !verdict.valid, `offset ${flip.at}`);
    }
  };
  await Promise.all(Array.from({ length: 8 }, worker)); // WebCrypto verifies on other threads
  return accepted.sort((a, b) => a - b);
}

export const outside = (accepted: number[], ranges: readonly Range[]) =>
  accepted.filter((at) => !ranges.some(({ from, to }) => at >= from && at <= to));

/** Every offset; or, unless SLOW=1, `count` of them. */
export const sample = (bytes: Uint8Array, count: number): number[] =>
  SLOW || bytes.length <= count ? all(bytes) : Array.from({ length: count }, () => random(bytes.length));

export const all = (bytes: Uint8Array): number[] => Array.from(bytes.keys());
