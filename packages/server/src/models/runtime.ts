/** The pool of model processes: as many as may run at once, each replaced after a number of studies or any failure. */
import { errorOf } from '../errors.ts';
import type { Isolation } from './isolation.ts';
import type { LoadedModel, ModelRuntime } from './model.ts';
import { failure, ModelProcess, type ProcessLimits } from './model-process.ts';

export interface RuntimeOptions extends ProcessLimits {
  isolation: Isolation;
  /** How many studies are scored at once. Each process takes one core and up to `memoryBytes`. */
  processes: number;
  /** After so many studies a process is replaced. */
  studiesPerProcess: number;
}

export function createModelRuntime({
  isolation,
  processes,
  studiesPerProcess,
  ...limits
}: RuntimeOptions): ModelRuntime {
  const idle: ModelProcess[] = [];
  const living = new Set<ModelProcess>();
  const waiting: (() => void)[] = [];
  let busy = 0;
  let closed = false;

  function start(model: LoadedModel): ModelProcess {
    requireUse();
    const started = new ModelProcess(isolation, model, limits);
    living.add(started);
    return started;
  }

  function requireUse(): void {
    if (closed) throw errorOf('OVERLOADED', 'The model runtime is closed.');
  }

  async function end(old: ModelProcess): Promise<void> {
    await old.kill();
    living.delete(old);
  }

  /** An idle process of that model, or a new one in the place of an idle one of another. */
  async function take(model: LoadedModel): Promise<ModelProcess> {
    for (const each of idle.filter(({ ended }) => ended)) {
      idle.splice(idle.indexOf(each), 1);
      living.delete(each);
    }
    const found = idle.findIndex((each) => each.model.digest === model.digest);
    if (found >= 0) return idle.splice(found, 1)[0]!;
    const other = living.size >= processes ? idle.shift() : undefined;
    if (other) await end(other);
    return start(model);
  }

  async function acquire(): Promise<void> {
    if (busy >= processes) await new Promise<void>((resolve) => waiting.push(resolve));
    requireUse();
    busy++;
  }

  function release(): void {
    busy--;
    waiting.shift()?.();
  }

  return {
    async prepare(model) {
      await acquire();
      try {
        const prepared = await take(model);
        const problem = await prepared.ready();
        if (problem) {
          await end(prepared);
          throw errorOf('MODEL_INVALID', `${model.manifest.id} does not load in a model process.`);
        }
        idle.push(prepared);
      } finally {
        release();
      }
    },

    async infer(model, part10, totalBytes) {
      if (totalBytes >= limits.memoryBytes) return failure('memory'); // it is held whole while it is decoded
      await acquire();
      try {
        const worker = await take(model);
        let keep = false;
        try {
          const outcome = await worker.infer(part10, totalBytes);
          keep = outcome.kind === 'scored' && worker.served < studiesPerProcess && !closed;
          return outcome;
        } finally {
          if (keep) idle.push(worker);
          else {
            await end(worker);
            if (!closed) idle.push(start(model)); // starts while the result is stored, not while the next one waits
          }
        }
      } finally {
        release();
      }
    },

    async close() {
      closed = true;
      for (const resolve of waiting.splice(0)) resolve();
      await Promise.all([...living].map(end));
    },
  };
}
