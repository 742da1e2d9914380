/** `abaton serve`: starts the server as a process of its own; the command and the server share no code. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export function runServe(): Promise<number> {
  const main = fileURLToPath(new URL('../../server/src/main.ts', import.meta.url));
  const server = spawn(process.execPath, ['--disable-sigusr1', main], { stdio: 'inherit' });
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => server.kill(signal));
  return new Promise((resolve) => server.on('exit', (code) => resolve(code ?? 1)));
}
