/** The `abaton` command as a process that runs until it is killed; not its launcher, which would be killed in its stead. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { TestContext } from 'node:test';
import { root } from './stack.ts';

const COMMAND = join(root, 'packages/cli/src/main.ts');

/** Runs it to its end. Throws unless that is exit code 0. */
export const abaton = (...args: string[]): string =>
  execFileSync(process.execPath, [COMMAND, ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();

export interface RunningCommand {
  /** The line of JSON that it prints when it runs. */
  ready: Record<string, unknown>;
  kill(): Promise<void>;
}

/** Resolves when it runs. It is killed with SIGKILL, at the end of the test at the latest. */
export async function startCommand(t: TestContext, args: readonly string[]): Promise<RunningCommand> {
  const child: ChildProcess = spawn(process.execPath, [COMMAND, ...args], { stdio: ['ignore', 'pipe', 'ignore'] });
  const kill = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  };
  t.after(kill);
  const line = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout! }).once('line', resolve);
    child.once('exit', (code) => reject(new Error(`abaton ${args[0]} ended with ${code}`)));
  });
  return { ready: JSON.parse(line), kill };
}
