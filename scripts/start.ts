/**
 * `npm start`: the whole path on this machine. A software TEE (SIMULATED) and the server start as processes of their
 * own; one study is verified-then-sent, analysed, and its finding and proof are printed. Then it keeps serving.
 *
 *   npm start                    a phantom that the project draws itself
 *   npm start -- path/to/dicom   your own files: never a real patient's
 *   npm start -- --once          exits after the study
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdirSync, openSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { ConfigurationError, parsePolicy, UnavailableError } from '@abaton/verify';
import { analyze, listFiles, renderReport } from '../packages/cli/src/analyze-command.ts';
import { exitCodeOf, messageOf } from '../packages/cli/src/exit.ts';
import { type Config, loadConfig } from '../packages/server/src/config.ts';
import { drawPhantom } from '../packages/server/src/imaging/phantom.ts';

const USAGE = 'Usage: npm start -- [--once] [FILE or FOLDER]…';
const root = fileURLToPath(new URL('..', import.meta.url));
const running: ChildProcess[] = [];
let stopping = false;

/** Ends the server before the TEE that it asks, and resolves when both are gone. */
async function stopAll(): Promise<void> {
  stopping = true;
  for (const child of running.splice(0).reverse()) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill('SIGTERM');
    await new Promise((resolve) => child.once('exit', resolve));
  }
}

/** Starts a process of ours and reads the one JSON line that says it is ready. It ends with us: its stdin closes. */
async function startProcess(
  name: string,
  file: string,
  argv: string[],
  env: NodeJS.ProcessEnv,
  logFile: string,
): Promise<Record<string, string>> {
  const log = openSync(logFile, 'a', 0o600);
  const loggedBytes = statSync(logFile).size;
  const child = spawn(process.execPath, ['--disable-sigusr1', join(root, file), ...argv], {
    stdio: ['pipe', 'pipe', log],
    env,
  });
  running.push(child);
  const ready = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout! }).once('line', resolve);
    child.once('exit', (code) => {
      const said = readFileSync(logFile)
        .subarray(loggedBytes)
        .toString()
        .split('\n')
        .filter((line) => line && !line.startsWith('{'));
      const Failure = code === 1 ? ConfigurationError : UnavailableError;
      reject(new Failure('START_FAILED', `${name} ended with code ${code}. ${said.join(' ')}`));
    });
  });
  child.once('exit', (code, signal) => {
    if (stopping) return;
    console.error(`${name} ended unexpectedly (${signal ?? code}). Its log: ${logFile}`);
    void stopAll().then(() => process.exit(2));
  });
  return JSON.parse(ready);
}

/** A fresh study each time, so that each start shows a whole run; synthetic, and labelled so in the file itself. */
function writePhantom(file: string): string {
  const studyInstanceUid = `2.25.${BigInt(`0x${randomUUID().replaceAll('-', '')}`)}`; // PS3.5 B.2: a UUID as UID
  writeFileSync(file, drawPhantom({ studyInstanceUid, ageYears: 4, now: new Date() }));
  return file;
}

function parseArguments(): { once: boolean; paths: string[] } {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: { once: { type: 'boolean', default: false } },
    });
    return { once: values.once, paths: positionals };
  } catch (cause) {
    throw new ConfigurationError('USAGE', USAGE, { cause });
  }
}

function prepareDirectory({ dataDir }: Config): void {
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new ConfigurationError(
      'SETTING_INVALID',
      'ABATON_DATA_DIR must name a directory that can be made and written.',
      { cause },
    );
  }
}

async function main(): Promise<void> {
  const { once, paths } = parseArguments();
  const config = loadConfig();
  const own = paths.length > 0 ? listFiles(paths) : null;
  prepareDirectory(config);
  // The software TEE's seed and keys stand beside the data directory, not in it: a stolen disk must not open itself.
  const beside = (name: string) => `${config.dataDir}.${name}`;

  console.log(
    'Abaton. Software TEE: SIMULATED, not a TEE. Send synthetic data only; nothing here is for clinical use.\n',
  );
  const softTee = await startProcess(
    'The software TEE',
    'packages/soft-tee/src/main.ts',
    [
      '--state',
      beside('soft-tee'),
      '--socket',
      join(beside('soft-tee'), 'dstack.sock'),
      '--compose',
      join(root, 'deploy/dev/app-compose.json'),
    ],
    process.env,
    beside('soft-tee.log'),
  );
  const { socket, pccsUrl, rootSha256, codeHash, policyFile } = softTee as Record<
    'socket' | 'pccsUrl' | 'rootSha256' | 'codeHash' | 'policyFile',
    string
  >;
  const env = {
    ...process.env,
    ABATON_DATA_DIR: config.dataDir,
    DSTACK_SIMULATOR_ENDPOINT: socket,
    PCCS_URL: pccsUrl,
    ABATON_SIMULATED_ROOT_SHA256: rootSha256,
  };
  const server = await startProcess(
    'The server',
    'packages/server/src/main.ts',
    ['--end-with-stdin'],
    env,
    beside('server.log'),
  );
  const url = server.url!;

  if (own)
    console.log('Your own files: they must not be a real patient’s. This TEE is simulated and protects nothing.\n');
  const files = own ?? [writePhantom(beside('phantom.dcm'))];
  const policy = parsePolicy(JSON.parse(readFileSync(policyFile, 'utf8')));
  console.log(renderReport(await analyze(files, { url, policy, acceptedRootsSha256: [rootSha256] })));
  if (once) return stopAll();

  const trust = `--code-hash ${codeHash} \\\n    --policy ${policyFile} \\\n    --accept-simulated ${rootSha256}`;
  const sample = own ? paths.join(' ') : files.join(' ');
  console.log(
    `Serving at ${url} until Ctrl-C. In another terminal:\n\n  npm run -s abaton -- verify ${url} ${trust}\n\n  npm run -s abaton -- analyze ${sample} --url ${url} ${trust}\n\nState: ${config.dataDir}\nLog:   ${beside('server.log')}`,
  );
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.on(signal, () => void stopAll().then(() => process.exit(0)));
// npm ends without a word to us when it is told to: then our parent is another.
const parent = process.ppid;
setInterval(() => {
  if (process.ppid !== parent && !stopping) void stopAll().then(() => process.exit(0));
}, 500).unref();

try {
  await main();
} catch (error) {
  console.error(messageOf(error));
  await stopAll();
  process.exitCode = exitCodeOf(error);
}
