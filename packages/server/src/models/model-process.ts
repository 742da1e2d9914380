/** One model process, seen from the server. What it says is not trusted: one short answer of a known form per study. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { Readable, Writable } from 'node:stream';
import { TRANSFER_SYNTAXES } from '../imaging/transfer-syntaxes.ts';
import { type ChildSettings, frameHeader, frameOf, frameReader, roundedScore } from './child-protocol.ts';
import type { Isolation } from './isolation.ts';
import type { FailureReason, InferenceOutcome, LoadedModel } from './model.ts';

export interface ProcessLimits {
  /** From the first byte of an instance to its score. */
  timeMs: number;
  memoryBytes: number;
}

const MAX_ANSWER_BYTES = 256; // the longest answer names a transfer syntax and has about 150
const MAX_STDERR_CHARS = 4096; // read for the words of an exhausted heap, then forgotten: it may quote the instance
const WATCH_MS = 50; // a process that grows by 1 GB/s passes its limit by no more than 50 MB

/** All that a failure ever says. */
const DETAILS: Record<FailureReason, string> = {
  crashed: 'the model process ended, or the model does not run',
  timeout: 'the time limit was reached',
  memory: 'the memory limit was reached',
  'not-finite': 'the model gave no number from 0 to 1',
  undecodable: 'the pixels cannot be decoded',
};

/** The one cause in the image that its sender can mend; taken from the child only if it is word for word one of these. */
const SYNTAX_DETAILS = new Set(
  [...TRANSFER_SYNTAXES.values()].map(({ name }) => `the transfer syntax ${name} is not decoded`),
);

const REASONS = Object.keys(DETAILS) as FailureReason[];

export const failure = (reason: FailureReason): InferenceOutcome => ({
  kind: 'failed',
  reason,
  detail: DETAILS[reason],
});

export class ModelProcess {
  readonly model: LoadedModel;
  served = 0;
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #limits: ProcessLimits;
  readonly #read: (maxBytes: number) => Promise<Buffer | null>;
  readonly #ready: Promise<InferenceOutcome | null>;
  readonly #ended: Promise<InferenceOutcome>;
  #killedFor: FailureReason | null = null;

