/** bin/abaton.mjs: finds Node 24 whatever runs it, and ends as the command ends. */
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { test } from 'node:test';

const LAUNCHER = join(import.meta.dirname, '../bin/abaton.mjs');
const AN_HASH = 'ab'.repeat(32);

/** A Node of the machine that is older than 24. */
const olderNode = (process.env.PATH ?? '')
  .split(delimiter)
  .map((folder) => join(folder, 'node'))
  .find((path) => existsSync(path) && Number(/^v(\d+)/.exec(version(path))?.[1]) < 24);

function version(node: string): string {
  try {
    return execFileSync(node, ['--version'], { encoding: 'utf8' });
  } catch {
    return '';
  }
}

const launch = (node: string, launcher: string, ...args: string[]) => {
  const { status, stdout, stderr } = spawnSync(node, [launcher, ...args], { encoding: 'utf8' });
  return { status, stdout, stderr };
};

test('an older Node runs the command on the Node 24 that came with it', (t) => {
  if (!olderNode) return t.skip('needs a Node older than 24 in PATH');
  assert.match(launch(olderNode, LAUNCHER, '--help').stdout, /^Usage: abaton/);
  assert.deepEqual(launch(olderNode, LAUNCHER, 'verify', 'http://x', '--code-hash', AN_HASH, '--json'), {
    status: 1,
    stdout: `{"error":{"code":"URL_INVALID","message":"The address must be an https: URL, such as https://localhost:8443."}}\n`,
    stderr: '',
  });
});

test('without any Node 24 it says what to do', (t) => {
  if (!olderNode) return t.skip('needs a Node older than 24 in PATH');
  const elsewhere = mkdtempSync(join(tmpdir(), 'abaton-launcher-'));
  t.after(() => rmSync(elsewhere, { recursive: true }));
  copyFileSync(LAUNCHER, join(elsewhere, 'abaton.mjs'));
  const { status, stdout, stderr } = launch(olderNode, join(elsewhere, 'abaton.mjs'), '--help');
  assert.deepEqual([status, stdout], [1, '']);
  assert.match(stderr, /^Abaton needs Node 24; this is Node \d+\.\d+\.\d+\. Run `npm start` once in the checkout/);
});

for (const signal of ['SIGTERM', 'SIGINT'] as const)
  test(`${signal} ends the command and is what the launcher dies of`, { timeout: 60_000 }, async (t) => {
    const server = createServer((socket) => socket.on('error', () => {}).resume()).listen(0, '127.0.0.1'); // never answers
    t.after(() => server.close());
    await once(server, 'listening');
    const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const child = spawn(process.execPath, [LAUNCHER, 'verify', url, '--code-hash', AN_HASH], { stdio: 'ignore' });
    const [socket] = await once(server, 'connection');
    const closed = once(socket, 'close');
    child.kill(signal);
    assert.deepEqual(await once(child, 'exit'), [null, signal]);
    await closed; // the command itself is gone too
  });

test('abaton serve ends with the code of the server', () => {
  const { status, stderr } = spawnSync(process.execPath, [LAUNCHER, 'serve'], {
    encoding: 'utf8',
    env: { ...process.env, ABATON_PORT: 'https' },
  });
  assert.equal(status, 1);
  assert.match(stderr, /^SETTING_INVALID: ABATON_PORT must be a port number/);
});
