/**
 * `npm start`: the whole path on this machine. A software TEE (SIMULATED) and the server start as processes of their
 * own; one study is verified-then-sent, analysed, and its finding and proof are printed. Then it keeps serving.
 *
 *   npm start                    a phantom that the project draws itself
 *   npm start -- path/to/dicom   your own files: never a real patient's
 *   npm start -- --once          exits after the study
 */
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parsePolicy } from '@abaton/verify';
import { analyze, listFiles, renderReport } from '../packages/cli/src/analyze-command.ts';
import { exitCodeOf, messageOf } from '../packages/cli/src/exit.ts';
import { loadConfig } from '../packages/server/src/config.ts';
import { drawPhantom } from '../packages/server/src/imaging/phantom.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const args = process.argv.slice(2);
const once = args.includes('--once');
const paths = args.filter((arg) => arg !== '--once');

/** Starts a process of ours and reads the one JSON line that says it is ready. */
async function startProcess(
  file: string,
  argv: string[],
  env: NodeJS.ProcessEnv,
  logFile: string,
): Promise<{ ready: Record<string, string>; stop(): Promise<void> }> {
  const child = spawn(process.execPath, ['--disable-sigusr1', join(root, file), ...argv], {
    stdio: ['pipe', 'pipe', openSync(logFile, 'a', 0o600)],
    env,
  });
  const exited = new Promise<void>((resolve) => child.on('exit', () => resolve()));
  const ready = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout! }).once('line', resolve);
    child.on('exit', (code) =>
      reject(
        new Error(
          `${file} ended with code ${code}. Its log: ${logFile}\n${readFileSync(logFile, 'utf8').split('\n').slice(-4).join('\n')}`,
        ),
      ),
    );
  });
  return {
    ready: JSON.parse(ready),
    stop() {
      child.kill('SIGTERM');
      return exited;
    },
  };
}

/** A fresh study each time, so that each start shows a whole run; synthetic, and labelled so in the file itself. */
function writePhantom(): { files: string[]; clean(): void } {
  const folder = mkdtempSync(join(tmpdir(), 'abaton-phantom-'));
  const file = join(folder, 'phantom.dcm');
  const uid = `2.25.${BigInt(`0x${randomUUID().replaceAll('-', '')}`)}`; // PS3.5 B.2: a UUID as UID
  writeFileSync(file, drawPhantom({ studyInstanceUid: uid, ageYears: 4, now: new Date() }));
  return { files: [file], clean: () => rmSync(folder, { recursive: true, force: true }) };
}

const config = loadConfig();
// The software TEE's seed and keys stand beside the data directory, not in it: a stolen disk must not open itself.
const softTeeDir = `${config.dataDir}.soft-tee`;
const logFile = (name: string) => `${config.dataDir}.${name}.log`;
mkdirSync(dirname(config.dataDir), { recursive: true });

const running: { stop(): Promise<void> }[] = [];
const stopAll = async () => {
  for (const process of running.splice(0).reverse()) await process.stop();
};
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.on(signal, () => void stopAll().then(() => process.exit(0)));

try {
  console.log('Abaton. Software TEE: SIMULATED, not a TEE. Synthetic data only; nothing here is for clinical use.\n');
  const softTee = await startProcess(
    'packages/soft-tee/src/main.ts',
    [
      '--state',
      softTeeDir,
      '--socket',
      join(softTeeDir, 'dstack.sock'),
      '--compose',
      join(root, 'deploy/dev/app-compose.json'),
    ],
    process.env,
    logFile('soft-tee'),
  );
  running.push(softTee);
  const { socket, pccsUrl, rootSha256, codeHash, policyFile } = softTee.ready as Record<
    'socket' | 'pccsUrl' | 'rootSha256' | 'codeHash' | 'policyFile',
    string
  >;
  const server = await startProcess(
    'packages/server/src/main.ts',
    [],
    {
      ...process.env,
      ABATON_DATA_DIR: config.dataDir,
      DSTACK_SIMULATOR_ENDPOINT: socket,
      PCCS_URL: pccsUrl,
      ABATON_SIMULATED_ROOT_SHA256: rootSha256,
    },
    logFile('server'),
  );
  running.push(server);
  const url = server.ready.url!;

  if (paths.length > 0)
    console.log('Your own files: they must not be a real patient’s. This TEE is simulated and protects nothing.\n');
  const sample = paths.length > 0 ? { files: listFiles(paths), clean: () => {} } : writePhantom();
  const policy = parsePolicy(JSON.parse(readFileSync(policyFile, 'utf8')));
  const report = await analyze(sample.files, { url, policy, acceptSimulatedRootSha256: rootSha256 }).finally(
    sample.clean,
  );
  console.log(renderReport(report));

  if (once) await stopAll();
  else {
    const trust = `--code-hash ${codeHash} \\\n    --policy ${policyFile} \\\n    --accept-simulated ${rootSha256}`;
    console.log(
      `Serving at ${url} until Ctrl-C. In another terminal:\n\n  npm run -s abaton -- verify ${url} ${trust}\n\n  npm run -s abaton -- analyze path/to/dicom --url ${url} ${trust}\n\nLogs: ${logFile('server')}`,
    );
  }
} catch (error) {
  console.error(messageOf(error));
  await stopAll();
  process.exit(exitCodeOf(error));
}
