#!/usr/bin/env node
// Finds Node 24 and runs the command on it: the node that runs this file if it is new enough, else the bundled one.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

function findNode24() {
  if (Number(process.versions.node.split('.')[0]) >= 24) return process.execPath;
  try {
    const bundled = createRequire(import.meta.url).resolve(
      `node-${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}/package.json`,
    );
    const node = bundled.replace(/package\.json$/, process.platform === 'win32' ? 'bin/node.exe' : 'bin/node');
    if (existsSync(node)) return node;
  } catch {}
  return null;
}

const node = findNode24();
if (!node) {
  console.error(
    `Abaton needs Node 24; this is Node ${process.versions.node}. Run \`npm start\` once in the checkout, or install Node 24.`,
  );
  process.exit(1);
}
const child = spawn(node, [fileURLToPath(new URL('../src/main.ts', import.meta.url)), ...process.argv.slice(2)], {
  stdio: 'inherit',
  // `npm run abaton` moves to the checkout; files are named from where the user is.
  cwd: process.env.npm_lifecycle_event === 'abaton' ? process.env.INIT_CWD : undefined,
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
child.on('exit', (code, signal) => {
  if (!signal) process.exit(code ?? 1);
  process.removeAllListeners(signal); // so that it ends this process too: whoever waits must not see a success
  process.kill(process.pid, signal);
});
