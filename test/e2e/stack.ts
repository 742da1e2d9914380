/** A real software TEE and a real server, each a process of its own, on scratch directories and free loopback ports. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { VerifyOptions } from '@abaton/client';
import { type Policy, parsePolicy } from '@abaton/verify';

export const root = fileURLToPath(new URL('../..', import.meta.url));

export interface SoftTeeProcess {
  socket: string;
  pccsUrl: string;
  rootSha256: string;
  codeHash: string;
  policyFile: string;
  policy: Policy;
  setFault(name: string | null): Promise<void>;
  stop(): Promise<void>;
}

export interface ServerProcess {
  url: string;
  pid: number;
  /** Resolves with the signal or code when the process has ended. */
  exited: Promise<string | number | null>;
  kill(signal: NodeJS.Signals): void;
  stop(): Promise<void>;
}

export interface Stack {
  dir: string;
  dataDir: string;
  serverLog: string;
  softTee: SoftTeeProcess;
  trust(): VerifyOptions;
  freePort(): Promise<number>;
  startServer(env?: NodeJS.ProcessEnv): Promise<ServerProcess>;
  /** The same platform and app, started again with these arguments: a later `--compose` is another build. */
  restartSoftTee(args: string[]): Promise<void>;
  close(): Promise<void>;
}

async function readyLine(child: ChildProcess, what: string, logFile: string): Promise<Record<string, string>> {
  const line = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout! }).once('line', resolve);
    child.once('exit', (code, signal) =>
      reject(new Error(`${what} ended (${signal ?? code}):\n${readFileSync(logFile, 'utf8').slice(-2000)}`)),
    );
  });
  return JSON.parse(line);
}

const ended = (child: ChildProcess) =>
  new Promise<string | number | null>((resolve) => child.once('exit', (code, signal) => resolve(signal ?? code)));

async function startSoftTee(dir: string, args: string[]): Promise<SoftTeeProcess> {
  const control = join(dir, 'control.sock');
  const logFile = join(dir, 'soft-tee.log');
  const log = openSync(logFile, 'a');
  const child = spawn(
    process.execPath,
    [
      join(root, 'packages/soft-tee/src/main.ts'),
      '--state',
      join(dir, 'soft-tee'),
      '--socket',
      join(dir, 'dstack.sock'),
      '--control',
      control,
      '--compose',
      join(root, 'deploy/dev/app-compose.json'),
      ...args,
    ],
    { stdio: ['pipe', 'pipe', log] },
  );
  closeSync(log);
  const exited = ended(child);
  const ready = (await readyLine(child, 'the software TEE', logFile)) as Record<
    'socket' | 'pccsUrl' | 'rootSha256' | 'codeHash' | 'policyFile',
    string
  >;
  return {
    ...ready,
    policy: parsePolicy(JSON.parse(readFileSync(ready.policyFile, 'utf8'))),
    setFault: (name) =>
      new Promise((resolve, reject) => {
        const ask = request(
          { socketPath: control, method: 'POST', path: '/fault', headers: { 'content-type': 'application/json' } },
          (response) => {
            response
              .resume()
              .on('end', () =>
                response.statusCode === 200 ? resolve() : reject(new Error(`fault ${name}: ${response.statusCode}`)),
              );
          },
        );
        ask.on('error', reject).end(JSON.stringify({ name }));
      }),
    async stop() {
      child.kill('SIGTERM');
      await exited;
    },
  };
}

const freePort = () =>
  new Promise<number>((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });

/** `softTeeArgs` are given to the software TEE at its start. Close the stack when the test ends. */
export async function startStack({ softTeeArgs = [] as string[] } = {}): Promise<Stack> {
  const dir = mkdtempSync(join(tmpdir(), 'abaton-stack-'));
  const dataDir = join(dir, 'data');
  const serverLog = join(dir, 'server.log');
  const softTee = await startSoftTee(dir, softTeeArgs);
  const port = await freePort(); // kept over restarts, so that clients find the server again
  const servers: ServerProcess[] = [];
  const stack: Stack = {
    dir,
    dataDir,
    serverLog,
    softTee,
    freePort,
    trust: () => ({
      url: `https://127.0.0.1:${port}`,
      policy: parsePolicy(stack.softTee.policy),
      acceptedRootsSha256: [stack.softTee.rootSha256],
    }),
    async restartSoftTee(args) {
      await stack.softTee.stop();
      stack.softTee = await startSoftTee(dir, args);
    },
    async startServer(env = {}) {
      const log = openSync(serverLog, 'a');
      const child = spawn(process.execPath, [join(root, 'packages/server/src/main.ts')], {
        stdio: ['pipe', 'pipe', log],
        env: {
          ...process.env,
          ABATON_DATA_DIR: dataDir,
          ABATON_PORT: String(port),
          DSTACK_SIMULATOR_ENDPOINT: stack.softTee.socket,
          PCCS_URL: stack.softTee.pccsUrl,
          ABATON_SIMULATED_ROOT_SHA256: stack.softTee.rootSha256,
          ...env,
        },
      });
      closeSync(log);
      const exited = ended(child);
      const server: ServerProcess = {
        url: `https://127.0.0.1:${port}`,
        pid: child.pid!,
        exited,
        kill: (signal) => void child.kill(signal),
        async stop() {
          child.kill('SIGTERM');
          await exited;
        },
      };
      servers.push(server);
      await readyLine(child, 'the server', serverLog);
      return server;
    },
    async close() {
      for (const server of servers) await server.stop();
      await stack.softTee.stop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
  return stack;
}
