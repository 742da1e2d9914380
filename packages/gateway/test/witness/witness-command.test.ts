/** `abaton witness` as a process: ready in one line, cosigning over HTTP, ended by SIGTERM, and the same after `kill -9`. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parseVkey, verifyNote } from '@abaton/verify';
import { makeWitnessKey } from '../../src/witness/key-file.ts';
import { LetterLog, NAME, scratchDir, signersOf } from './support.ts';

const command = fileURLToPath(new URL('../../../cli/bin/abaton.mjs', import.meta.url));
const LOG = new LetterLog('abcdefghijklmnopqrstu');

async function start(t: TestContext, dir: string, ...more: string[]): Promise<{ child: ChildProcess; ready: Ready }> {
  const [vkey] = signersOf().map((signer) => signer.vkey);
  const files = ['--key', join(dir, 'key'), '--data-dir', join(dir, 'state')];
  const args = ['witness', ...files, '--log', vkey!, '--listen', '127.0.0.1:0', ...more];
  const child = spawn(process.execPath, [command, ...args], { stdio: ['ignore', 'pipe', 'ignore'] });
  t.after(() => child.kill('SIGTERM')); // the launcher passes it on
  const [line] = await once(createInterface(child.stdout!), 'line');
  return { child, ready: JSON.parse(line) };
}

interface Ready {
  url: string;
  vkeys: string[];
  visits: string[];
  pid: number;
}

const ask = (url: string, body: string) => fetch(`${url}/add-checkpoint`, { method: 'POST', body });

test('it cosigns, remembers over kill -9, and ends with exit code 0 at SIGTERM', async (t) => {
  const dir = scratchDir(t);
  const vkeys = await makeWitnessKey(join(dir, 'key'), NAME);
  const first = await start(t, dir, '--new');
  assert.deepEqual([first.ready.vkeys, first.ready.visits], [vkeys, []]);
  const cosigned = await ask(first.ready.url, LOG.request(0, 10));
  assert.equal(cosigned.status, 200);
  assert.equal(verifyNote(`${LOG.text(10)}\n${await cosigned.text()}`, vkeys.map(parseVkey)).signedBy.length, 2);
  process.kill(first.ready.pid, 'SIGKILL');
  await once(first.child, 'exit');
  const second = await start(t, dir);
  const late = await ask(second.ready.url, LOG.request(0, 12));
  assert.deepEqual([late.status, await late.text()], [409, '10\n']);
  assert.equal((await ask(second.ready.url, LOG.request(10, 12))).status, 200);
  second.child.kill('SIGTERM');
  assert.deepEqual(await once(second.child, 'exit'), [0, null]);
});
