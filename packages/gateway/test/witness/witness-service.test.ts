/** The HTTP face: add-checkpoint, the newest checkpoint for monitors, and nothing else; with TLS, without, and under abuse. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { connect } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { parseVkey, verifyNote } from '@abaton/verify';
import { createLogger } from '../../src/log.ts';
import { originHash } from '../../src/witness/heads.ts';
import { startWitnessService } from '../../src/witness/witness-service.ts';
import { cosignedAt, LetterLog, newWitness, ORIGIN, scratchDir, signersOf } from './support.ts';

const LOG = new LetterLog('abcdefghijklmnopqrstu');

async function start(t: TestContext, options: { patienceMs?: number } = {}) {
  const { witness } = await newWitness(t);
  const logger = createLogger(() => {});
  const listener = await startWitnessService({ witness, logger, host: '127.0.0.1', port: 0, tls: null, ...options });
  t.after(() => listener.close());
  const url = `http://127.0.0.1:${listener.port}`;
  const post = (body: string | Uint8Array<ArrayBuffer>, path = '/add-checkpoint') =>
    fetch(`${url}${path}`, { method: 'POST', body });
  return { witness, url, post, port: listener.port };
}

test('POST /add-checkpoint answers status, type and body as the witness has them', async (t) => {
  const { witness, post } = await start(t);
  const good = await post(LOG.request(0, 10));
  assert.deepEqual([good.status, good.headers.get('content-type')], [200, 'text/plain; charset=utf-8']);
  cosignedAt(LOG.text(10), await good.text(), witness);
  const conflict = await post(LOG.request(0, 12));
  assert.deepEqual([conflict.status, conflict.headers.get('content-type')], [409, 'text/x.tlog.size']);
  assert.equal(await conflict.text(), '10\n');
  assert.equal((await post(LOG.request(10, 12).replace('old 10\n', 'old 10\nx\n'))).status, 400);
  assert.equal((await post(LOG.request(10, 12).replaceAll(ORIGIN, 'else.example'))).status, 404);
});

test('GET /<origin hash>/checkpoint: signatures of the log and the cosignatures that were given; 404 before', async (t) => {
  const { witness, url, post } = await start(t);
  const read = () => fetch(`${url}/${originHash(ORIGIN)}/checkpoint`);
  assert.equal((await read()).status, 404);
  const cosignatures = await (await post(LOG.request(0, 10))).text();
  const note = await (await read()).text();
  assert.ok(note.endsWith(cosignatures));
  const keys = [...signersOf().map(({ vkey }) => vkey), ...witness.vkeys].map(parseVkey);
  assert.equal(verifyNote(note, keys).signedBy.length, 4);
});

test('everything else is 404', async (t) => {
  const { url, post } = await start(t);
  await post(LOG.request(0, 10));
  const hash = originHash(ORIGIN);
  for (const path of ['/', '/add-checkpoint', `/${hash}`, `/${hash.toUpperCase()}/checkpoint`, `/${hash}/checkpoint/`])
    assert.equal((await fetch(`${url}${path}`)).status, 404, path);
  for (const path of ['/', '/add-checkpoint/', '/add-checkpoint?x', '/sign-subtree', `/${hash}/checkpoint`])
    assert.equal((await post('old 0\n', path)).status, 404, path);
  assert.equal((await fetch(`${url}/${hash}/checkpoint`, { method: 'DELETE' })).status, 404);
});

test('a body that is too long, not UTF-8, or never ends is refused, and the next request is served', async (t) => {
  const { post, port } = await start(t, { patienceMs: 200 });
  assert.equal((await post(`old 0\n${'A'.repeat(44)}\n`.repeat(100_000))).status, 413);
  assert.equal((await post(Uint8Array.of(0x6f, 0x6c, 0x64, 0xff))).status, 400);
  const socket = connect(port, '127.0.0.1');
  socket.write(`POST /add-checkpoint HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\ncontent-length: 100\r\n\r\nold`);
  await new Promise((resolve) => socket.once('close', resolve).resume()); // cut
  assert.equal((await post(LOG.request(0, 10))).status, 200);
});

test('connections are kept alive', async (t) => {
  const { post, port } = await start(t);
  await post(LOG.request(0, 10));
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  t.after(() => agent.destroy());
  const ask = () =>
    new Promise<boolean>((resolve, reject) => {
      const request = http.get(`http://127.0.0.1:${port}/${originHash(ORIGIN)}/checkpoint`, { agent }, (response) => {
        response.resume().once('end', () => resolve(request.reusedSocket));
      });
      request.once('error', reject);
    });
  assert.deepEqual([await ask(), await ask()], [false, true]);
});

test('a page in a browser does not get in; plain HTTP does not leave this machine', async (t) => {
  const { witness, url } = await start(t);
  const asPage = await fetch(`${url}/add-checkpoint`, { method: 'POST', headers: { origin: 'https://evil.example' } });
  assert.equal(asPage.status, 403);
  const logger = createLogger(() => {});
  await assert.rejects(startWitnessService({ witness, logger, host: '0.0.0.0', port: 0, tls: null }), {
    code: 'LISTEN_REFUSED',
  });
});

const openssl = spawnSync('openssl', ['version']).status === 0;
if (!openssl && process.env.REQUIRE_SYSTEM === '1') throw new Error('needs openssl: run scripts/system-deps.sh');
const skip = openssl ? false : 'needs openssl: run scripts/system-deps.sh';

test('with a certificate it answers over TLS', { skip }, async (t) => {
  const dir = scratchDir(t);
  const [key, cert] = [join(dir, 'tls.key'), join(dir, 'tls.crt')];
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
  const args = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1'];
  execFileSync('openssl', [...args, '-keyout', key, '-out', cert, ...subject], { stdio: 'ignore' });
  const { witness } = await newWitness(t);
  const tls = { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') };
  const logger = createLogger(() => {});
  const listener = await startWitnessService({ witness, logger, host: '127.0.0.1', port: 0, tls });
  t.after(() => listener.close());
  const status = await new Promise((resolve, reject) => {
    const to = { host: '127.0.0.1', servername: 'localhost', port: listener.port, ca: tls.cert, agent: false as const };
    const request = https.request(
      { ...to, method: 'POST', path: '/add-checkpoint', headers: { host: `localhost:${listener.port}` } },
      (response) => resolve(response.resume().statusCode),
    );
    request.once('error', reject).end(LOG.request(0, 10));
  });
  assert.equal(status, 200);
});
