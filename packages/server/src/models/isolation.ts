/**
 * A model process must not reach anything: no network, no files but its own code, no other process. On Linux that is
 * `unshare` of util-linux with a minimal root (isolate.sh); elsewhere there is nothing, and the server says so.
 * docs/operations.md, "Model isolation", lists the platforms.
 */
import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { errorOf } from '../errors.ts';

export interface Command {
  file: string;
  args: string[];
  env: Record<string, string>;
}

export interface Isolation {
  level: 'namespaces' | 'none';
  /** For people: how, or why not. */
  reason: string;
  /** The command that runs `packages/server/src/models/<script>` with at most that much memory. */
  command(script: string, args: readonly string[], memoryBytes: number): Command;
}

const CHECKOUT = fileURLToPath(new URL('../../../..', import.meta.url)).replace(/\/$/, '');
const APP = '/app'; // the checkout's place in the minimal root
const PATH = '/usr/sbin:/usr/bin:/sbin:/bin';
const PROBE_MS = 10_000; // a start takes about 0.2 s; a machine that needs longer than this is not usable anyway

/** All that a model process can read, with node and its libraries. Nothing in these folders is written at run time. */
const READABLE = [
  'packages/server/src',
  'packages/server/package.json',
  'packages/verify/src',
  'packages/verify/package.json',
  'node_modules/@abaton', // links to packages/
  'node_modules/@noble',
  'node_modules/onnxruntime-common',
  'node_modules/onnxruntime-node',
];

const nodeFlags = (memoryBytes: number): string[] => [
  `--max-old-space-size=${Math.floor(memoryBytes / 2 ** 21)}`, // MiB: half of the limit, the rest is for pixels and tensors
  '--disallow-code-generation-from-strings',
  '--no-warnings',
];

const NAMESPACES = ['--mount', '--net', '--pid', '--ipc', '--uts', '--kill-child=KILL'];

/** Without isolation: an empty environment and V8's own memory limit, no more. */
export const noIsolation = (reason: string): Isolation => ({
  level: 'none',
  reason,
  command: (script, args, memoryBytes) => ({
    file: process.execPath,
    args: [...nodeFlags(memoryBytes), join(CHECKOUT, 'packages/server/src/models', script), ...args],
    env: {},
  }),
});

/** With: user namespace (for a server that is not root, or drops to it) or not. */
function namespaces(libraries: readonly string[], user: boolean): Isolation {
  const binds = [
    [process.execPath, '/node'],
    ['/usr/bin/setpriv', '/setpriv'],
    ...READABLE.map((path) => [join(CHECKOUT, path), join(APP, path)]),
    ...libraries.map((path) => [path, path]),
  ].flat() as string[];
  return {
    level: 'namespaces',
    reason: user ? 'user, network, mount, process and IPC namespaces' : 'network, mount, process and IPC namespaces',
    command: (script, args, memoryBytes) => ({
      file: 'prlimit',
      args: [
        // RLIMIT_DATA counts private writable memory (getrlimit(2)); address space would count V8's reservations too.
        ...[`--data=${memoryBytes}`, '--core=0', '--fsize=0', '--'],
        ...['setpriv', '--pdeathsig', 'KILL', '--'], // a killed server leaves no model process behind
        ...['unshare', ...(user ? ['--user', '--map-root-user'] : []), ...NAMESPACES, '--'],
        ...['sh', join(CHECKOUT, 'packages/server/src/models/isolate.sh'), ...binds, '--'],
        ...['/node', ...nodeFlags(memoryBytes), join(APP, 'packages/server/src/models', script), ...args],
      ],
      env: { PATH },
    }),
  };
}

