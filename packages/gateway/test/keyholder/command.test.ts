/** The command, as a process: alone, killed, and as a role of the gateway; with a policy that an officer has signed. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type CustomerServer, startCustomerServer } from './customer-server.ts';
import { waitFor } from './running.ts';
import { makePlace, type Place, SUBJECT } from './support.ts';

/** Not the launcher, which would be killed in its stead. */
const command = fileURLToPath(new URL('../../../cli/src/main.ts', import.meta.url));
const OFFICER = 'officer.example/anna';

let server: CustomerServer;
let place: Place;
let trust: string[];
const children: ChildProcess[] = [];
before(async () => {
  server = await startCustomerServer();
  place = await makePlace();
  server.vkey = place.vkey;
  const [key, policy] = [join(place.root, 'officer.pem'), join(place.root, 'policy.json')];
  writeFileSync(policy, JSON.stringify(server.attested.tee.policy));
  const officer = abaton('policy', 'key', key, '--name', OFFICER).trim();
  abaton('policy', 'sign', policy, '--key', key, '--name', OFFICER);
  const { url, acceptedRootsSha256 } = server.trust();
  trust = ['--url', url, '--policy', policy, '--officer', officer, '--accept-simulated', acceptedRootsSha256![0]!];
});
after(async () => {
  for (const child of children) child.kill('SIGKILL');
  await server.close();
  place.remove();
});

function abaton(...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(process.execPath, [command, ...args], { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  return stdout;
}

async function start(...args: string[]): Promise<{ child: ChildProcess; said: () => string }> {
  const child = spawn(process.execPath, [command, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  children.push(child);
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (said += chunk));
  return { child, said: () => said };
}

const ended = async (child: ChildProcess, signal: 'SIGTERM' | 'SIGKILL'): Promise<unknown[]> => {
  const exit = once(child, 'exit');
  child.kill(signal);
  return exit;
};

test('killed before it has its answer, started again as a gateway, and ended: one share for one epoch', async () => {
  const alone = ['keyholder', ...trust, '--dir', place.dir, '--key', place.keyFile, '--subject', SUBJECT];
  const first = await start(...alone);
  server.wishes.wanted = 1;
  server.beforeAnswer = () => {
    first.child.kill('SIGKILL');
    throw new Error('no answer');
  };
  await once(first.child, 'exit');
  const { share } = server.told[0]!;
  server.beforeAnswer = () => {};

  const role = ['--data-dir', join(place.root, 'gateway'), '--listen', '127.0.0.1:0', '--keyholder-dir', place.dir];
  const gateway = await start('gateway', ...trust, ...role, '--keyholder-key', place.keyFile);
  await waitFor('epoch 1', () => server.wishes.wanted === null);
  assert.deepEqual(server.told.at(-1), { epoch: 1, share });
  assert.deepEqual(await ended(gateway.child, 'SIGTERM'), [0, null]);

  server.wishes.wanted = 2;
  const second = await start(...alone);
  await waitFor('epoch 2', () => server.wishes.wanted === null);
  server.wishes.retired = [1];
  await waitFor('epoch 1 destroyed', () => (server.wishes.retired as number[]).length === 0);
  assert.equal(abaton('keyholder', 'status', '--dir', place.dir), 'epoch 1: destroyed\nepoch 2: held\n');
  assert.deepEqual(JSON.parse(abaton('keyholder', 'status', '--dir', place.dir, '--json')), {
    epochs: [
      { epoch: 1, state: 'destroyed' },
      { epoch: 2, state: 'held' },
    ],
  });
  assert.deepEqual(await ended(second.child, 'SIGTERM'), [0, null]);
  assert.equal(JSON.parse(second.said().split('\n')[0]!).vkey, place.vkey);
  const all = [first, gateway, second].map(({ said }) => said()).join('');
  for (const { share } of server.told) assert.ok(share === null || !all.includes(share));
  assert.ok(!all.includes(/^sign (\S+)$/m.exec(readFileSync(place.keyFile, 'utf8'))![1]!));
});

test('a policy whose signature is of another text: refused before anybody is asked', async () => {
  const policy = trust[3]!;
  const text = readFileSync(policy, 'utf8');
  writeFileSync(policy, text.replace('"version":1', '"version": 1'));
  const { length } = server.requests;
  const args = ['keyholder', ...trust, '--dir', place.dir, '--key', place.keyFile];
  const { status, stderr } = spawnSync(process.execPath, [command, ...args], { encoding: 'utf8' });
  writeFileSync(policy, text);
  assert.deepEqual([status, /POLICY_(UNSIGNED|INVALID)|SIGNATURE/.test(stderr)], [3, true], stderr);
  assert.equal(server.requests.length, length);
});
