/** Starts load-client.ts: a sender in a process of its own, so that what it has seen acknowledged outlives a killed server. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { root, type Stack } from './stack.ts';

export interface Load {
  /** Study Instance UIDs, in the order of their acknowledgements. */
  acknowledged: string[];
  stop(): Promise<void>;
}

export function startLoad(stack: Stack): Load {
  const child = spawn(process.execPath, [`${root}/test/e2e/load-client.ts`, JSON.stringify(stack.trust())], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const acknowledged: string[] = [];
  createInterface({ input: child.stdout }).on('line', (study) => acknowledged.push(study));
  const exited = new Promise<void>((resolve) => child.on('close', () => resolve()));
  return {
    acknowledged,
    stop() {
      child.kill('SIGTERM');
      return exited;
    },
  };
}
