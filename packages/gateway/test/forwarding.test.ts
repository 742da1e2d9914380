/** The LAN-side door while it is open: what passes, what does not, and that neither side has to hold a body. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { request } from 'node:http';
import { after, before, test } from 'node:test';
import { json } from '../../client/test/hostile-door.ts';
import { isOpen, lan, type Running, type Service, sha256, startBefore, startService, store, until } from './harness.ts';

let service: Service;
let running: Running;
before(async () => {
  service = await startService();
  running = await startBefore(service.trust());
  await until(running.gateway, isOpen);
});
after(async () => {
  await running.close();
  await service.close();
});

test('an upload arrives byte for byte, and the answer of the service is handed back', async () => {
  const body = randomBytes(3 * 2 ** 20);
  const { status, text } = await store(running.url, body, '/dicom-web/studies/1.2.3');
  assert.deepEqual([status, JSON.parse(text)], [200, { stored: body.length }]);
  const { path, sha256: digest } = service.arrived.at(-1)!;
  assert.deepEqual([path, digest], ['/dicom-web/studies/1.2.3', sha256(body)]);
});

test('reads are forwarded with their query', async () => {
  for (const path of [
    '/dicom-web/studies?PatientName=A*&limit=5',
    '/dicom-web/studies/1.2/series/1.3/instances/1.4/frames/1,2',
    '/dicom-web/studies/1.2/metadata',
    '/fhir/R4/DiagnosticReport?identifier=urn:oid:1.2.3',
    '/fhir/R4/metadata',
    '/api/v1/studies/1.2.3/analysis?waitMs=0',
  ])
    assert.equal((await lan(running.url + path)).json().path, path);
  assert.equal((await lan(`${running.url}/dicom-web/studies`, { method: 'HEAD' })).status, 200);
});

test('everything else does not reach the service', async (t) => {
  const refused: [string, string, number, string][] = [
    ['GET', '/', 404, 'NOT_FOUND'],
    ['GET', '/attestation?nonce=00', 404, 'NOT_FOUND'],
    ['GET', '/metrics', 404, 'NOT_FOUND'],
    ['GET', '/dicom-webs', 404, 'NOT_FOUND'],
    ['GET', '/api/v1/users', 404, 'NOT_FOUND'],
    ['GET', '/api/v1/studies/x/analysis', 404, 'NOT_FOUND'],
    ['GET', '/dicom-web/../metrics', 404, 'NOT_FOUND'],
    ['GET', '/dicom-web/%2e%2e/metrics', 404, 'NOT_FOUND'],
    ['GET', '/dicom-web/.%2E/metrics', 404, 'NOT_FOUND'],
    ['GET', '/dicom-web/..%2fmetrics', 404, 'NOT_FOUND'],
    ['GET', '/dicom-web//metrics', 404, 'NOT_FOUND'],
    ['GET', '/dicom-web/\\..\\metrics', 404, 'NOT_FOUND'],
    ['GET', '/fhir/R4/./x', 404, 'NOT_FOUND'],
    ['GET', 'http://elsewhere/dicom-web/studies', 404, 'NOT_FOUND'],
    ['GET', `/dicom-web/studies?${'x'.repeat(9000)}`, 400, 'REQUEST_INVALID'],
    ['DELETE', '/dicom-web/studies/1.2.3', 405, 'METHOD_NOT_ALLOWED'],
    ['PUT', '/fhir/R4/DiagnosticReport/1', 405, 'METHOD_NOT_ALLOWED'],
    ['OPTIONS', '/dicom-web/studies', 405, 'METHOD_NOT_ALLOWED'],
    ['POST', '/dicom-web/studies/1.2/series', 405, 'METHOD_NOT_ALLOWED'],
    ['POST', '/api/v1/studies/1.2.3/analysis', 405, 'METHOD_NOT_ALLOWED'],
    ['POST', '/dicom-web/studies', 415, 'MEDIA_TYPE_UNSUPPORTED'],
    ['PATCH', `/queue/${'0'.repeat(32)}`, 405, 'METHOD_NOT_ALLOWED'],
    ['DELETE', '/healthz', 405, 'METHOD_NOT_ALLOWED'],
    ['GET', '/healthz?x', 404, 'NOT_FOUND'],
  ];
  const seen = service.door.requests.filter((line) => !/attestation|healthz/.test(line)).length;
  for (const [method, path, status, code] of refused)
    await t.test(`${method} ${path.slice(0, 50)}`, async () => {
      const answer = await lan(running.url, { method, path });
      assert.deepEqual([answer.status, answer.json().code], [status, code]);
      if (status === 405) assert.ok(answer.headers.allow?.startsWith('GET'));
    });
  assert.equal(service.door.requests.filter((line) => !/attestation|healthz/.test(line)).length, seen);
});

for (const [path, allow] of [
  [`/queue/${'0'.repeat(32)}`, 'GET, DELETE'],
  ['/healthz', 'GET'],
  ['/dicom-web/studies', 'GET, HEAD, POST'],
  ['/fhir/R4/metadata', 'GET, HEAD'],
] as const)
  test(`${path} says what it takes: ${allow}`, async () => {
    const { status, headers } = await lan(running.url + path, { method: 'PATCH' });
    assert.deepEqual([status, headers.allow], [405, allow]);
  });

test('a body where none belongs', async () => {
  const { status } = await lan(`${running.url}/dicom-web/studies`, { method: 'GET' }, Buffer.from('x'));
  assert.equal(status, 400);
});

test('pages do not get in: Host, Origin, Sec-Fetch-Site', async () => {
  const ask = async (headers: Record<string, string>) => (await lan(`${running.url}/healthz`, { headers })).status;
  const { port } = running.gateway;
  for (const host of [`127.0.0.1:${port}`, `localhost:${port}`, `[::1]:${port}`])
    assert.equal(await ask({ host }), 200);
  for (const host of [
    `evil.example:${port}`,
    '127.0.0.1',
    `127.0.0.1:${port + 1}`,
    `localhost.evil:${port}`,
    'x@localhost',
  ])
    assert.equal(await ask({ host }), 421, host);
  assert.equal(await ask({ origin: 'https://evil.example' }), 403);
  assert.equal(await ask({ origin: 'null' }), 403);
  assert.equal(await ask({ 'sec-fetch-site': 'cross-site' }), 403);
});

test('only listed headers pass, either way', async () => {
  let got: Record<string, unknown> = {};
  service.other = (stream, headers) => {
    got = headers;
    stream.respond({
      ':status': 200,
      'content-type': 'application/dicom+json',
      etag: '"1"',
      'access-control-allow-origin': '*',
      'set-cookie': 'a=b',
      'x-secret': 'no',
    });
    stream.end('[]');
  };
  const { headers } = await lan(`${running.url}/dicom-web/studies`, {
    headers: {
      accept: 'application/dicom+json',
      cookie: 'c',
      connection: 'x-hop',
      'x-hop': '1',
      'x-forwarded-for': '10.0.0.1',
      forwarded: 'host="elsewhere.example";proto=https',
      te: 'trailers',
    },
  });
  const names = Object.keys(got).filter((name) => !name.startsWith(':'));
  assert.deepEqual(names, ['accept', 'forwarded']);
  assert.equal(got.forwarded, `host="${new URL(running.url).host}";proto=http`, 'so that links lead back here');
  assert.deepEqual(
    [
      headers['content-type'],
      headers.etag,
      headers['access-control-allow-origin'],
      headers['set-cookie'],
      headers['x-secret'],
    ],
    ['application/dicom+json', '"1"', undefined, undefined, undefined],
  );
  service.other = (stream, headers) => json(stream, 200, { path: headers[':path'] });
});

test('a hundred requests at once', async () => {
  const paths = Array.from({ length: 100 }, (_, i) => `/dicom-web/studies/1.2.${i}/metadata`);
  const answers = await Promise.all(paths.map((path) => lan(running.url + path)));
  assert.deepEqual(
    answers.map((answer) => answer.json().path),
    paths,
  );
});

test('a program that goes away in the middle of an upload: the part is not taken for the whole', async () => {
  const before = service.arrived.length;
  async function* half(): AsyncGenerator<Uint8Array> {
    yield randomBytes(2 ** 20);
    throw new Error('the power is gone');
  }
  await assert.rejects(store(running.url, half()));
  await store(running.url, Buffer.from('after'));
  assert.deepEqual(
    service.arrived.slice(before).map(({ bytes }) => bytes.toString()),
    ['after'],
  );
});

test('an answer that breaks off is never taken for the whole', async () => {
  service.other = (stream) => {
    // waiting for trailers, it has no END_STREAM yet, which Node would send before RST_STREAM
    stream.respond({ ':status': 200, 'content-type': 'application/dicom' }, { waitForTrailers: true });
    stream.write('half', () => setImmediate(() => stream.close(2)));
  };
  await assert.rejects(lan(`${running.url}/dicom-web/studies/1.2.3`));
  service.other = (stream, headers) => json(stream, 200, { path: headers[':path'] });
});

test('a program that takes nothing does not hold up others, and does not fill the memory', async () => {
  let sent = 0;
  service.other = (stream, headers) => {
    if (headers[':path'] !== '/dicom-web/studies/1') return json(stream, 200, {});
    stream.respond({ ':status': 200 });
    const more = () => {
      while (!stream.destroyed && stream.write(Buffer.alloc(2 ** 16))) sent += 2 ** 16;
      if (!stream.destroyed) stream.once('drain', more);
    };
    more();
  };
  const idle = request(`${running.url}/dicom-web/studies/1`, { agent: false });
  idle.on('error', () => {}).end();
  await new Promise((resolve) => idle.once('response', (response) => resolve(response.pause())));
  for (let i = 0; i < 20; i++) assert.equal((await lan(`${running.url}/dicom-web/studies`)).status, 200);
  assert.ok(sent < 2 ** 25, `${sent} bytes are on their way`);
  idle.destroy();
  service.other = (stream, headers) => json(stream, 200, { path: headers[':path'] });
});
