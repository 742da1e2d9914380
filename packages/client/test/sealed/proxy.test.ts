/** `connectSealed` in Node, through a proxy that ends TLS and reads bodies: what it can see, and what it can do. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { dicomwebRoutes } from '../../../server/src/http/dicomweb/routes.ts';
import { drawPhantom } from '../../../server/src/imaging/phantom.ts';
import { openHouse } from '../../../server/test/dicomweb/house.ts';
import { GRACE_MS, openSealedHouse, type SealedHouse } from '../../../server/test/http/sealed/sealed-house.ts';
import { connectSealed, NotVerifiedError, type SealedOptions } from '../../src/browser.ts';
import { sendFiles } from '../../src/index.ts';
import { findCanary, type ReadingProxy, startReadingProxy } from './reading-proxy.ts';
import { pieces } from './support.ts';

const DAY_MS = 24 * 60 * 60_000;
let archive: Awaited<ReturnType<typeof openHouse>>;
let house: SealedHouse;
let proxy: ReadingProxy;
const { NODE_TLS_REJECT_UNAUTHORIZED: outside } = process.env;

before(async () => {
  process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'; // a proxy has a certificate that its clients know; here they know none
  archive = await openHouse();
  house = await openSealedHouse((app) => {
    app.all('/echo/:name', async (c) => {
      const { headers } = c.req.raw;
      return c.body(await c.req.arrayBuffer(), 200, { 'x-back': `${c.req.param('name')} ${headers.get('x-patient')}` });
    });
    app.route('/', dicomwebRoutes(archive.deps));
  });
  proxy = await startReadingProxy(await house.anotherTlsKey(), house.port);
});
after(async () => {
  if (outside === undefined) delete process.env.NODE_TLS_REJECT_UNAUTHORIZED;
  else process.env.NODE_TLS_REJECT_UNAUTHORIZED = outside;
  await proxy.close();
  await Promise.all([house.close(), archive.close()]);
});
afterEach(() => {
  proxy.bendRequest = null;
  proxy.bendAnswer = null;
});

const connect = (more: Partial<SealedOptions> = {}) => connectSealed({ url: proxy.url, ...house.trust, ...more });
const get = { method: 'GET', path: '/echo/x' };

test('the proxy reads neither path, header fields, patient id nor bodies, in any form', async () => {
  const canary = `Canary-${randomUUID()}`;
  const request = { method: 'POST', path: `/echo/${canary}`, headers: { 'x-patient': canary } };
  const body = () => pieces(Buffer.from(canary), Buffer.alloc(100_000), Buffer.from(canary, 'utf16le'));
  for (const streamUploads of [false, true]) {
    const { verdict, request: send } = await connect({ streamUploads });
    assert.deepEqual([verdict.send, verdict.trust], ['synthetic-only', 'simulated']);
    assert.deepEqual(verdict.checks.find(({ id }) => id === 'channel')?.status, 'pass');
    const answer = await send({ ...request, body: body() });
    assert.deepEqual([answer.status, answer.headers['x-back']], [200, `${canary} ${canary}`]);
    const bytes = Buffer.from(await answer.bytes());
    assert.equal(bytes.length, 100_000 + canary.length * 3);
    assert.ok(bytes.includes(canary));
  }
  assert.deepEqual(findCanary(proxy.read, canary), []);
  // the search itself works: the same request as it would be without an envelope
  await fetch(proxy.url + request.path, { ...request, body: canary });
  assert.deepEqual(findCanary(proxy.read, canary), ['utf8']);
});

test('all that works over a verified connection works sealed: a study is sent, and the proxy does not see whose', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'abaton-sealed-study-'));
  t.after(() => rm(dir, { recursive: true }));
  const studyInstanceUid = `2.25.${BigInt(`0x${randomUUID().replaceAll('-', '')}`)}`;
  const file = join(dir, 'phantom.dcm');
  writeFileSync(file, drawPhantom({ studyInstanceUid, ageYears: 3, now: new Date() }));
  const answer = await sendFiles(await connect({ streamUploads: true }), [file]);
  assert.deepEqual(answer, { studies: [studyInstanceUid], stored: 1, failures: [] });
  assert.deepEqual(findCanary(proxy.read, studyInstanceUid), []);
});

test('what the proxy changes in a request is refused: it cannot say more than no', async () => {
  const { request } = await connect();
  proxy.bendRequest = (_, body) => Buffer.from(body).fill(body.at(-1)! ^ 1, body.length - 1);
  await assert.rejects(request(get), { code: 'SEALED_REFUSED', message: /400 \(SEALED_INVALID\)/ });
  proxy.bendRequest = (_, body) => body.subarray(0, -1);
  await assert.rejects(request(get), { code: 'SEALED_REFUSED', message: /400 \(SEALED_INVALID\)/ });
  const sent: Buffer[] = [];
  proxy.bendRequest = (_, body) => {
    sent.push(body);
    return sent[0]!;
  };
  assert.equal((await request(get)).status, 200);
  await assert.rejects(request(get), { code: 'SEALED_REFUSED', message: /409 \(SEALED_REPLAYED\)/ });
});

test('what the proxy changes in an answer, or makes up, is refused', async () => {
  const { request } = await connect();
  const read = async () => (await request(get)).bytes();
  proxy.bendAnswer = ({ body }) => ({ body: Buffer.from(body).fill(body[40]! ^ 1, 40, 41) });
  await assert.rejects(read, { code: 'SEALED_INVALID' });
  proxy.bendAnswer = ({ body }) => ({ body: body.subarray(0, -17) }); // the last chunk
  await assert.rejects(read, { code: 'SEALED_INVALID' });
  proxy.bendAnswer = () => ({ body: Buffer.from('{"stored":1}'), type: 'application/json' });
  await assert.rejects(read, { code: 'SEALED_REFUSED', message: 'Answered 200 outside the envelope.' });
  proxy.bendAnswer = () => ({ status: 502, body: Buffer.alloc(2 ** 20), type: 'text/html' });
  await assert.rejects(read, { code: 'SEALED_REFUSED', message: 'Answered 502 outside the envelope.' });
  const answered: Buffer[] = [];
  proxy.bendAnswer = ({ body }) => {
    answered.push(body);
    return { body: answered[0]! };
  };
  await read();
  await assert.rejects(read, { code: 'SEALED_INVALID' }, 'the answer to another request');
});

test('a key of the proxy in the evidence, or none, is refused, and nothing is sent', async () => {
  const count = proxy.read.length;
  const bend = (key: string | null) => {
    proxy.bendAnswer = ({ body }) => {
      const evidence = JSON.parse(String(body));
      evidence.reportData.hpkePublicKey = key;
      return { body: Buffer.from(JSON.stringify(evidence)) };
    };
  };
  const own = await openSealedHouse(() => {});
  const foreign = await own.keys.hpkePublicKey();
  await own.close();
  for (const key of [foreign, null]) {
    bend(key);
    await assert.rejects(connect(), (error) => {
      assert.ok(error instanceof NotVerifiedError);
      assert.match(error.message, /REPORT_DATA_MISMATCH/);
      return true;
    });
  }
  proxy.bendAnswer = () => ({ status: 503 });
  await assert.rejects(connect(), { code: 'EVIDENCE_UNAVAILABLE' });
  proxy.bendAnswer = () => ({ body: Buffer.alloc(5 * 2 ** 20, 0x20) });
  await assert.rejects(connect(), { code: 'ANSWER_INVALID' });
  await assert.rejects(connect({ url: proxy.url.replace('https', 'http') }), { code: 'URL_INVALID' });
  assert.doesNotMatch(String(Buffer.concat(proxy.read.slice(count))), /POST/);
});

test('after a rotation the client learns that it must verify anew, and then goes on', async () => {
  const { request } = await connect();
  house.clock.ms += DAY_MS;
  await connect(); // somebody asks for evidence, so a new key is there
  assert.equal((await request(get)).status, 200);
  house.clock.ms += GRACE_MS;
  await assert.rejects(request(get), { code: 'SEALED_KEY_UNKNOWN' });
  assert.equal((await (await connect()).request(get)).status, 200);
});

test('a server that is gone: the caller cannot know whether the request was taken', async () => {
  const { request } = await connect();
  proxy.bendAnswer = () => {
    throw new Error('cut');
  };
  await assert.rejects(request(get), { code: 'CONNECTION_LOST' });
});