/** Finds a way to isolate that holds here, by starting a process in it and letting it try to get out. */
export async function detectIsolation(): Promise<Isolation> {
  if (process.platform !== 'linux') return noIsolation(`not available on ${process.platform}`);
  let libraries: string[];
  try {
    libraries = await sharedLibraries();
  } catch {
    return noIsolation('ldd, setpriv or the native part of onnxruntime-node is missing');
  }
  const failures: string[] = [];
  for (const user of [true, false]) {
    const isolation = namespaces(libraries, user);
    const failure = await probe(isolation);
    if (failure === null) return isolation;
    failures.push(`${user ? 'with' : 'without'} a user namespace: ${failure}`);
  }
  return noIsolation(failures.join('; '));
}

/** Throws ISOLATION_UNAVAILABLE, unless model processes are isolated or the TEE is simulated (no real patient data). */
export function requireIsolation({ level, reason }: Isolation, simulatedTee: boolean): void {
  if (level === 'none' && !simulatedTee)
    throw errorOf('ISOLATION_UNAVAILABLE', `Model processes cannot be isolated: ${reason}.`);
}

/** Every shared library that node, onnxruntime and setpriv need, by `ldd`. */
async function sharedLibraries(): Promise<string[]> {
  const onnxruntime = dirname(createRequire(import.meta.url).resolve('onnxruntime-node/package.json'));
  const binding = join(onnxruntime, 'bin/napi-v6', process.platform, process.arch, 'onnxruntime_binding.node');
  const { stdout } = await promisify(execFile)('ldd', [process.execPath, binding, '/usr/bin/setpriv'], {
    env: { PATH },
  });
  const paths = stdout.split('\n').map((line) => /^\s+(?:\S+ => )?(\/\S+) \(0x/.exec(line)?.[1]);
  return [
    ...new Set(paths.filter((path) => path !== undefined && !path.startsWith(CHECKOUT)) as string[]),
    '/etc/ld.so.cache',
  ];
}

/** Null when the process started and every way out was shut; else what went wrong. */
async function probe(isolation: Isolation): Promise<string | null> {
  const folder = await mkdtemp(join(tmpdir(), 'abaton-isolation-'));
  const servers: Server[] = [];
  const listen = async (where: object): Promise<Server> => {
    const server = createServer((socket) => socket.destroy()).listen(where);
    servers.push(server);
    await once(server, 'listening');
    return server;
  };
  try {
    const tcp = await listen({ host: '127.0.0.1', port: 0 });
    const path = join(folder, 'socket');
    const abstract = `\0abaton-${randomBytes(8).toString('hex')}`;
    await listen({ path });
    await listen({ path: abstract });
    const { port } = tcp.address() as AddressInfo;
    const report = await runProbe(isolation, {
      connect: [{ host: '127.0.0.1', port }, { path }, { path: abstract }],
      read: ['/etc/passwd'],
    });
    const open = Object.entries(report).filter(([, result]) => result === 'open');
    return open.length === 0 ? null : `open from inside: ${open.map(([what]) => JSON.stringify(what)).join(', ')}`;
  } catch (error) {
    return error instanceof Error ? error.message : 'unknown';
  } finally {
    for (const server of servers) server.close();
    await rm(folder, { recursive: true });
  }
}

export interface ProbeTargets {
  connect: ({ host: string; port: number } | { path: string })[];
  read?: string[];
  write?: string[];
}

/** Runs isolation-probe.ts in the isolation: per target 'open', or the code of the error. Throws when it cannot run. */
export async function runProbe(isolation: Isolation, targets: ProbeTargets): Promise<Record<string, string>> {
  const { file, args, env } = isolation.command('isolation-probe.ts', [JSON.stringify(targets)], 2 ** 30);
  const child = spawn(file, args, { env, stdio: ['ignore', 'pipe', 'pipe'], timeout: PROBE_MS, killSignal: 'SIGKILL' });
  const failed = new Promise<never>((_, reject) => child.once('error', reject));
  const [output, complaint] = await Promise.race([Promise.all([text(child.stdout), text(child.stderr)]), failed]);
  try {
    return JSON.parse(output);
  } catch {
    throw new Error(complaint.trim().split('\n')[0] || 'the probe gave no answer');
  }
}
