/**
 * The software TEE as a process:
 * `node main.ts --state DIR --socket PATH --compose FILE [--fault NAME] [--pccs-port N] [--control PATH]`.
 * One JSON line on stdout when it is ready; it stays until SIGTERM, SIGINT or the end of its standard input, so that it
 * never outlives the process that started it.
 */
import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { parseFault } from './faults.ts';
import { startSoftTee } from './index.ts';

const USAGE = 'main.ts --state DIR --socket PATH --compose FILE [--fault NAME] [--pccs-port N] [--control PATH]';

async function main(): Promise<void> {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    options: { state: text, socket: text, compose: text, fault: text, 'pccs-port': text, control: text },
  });
  const { state, socket, compose, fault, control } = values;
  const port = values['pccs-port'] ?? '0';
  if (!state || !socket || !compose || !/^\d{1,5}$/.test(port)) throw new TypeError(`usage: ${USAGE}`);
  const tee = await startSoftTee({
    state,
    socket,
    compose: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(await readFile(compose)),
    fault: parseFault(fault ?? null),
    pccsPort: Number(port),
    ...(control ? { control } : {}),
  });
  const { pccsUrl, rootSha256, codeHash, policyFile } = tee;
  process.stdout.write(`${JSON.stringify({ socket, pccsUrl, rootSha256, codeHash, policyFile })}\n`);
  const stop = async () => {
    await tee.close();
    process.exit(0);
  };
  process.once('SIGTERM', stop).once('SIGINT', stop);
  process.stdin.once('end', stop).once('error', stop).resume();
}

main().catch((error: Error) => {
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
});
