/** What the tests of the vault share: scratch directories, states in them, and the ways to damage bytes. */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { Parameters as FastCheckParameters } from 'fast-check';
import { openState, type State, type StateOptions } from '../../src/open-state.ts';

export const TEE_KEY = new Uint8Array(32).fill(7);

/** 10 runs, or 1000 with SLOW=1; fast-check prints the seed of a failure. */
export const runs = <T>(): FastCheckParameters<T> => ({ numRuns: process.env.SLOW ? 1000 : 10 });

export async function scratch(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'abaton-test-'));
  t.after(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

export async function testState(t: TestContext, options: Partial<StateOptions> = {}): Promise<State> {
  const state = await openState({
    dataDir: options.dataDir ?? (await scratch(t)),
    teeKey: TEE_KEY,
    keyholderShare: null,
    tenant: 'test',
    studyIdleMs: 0,
    ...options,
  });
  t.after(() => state.close());
  return state;
}

export async function collect(pieces: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = [];
  for await (const piece of pieces) all.push(piece);
  return Buffer.concat(all);
}

/** The bytes in pieces of at most `size`. */
export async function* pieces(bytes: Uint8Array, size = 10_007): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

/** A copy with one bit turned; `bit` counts from the first. */
export function flipped(bytes: Uint8Array, bit: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[bit >> 3]! ^= 1 << (bit & 7);
  return copy;
}

/** Every file under the directory, with its content, by relative path. */
export async function filesUnder(directory: string): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>();
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true }))
    if (entry.isFile()) {
      const path = join(entry.parentPath, entry.name);
      files.set(path.slice(directory.length + 1), await readFile(path));
    }
  return files;
}
