/**
 * A page in Chromium verifies a server and seals its requests to the key of the evidence, through a proxy that ends TLS and
 * reads everything; the server is a real door with a software TEE behind it.
 */
import assert from 'node:assert/strict';
import { createHash, randomUUID, X509Certificate } from 'node:crypto';
import { after, before, test } from 'node:test';
import { findCanary, type ReadingProxy, startReadingProxy } from '../../packages/client/test/sealed/reading-proxy.ts';
import { GRACE_MS, openSealedHouse, type SealedHouse } from '../../packages/server/test/http/sealed/sealed-house.ts';
import { CALL_MS, type Chromium, launchChromium, START_MS, skip } from './browser.ts';
import { bundle } from './bundle.ts';
import type { Outcome, Task } from './sealed-page.ts';
import { decode, encode } from './wire.ts';

const DAY_MS = 24 * 60 * 60_000;
const POLICY =
  "default-src 'none'; script-src 'self'; connect-src 'self'; require-trusted-types-for 'script'; trusted-types 'none'";
const PAGE = '<!doctype html><title>test</title><script type="module" src="/page.js"></script>';

let house: SealedHouse;
let proxy: ReadingProxy;
let chromium: Chromium;
let asked = Promise.withResolvers<(question: string) => void>();
let answered = Promise.withResolvers<string>();

before(async () => {
  if (skip) return;
  const script = await bundle(new URL('sealed-page.ts', import.meta.url));
  house = await openSealedHouse((app) => {
    app.get('/', (c) => c.html(PAGE, 200, { 'content-security-policy': POLICY }));
    app.get('/page.js', (c) => c.body(script, 200, { 'content-type': 'text/javascript' }));
    app.post('/next', async (c) => {
      answered.resolve(await c.req.text());
      const { promise, resolve } = Promise.withResolvers<string>();
      asked.resolve(resolve);
      return c.text(await promise);
    });
    app.all('/echo/:name', async (c) => {
      const patient = c.req.header('x-patient') ?? '';
      return c.body(await c.req.arrayBuffer(), 200, { 'x-back': `${c.req.method} ${c.req.param('name')} ${patient}` });
    });
  });
  const key = await house.anotherTlsKey();
  proxy = await startReadingProxy(key, house.port, '/next');
  const spki = new X509Certificate(key.chainPem[0]!).publicKey.export({ type: 'spki', format: 'der' });
  const known = createHash('sha256').update(spki).digest('base64'); // as a certificate that the browser trusts
  chromium = launchChromium(`${proxy.url}/`, [`--ignore-certificate-errors-spki-list=${known}`]);
  await chromium.within(asked.promise, START_MS);
});
after(async () => {
  await chromium?.stop();
  await proxy?.close();
  await house?.close();
});

async function inPage(what: Task['what'], request: Partial<Task> = {}): Promise<Outcome> {
  const { policy, acceptedRootsSha256 = [] } = house.trust;
  const task: Task = { method: 'GET', path: '/echo/x', headers: {}, body: null, policy, acceptedRootsSha256, what };
  const ask = await chromium.within(asked.promise, CALL_MS);
  asked = Promise.withResolvers();
  answered = Promise.withResolvers();
  ask(encode({ ...task, ...request }));
  return decode(await chromium.within(answered.promise, CALL_MS)) as Outcome;
}

test('Chromium verifies, seals and opens; the proxy reads neither path, header fields nor bodies', {
  skip,
}, async () => {
  const canary = `Canary-${randomUUID()}`;
  const body = Buffer.concat([Buffer.alloc(1_500_000, 7), Buffer.from(canary)]);
  const outcome = await inPage('exchange', {
    ...{ method: 'PUT', path: `/echo/${canary}`, headers: { 'X-Patient': canary }, body },
  });
  assert.ok('status' in outcome, JSON.stringify(outcome));
  assert.deepEqual([outcome.status, outcome.headers['x-back']], [200, `PUT ${canary} ${canary}`]);
  assert.ok(Buffer.from(outcome.body).equals(body));
  assert.equal(outcome.checks.channel, 'pass');
  assert.ok(Object.values(outcome.checks).every((status) => status !== 'fail'));
  assert.deepEqual(findCanary(proxy.read, canary), []);
  assert.deepEqual(findCanary(proxy.read, 'POST /sealed'), ['utf8'], 'and it did read what there was');
});

test('changed and replayed requests of the page are refused by name', { skip }, async () => {
  assert.deepEqual(await inPage('misuse'), {
    codes: ['SEALED_INVALID', 'SEALED_INVALID', 'message/ohttp-chunked-res', 'SEALED_REPLAYED'],
  });
});

test('a page that stays open over a rotation is told to verify anew, and can', { skip }, async () => {
  assert.ok('status' in (await inPage('exchange')));
  house.clock.ms += DAY_MS;
  await house.keys.hpkePublicKey();
  assert.ok('status' in (await inPage('again')));
  house.clock.ms += GRACE_MS;
  assert.deepEqual(await inPage('again'), { refused: 'SEALED_KEY_UNKNOWN' });
  assert.ok('status' in (await inPage('exchange')));
});

test('a page refuses evidence with a key that was exchanged, and an answer that was changed', { skip }, async () => {
  const foreign = await openSealedHouse(() => {});
  const key = await foreign.keys.hpkePublicKey();
  await foreign.close();
  proxy.bendAnswer = ({ url, body }) => {
    if (!url.startsWith('/attestation')) return {};
    const evidence = JSON.parse(String(body));
    evidence.reportData.hpkePublicKey = key;
    return { body: Buffer.from(JSON.stringify(evidence)) };
  };
  assert.deepEqual(await inPage('exchange'), { refused: 'NOT_VERIFIED' });
  proxy.bendAnswer = ({ url, body }) => (url === '/sealed' ? { body: body.subarray(0, -17) } : {});
  assert.deepEqual(await inPage('exchange'), { refused: 'SEALED_INVALID' });
  proxy.bendAnswer = null;
});
