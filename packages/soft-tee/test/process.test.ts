/** The software TEE as its own process: ready line, control socket, what survives a restart, and its end. */
import assert from 'node:assert/strict';
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { suite, type TestContext, test } from 'node:test';
import { COMPOSE, scratch, send, start } from './harness.ts';

const MAIN = join(import.meta.dirname, '../src/main.ts');
type Child = ChildProcessByStdio<Writable, Readable, Readable>;

/** Starts it in `dir` and returns its ready line. */
async function launch(t: TestContext, dir: string, ...more: string[]) {
  await writeFile(join(dir, 'app-compose.json'), COMPOSE);
  const paths = [
    '--state',
    join(dir, 'state'),
    '--socket',
    join(dir, 'a.sock'),
    '--compose',
    join(dir, 'app-compose.json'),
  ];
  const child: Child = spawn(process.execPath, [MAIN, ...paths, ...more], { stdio: ['pipe', 'pipe', 'pipe'] });
  t.after(() => child.kill('SIGKILL'));
  const exited = once(child, 'close');
  const errors: Buffer[] = [];
  child.stderr.on('data', (chunk: Buffer) => errors.push(chunk));
  const [line] = await Promise.race([once(createInterface(child.stdout), 'line'), exited.then(() => ['null'])]);
  return { child, exited, errors, ready: JSON.parse(line) as Record<string, string> };
}

const mode = async (path: string) => (await stat(path)).mode & 0o777;

suite('soft-tee process', { timeout: 60_000 }, () => {
  test('prints one ready line, keeps root and keys over a restart, and ends with SIGTERM or its stdin', async (t) => {
    const dir = await scratch(t);
    const control = join(dir, 'c.sock');
    const first = await launch(t, dir, '--control', control, '--fault', 'agent-down');
    const { socket, rootSha256, codeHash, policyFile } = first.ready;
    assert.deepEqual(Object.keys(first.ready), ['socket', 'pccsUrl', 'rootSha256', 'codeHash', 'policyFile']);
    assert.deepEqual(JSON.parse(await readFile(policyFile!, 'utf8')).codeHashes, [codeHash]);
    const state = join(dir, 'state');
    assert.deepEqual(
      await Promise.all([state, join(state, 'install.json'), policyFile!, socket!, control].map(mode)),
      [0o700, 0o600, 0o600, 0o600, 0o600],
    );
    const key = async () => JSON.parse((await send(socket!, '/GetKey', '{"path":"v1"}')).text);
    assert.deepEqual(await key(), { error: 'Service unavailable' });
    assert.deepEqual(await send(control, '/fault', '{"name":null}').then(({ text }) => JSON.parse(text)), {
      name: null,
    });
    const before = await key();
    assert.equal(before.key.length, 64);
    first.child.kill('SIGTERM');
    assert.deepEqual(await first.exited, [0, null]);
    assert.ok(!existsSync(socket!) && !existsSync(control));

    const second = await launch(t, dir);
    assert.equal(second.ready.rootSha256, rootSha256);
    assert.deepEqual(await key(), before);
    second.child.stdin.end();
    assert.deepEqual(await second.exited, [0, null]);
  });

  test('takes over the socket of a killed process', async (t) => {
    const dir = await scratch(t);
    const { child, exited } = await launch(t, dir);
    child.kill('SIGKILL');
    await exited;
    assert.ok(existsSync(join(dir, 'a.sock')));
    assert.match((await launch(t, dir)).ready.codeHash!, /^sha256:/);
  });

  test('exits with 1 and a reason when it is called wrongly', async (t) => {
    for (const [args, reason] of [
      [['--fault', 'nonsense'], /fault must be null or one of tcb-revoked/],
      [['--pccs-port', 'x'], /usage/],
      [['--bogus'], /Unknown option/],
    ] as const) {
      const { exited, errors, ready } = await launch(t, await scratch(t), ...args);
      assert.equal(ready, null);
      assert.deepEqual(await exited, [1, null]);
      assert.match(Buffer.concat(errors).toString(), reason);
    }
  });
});

suite('soft-tee state', () => {
  test('is another one in another directory', async (t) => {
    const [a, b] = [await start(t), await start(t)];
    assert.notEqual(a.rootSha256, b.rootSha256);
  });

  test('keeps app id and keys over an upgrade of the compose, whose hash alone changes', async (t) => {
    const state = join(await scratch(t), 'state');
    const seen = [];
    for (const compose of [COMPOSE, COMPOSE.replace('{}', '{ new: {} }')]) {
      const tee = await start(t, { state, compose });
      const info = JSON.parse((await send(tee.socket, '/Info', '{}')).text);
      seen.push({ appId: info.app_id, key: (await send(tee.socket, '/GetKey', '{}')).text, codeHash: tee.codeHash });
    }
    assert.equal(seen[0]!.appId, seen[1]!.appId);
    assert.equal(seen[0]!.key, seen[1]!.key);
    assert.notEqual(seen[0]!.codeHash, seen[1]!.codeHash);
  });

  test('of a newer version is refused and left untouched', async (t) => {
    const state = await scratch(t);
    await writeFile(join(state, 'install.json'), '{"version":2}');
    await assert.rejects(start(t, { state }), /not of version 1/);
    assert.equal(await readFile(join(state, 'install.json'), 'utf8'), '{"version":2}');
  });

  test('a socket in use, and a file that is no socket, are left alone', async (t) => {
    const { socket } = await start(t);
    await assert.rejects(start(t, { socket }), /EADDRINUSE/);
    const file = join(await scratch(t), 'file');
    await writeFile(file, 'kept');
    await assert.rejects(start(t, { socket: file }), /EADDRINUSE/);
    assert.equal(await readFile(file, 'utf8'), 'kept');
  });

  test('the control socket refuses unknown faults, paths and methods', async (t) => {
    const control = join(await scratch(t), 'c.sock');
    await start(t, { control });
    for (const body of ['{"name":"nonsense"}', '{"name":"toString"}', '{}', 'x'])
      assert.equal((await send(control, '/fault', body)).status, 400, body);
    assert.equal((await send(control, '/other', '{"name":null}')).status, 404);
    assert.equal((await send(control, '/fault', null)).status, 404);
  });
});
