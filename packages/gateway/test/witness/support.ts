/** Logs of the server's own making, and a witness on a scratch directory. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { createNoteSigner, type NoteSigner } from '@abaton/client';
import {
  ED25519_TYPE,
  formatCheckpoint,
  leafHash,
  ML_DSA_44_TYPE,
  parseVkey,
  rootOf,
  verifyNote,
} from '@abaton/verify';
import { createLogger } from '../../src/log.ts';
import { makeWitnessKey, readWitnessKey } from '../../src/witness/key-file.ts';
import { formatAddCheckpoint } from '../../src/witness/request.ts';
import { trustLogs } from '../../src/witness/trusted-logs.ts';
import { openWitness, type Witness, type WitnessOptions } from '../../src/witness/witness.ts';

export const FAMILY = 'hospital.example/audit';
export const YEAR = new Date().getUTCFullYear();
export const ORIGIN = `${FAMILY}/${YEAR}`;
export const NAME = 'hospital.example/witness';

export const signersOf = (origin = ORIGIN, seed = 42): NoteSigner[] =>
  [ED25519_TYPE, ML_DSA_44_TYPE].map((type) =>
    createNoteSigner({ name: origin, type, seed: new Uint8Array(32).fill(seed) }),
  );

/** What the log signs, under the first `count` of its keys. */
export const signed = (text: string, signers = signersOf()): string =>
  `${text}\n${signers.map((signer) => signer.sign(text)).join('')}`;

/** A tree whose leaves are the letters of a text, made without anything of the code that is tested. */
export class LetterLog {
  readonly letters: string;
  constructor(letters: string) {
    this.letters = letters;
  }
  #hashes(from: number, to: number): Uint8Array[] {
    return [...this.letters.slice(from, to)].map((letter) => leafHash(Buffer.from(letter)));
  }
  text(size = this.letters.length, origin = ORIGIN): string {
    return formatCheckpoint(origin, size, rootOf(this.#hashes(0, size)));
  }
  note(size = this.letters.length): string {
    return signed(this.text(size));
  }
  /** PROOF(m, D[n]) of RFC 6962 section 2.1.2, as it is written there. */
  proof(m: number, n = this.letters.length): Uint8Array[] {
    const subproof = (m: number, from: number, to: number, whole: boolean): Uint8Array[] => {
      const n = to - from;
      if (m === n) return whole ? [] : [rootOf(this.#hashes(from, to))];
      let k = 1;
      while (k * 2 < n) k *= 2;
      return m <= k
        ? [...subproof(m, from, from + k, whole), rootOf(this.#hashes(from + k, to))]
        : [...subproof(m - k, from + k, to, false), rootOf(this.#hashes(from, from + k))];
    };
    return m === 0 ? [] : subproof(m, 0, n, true);
  }
  /** The request of a log that grows from `m` to `n`. */
  request(m: number, n = this.letters.length): string {
    return formatAddCheckpoint(m, this.proof(m, n), this.note(n));
  }
}

export function scratchDir(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'abaton-witness-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

export interface Opened {
  witness: Witness;
  /** The log lines. */
  lines: string[];
}

/** `dir/key` is made when `isNew`. */
export async function openIn(t: TestContext, dir: string, options: Partial<WitnessOptions> = {}): Promise<Opened> {
  const { isNew = false } = options;
  const lines: string[] = [];
  if (isNew) await makeWitnessKey(join(dir, 'key'), NAME);
  const logs = trustLogs(signersOf().map(({ vkey }) => vkey));
  const witness = await openWitness({
    ...{ signers: await readWitnessKey(join(dir, 'key')), dir: join(dir, 'state'), isNew, logs: () => logs },
    logger: createLogger((line) => lines.push(line)),
    ...options,
  });
  t.after(() => witness.close().catch(() => {}));
  return { witness, lines };
}

export const newWitness = (t: TestContext, options: Partial<WitnessOptions> = {}): Promise<Opened> =>
  openIn(t, scratchDir(t), { isNew: true, ...options });

/** The times of both cosignatures of that answer; throws unless both verify. */
export function cosignedAt(text: string, cosignatures: string, { vkeys }: Witness): number[] {
  const keys = vkeys.map(parseVkey);
  const { timesS } = verifyNote(`${text}\n${cosignatures}`, keys);
  return keys.map((key) => timesS.get(key) ?? Number.NaN);
}
