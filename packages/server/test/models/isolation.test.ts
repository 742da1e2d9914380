/** From inside a model process, nothing of the outside can be reached: namespaces(7), unix(7), capabilities(7). */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ConfigurationError } from '@abaton/verify';
import { detectIsolation, noIsolation, requireIsolation, runProbe } from '../../src/models/isolation.ts';
import { CHECKOUT } from './fixtures.ts';

const isolation = await detectIsolation();
const open = noIsolation('asked for');
const skip = isolation.level === 'none' && process.env.REQUIRE_SYSTEM !== '1' ? isolation.reason : false;

async function listen(t: TestContext, where: object): Promise<AddressInfo | string | null> {
  const server = createServer((socket) => socket.destroy()).listen(where);
  await once(server, 'listening');
  t.after(() => server.close());
  return server.address();
}

const folder = (t: TestContext, parent: string): string => {
  const path = mkdtempSync(join(parent, 'abaton-isolation-'));
  t.after(() => rmSync(path, { recursive: true }));
  return path;
};

test('this machine isolates model processes', { skip }, () => {
  assert.equal(isolation.level, 'namespaces', isolation.reason);
});

test('connect fails for IPv4, IPv6 and unix sockets, and works for the same process without isolation', {
  skip,
}, async (t) => {
  const tmp = folder(t, tmpdir());
  const inCheckout = folder(t, join(CHECKOUT, 'packages', 'server', 'test', 'models'));
  const v4 = (await listen(t, { host: '127.0.0.1', port: 0 })) as AddressInfo;
  const v6 = (await listen(t, { host: '::1', port: 0 }).catch(() => null)) as AddressInfo | null;
  const unix = [join(tmp, 's'), join(inCheckout, 's'), `\0abaton-test-${randomBytes(8).toString('hex')}`];
  for (const path of unix) await listen(t, { path });
  const connect = [
    { host: '127.0.0.1', port: v4.port },
    ...(v6 ? [{ host: '::1', port: v6.port }] : []),
    ...unix.map((path) => ({ path })),
  ];

  const outside = await runProbe(open, { connect });
  assert.deepEqual([...new Set(Object.values(outside))], ['open'], 'the targets do listen');
  const inside = await runProbe(isolation, { connect: [...connect, { host: '192.0.2.1', port: 443 }] });
  assert.equal(Object.keys(inside).length, connect.length + 1);
  for (const [target, result] of Object.entries(inside))
    assert.match(result, /^(ENETUNREACH|EADDRNOTAVAIL|ENOENT|ECONNREFUSED)$/, target);
});

test('the data directory, /etc, /proc and the environment cannot be read, and nothing can be written', {
  skip,
}, async (t) => {
  const data = folder(t, tmpdir());
  const secret = join(data, 'blob');
  writeFileSync(secret, 'ciphertext');
  const code = '/app/packages/server/src/models/child.ts';
  const read = [
    secret,
    '/etc/passwd',
    '/proc/self/environ',
    '/proc/1/status',
    '/dev/null',
    join(CHECKOUT, 'package.json'),
  ];
  const write = [secret, '/x', '/tmp/x', '/app/x', code, '/node'];
  const inside = await runProbe(isolation, { connect: [], read: [...read, code], write });
  for (const path of read) assert.equal(inside[`read ${path}`], 'ENOENT', path);
  assert.equal(inside[`read ${code}`], 'open', 'its own code is there');
  for (const path of write) assert.match(inside[`write ${path}`] ?? '', /^(EROFS|ENOENT|EACCES|ETXTBSY)$/, path);
  assert.equal((await runProbe(open, { connect: [], read: [secret] }))[`read ${secret}`], 'open');
});

test('it has no capability, may not gain one, and is in namespaces of its own', { skip }, async (t) => {
  const { file, args, env } = isolation.command('child.ts', [], 2 ** 30);
  const outer = spawn(file, args, { env: { ...env }, stdio: ['pipe', 'ignore', 'ignore'] });
  t.after(() => outer.kill('SIGKILL'));
  let inner = '';
  for (let i = 0; i < 200 && !inner; i++) {
    await sleep(25); // it waits for its settings on standard input
    const [child = ''] = readFileSync(`/proc/${outer.pid}/task/${outer.pid}/children`, 'latin1').split(' ');
    if (child && readFileSync(`/proc/${child}/cmdline`, 'latin1').startsWith('/node\0')) inner = child;
  }
  const status = readFileSync(`/proc/${inner}/status`, 'latin1');
  for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'])
    assert.match(status, new RegExp(`^${set}:\\t0{16}$`, 'm'));
  assert.match(status, /^NoNewPrivs:\t1$/m);
  for (const kind of ['net', 'mnt', 'pid', 'ipc', 'uts'])
    assert.notEqual(readlinkSync(`/proc/${inner}/ns/${kind}`), readlinkSync(`/proc/self/ns/${kind}`), kind);
  assert.equal(readFileSync(`/proc/${inner}/environ`, 'latin1'), '', 'no variable is inherited');
});

test('the process goes when the server is killed', { skip }, async (t) => {
  const { file, args, env } = isolation.command('child.ts', [], 2 ** 30);
  // A stand-in for the server that leaves no pipe of its own to close: only the parent-death signal ends the child.
  const script = `const { spawn } = require('node:child_process');
    const child = spawn(${JSON.stringify(file)}, ${JSON.stringify(args)}, { env: ${JSON.stringify(env)}, stdio: ['inherit', 'ignore', 'ignore'] });
    console.log(child.pid); setInterval(() => {}, 1000);`;
  const server = spawn(process.execPath, ['-e', script], { stdio: ['pipe', 'pipe', 'ignore'] });
  t.after(() => server.kill('SIGKILL'));
  const [line] = await once(server.stdout, 'data');
  const pid = Number(String(line));
  await sleep(300);
  process.kill(pid, 0);
  server.kill('SIGKILL');
  for (let i = 0; i < 200; i++) {
    await sleep(25);
    try {
      if (/^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'))) return; // nobody reaps it in this container
    } catch {
      return;
    }
  }
  assert.fail('the model process outlived its server');
});

test('without isolation a hardware TEE is refused, a simulated one is not', () => {
  assert.throws(
    () => requireIsolation(open, false),
    (error) => error instanceof ConfigurationError && error.code === 'ISOLATION_UNAVAILABLE',
  );
  requireIsolation(open, true);
  requireIsolation({ ...open, level: 'namespaces' }, false);
});