  constructor(isolation: Isolation, model: LoadedModel, limits: ProcessLimits) {
    const { file, args, env } = isolation.command('child.ts', [], limits.memoryBytes);
    this.model = model;
    this.#limits = limits;
    this.#child = spawn(file, args, { env, stdio: ['pipe', 'pipe', 'pipe'] });
    this.#read = frameReader(this.#child.stdout);
    this.#ended = this.#watchEnd();
    this.#child.stdin.on('error', () => {}); // it ended while we wrote: `#ended` says so
    this.#ready = this.#withLimits(async () => {
      const settings: ChildSettings = { input: model.manifest.input, outputName: model.manifest.output.name };
      await this.#write(frameOf(settings));
      await this.#write(frameHeader(model.onnx.length));
      await this.#write(model.onnx);
      return has(await this.#answer(), 'ready') ? null : failure('crashed');
    });
  }

  /** Null once the model is loaded; else why it is not. */
  ready(): Promise<InferenceOutcome | null> {
    return this.#ready;
  }

  get ended(): boolean {
    return this.#child.stdin.destroyed;
  }

  /** One at a time. After anything but a score the process must be killed. Throws what `part10` throws. */
  async infer(part10: AsyncIterable<Uint8Array>, totalBytes: number): Promise<InferenceOutcome> {
    const notReady = await this.#ready;
    if (notReady) return notReady;
    this.served++;
    return this.#withLimits(async () => {
      await this.#write(frameHeader(totalBytes));
      let sent = 0;
      for await (const chunk of part10) {
        sent += chunk.length;
        if (sent > totalBytes || this.ended) break;
        await this.#write(chunk);
      }
      if (sent !== totalBytes && !this.ended) throw new Error(`the instance has not the ${totalBytes} bytes announced`);
      return outcomeOf(await this.#answer());
    });
  }

  /** Resolves when the process is gone. */
  async kill(reason: FailureReason = 'crashed'): Promise<void> {
    this.#killedFor ??= reason;
    this.#child.kill('SIGKILL'); // the namespaces' first process dies with it, and everything in them
    this.#child.stdin.destroy();
    await this.#ended;
  }

  /** `work`, unless the process ends first or is ended for passing a limit: then that outcome. */
  async #withLimits<T>(work: () => Promise<T>): Promise<T | InferenceOutcome> {
    const timer = setTimeout(() => void this.kill('timeout'), this.#limits.timeMs);
    const watch = setInterval(() => {
      if (residentBytes(this.#child.pid) > this.#limits.memoryBytes) void this.kill('memory');
    }, WATCH_MS);
    const working = work().catch((error: unknown) => {
      if (this.ended) return this.#ended; // whatever went wrong went wrong because of that
      throw error;
    });
    try {
      return await Promise.race([working, this.#ended]);
    } finally {
      clearTimeout(timer);
      clearInterval(watch);
    }
  }

  /** Resolves when the kernel has taken the bytes, or the process has ended. */
  #write(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve) => this.#child.stdin.write(bytes, () => resolve()));
  }

  /** The parsed answer, of any form; null when it is none. Never resolves once the process ends: `#ended` tells why. */
  async #answer(): Promise<unknown> {
    try {
      const frame = await this.#read(MAX_ANSWER_BYTES);
      if (frame) return JSON.parse(frame.toString());
    } catch {
      if (!this.ended) return null;
    }
    return new Promise(() => {});
  }

  #watchEnd(): Promise<InferenceOutcome> {
    let complaint = '';
    this.#child.stderr.setEncoding('latin1').on('data', (text: string) => {
      complaint = (complaint + text).slice(-MAX_STDERR_CHARS);
    });
    return new Promise((resolve) => {
      const end = (signal: NodeJS.Signals | null): void => {
        // V8 and libstdc++ say so; a SIGKILL that is not ours is the kernel's.
        const exhausted =
          /out of memory|allocation failed|failed to allocate|bad_alloc/i.test(complaint) || signal === 'SIGKILL';
        resolve(failure(this.#killedFor ?? (exhausted ? 'memory' : 'crashed')));
      };
      this.#child.once('error', () => end(null));
      this.#child.once('exit', () => this.#child.stdout.destroy()); // 'close' would wait for what nobody reads any more
      this.#child.once('close', (_code, signal) => end(signal));
    });
  }
}

const has = <K extends string>(value: unknown, key: K): value is Record<K, unknown> =>
  typeof value === 'object' && value !== null && Object.hasOwn(value, key);

/** The answer as an outcome. The score is checked and rounded again here: the process that sent it is not trusted. */
function outcomeOf(answer: unknown): InferenceOutcome {
  if (has(answer, 'failed')) {
    const reason = REASONS.find((each) => each === answer.failed) ?? 'crashed';
    const why = has(answer, 'why') && typeof answer.why === 'string' ? answer.why : '';
    return reason === 'undecodable' && SYNTAX_DETAILS.has(why)
      ? { kind: 'failed', reason, detail: why }
      : failure(reason);
  }
  if (!has(answer, 'score')) return failure('crashed');
  const { score } = answer;
  if (typeof score !== 'number' || !(score >= 0 && score <= 1)) return failure('not-finite');
  return { kind: 'scored', score: roundedScore(score) };
}

/** Resident memory of a process and its descendants by /proc (proc(5)); 0 where there is none. */
function residentBytes(pid: number | undefined): number {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').split(' ').filter(Boolean);
    const pages = Number(readFileSync(`/proc/${pid}/statm`, 'latin1').split(' ')[1]);
    return pages * 4096 + children.reduce((sum, child) => sum + residentBytes(Number(child)), 0); // x86-64 pages
  } catch {
    return 0;
  }
}
