/** `POST /sealed` on a real door, over HTTP/1.1 and HTTP/2: RFC 9458 section 5, and each refusal. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import http2 from 'node:http2';
import { ReadableStream } from 'node:stream/web';
import { after, before, test } from 'node:test';
import { SEALED_REQUEST, SEALED_RESPONSE } from '@abaton/client';
import { readResponse, writeRequest } from '../../../../client/src/sealed/binary-http.ts';
import { openChunks, sealChunks } from '../../../../client/src/sealed/chunks.ts';
import { AEAD_AES_256_GCM, setupSender } from '../../../../client/src/sealed/hpke-context.ts';
import { type PlainRequest, type SealedRequest, sealRequest } from '../../../../client/src/sealed/ohttp-client.ts';
import { StreamReader } from '../../../../client/src/sealed/stream-reader.ts';
import { bytesOf, pieces } from '../../../../client/test/sealed/support.ts';
import { errorOf } from '../../../src/errors.ts';
import { dicomwebRoutes } from '../../../src/http/dicomweb/routes.ts';
import { type Answer, ask, multipart } from '../../dicomweb/client.ts';
import { openHouse } from '../../dicomweb/house.ts';
import { imageFile } from '../../dicomweb/part10.ts';
import { GRACE_MS, openSealedHouse, type SealedHouse } from './sealed-house.ts';

const KiB = 1024;
const DAY_MS = 24 * 60 * 60_000;
let archive: Awaited<ReturnType<typeof openHouse>>;
let house: SealedHouse;
/** Requests that a handler has seen. */
const seen: string[] = [];

before(async () => {
  archive = await openHouse();
  house = await openSealedHouse((app) => {
    app.use(async (c, next) => {
      if (c.req.path !== '/sealed') seen.push(`${c.req.method} ${c.req.path}`);
      await next();
    });
    app.all('/facts/*', async (c) => {
      const { remotePort } = c.env.incoming.socket;
      const body = Buffer.from(await c.req.arrayBuffer()).toString('latin1');
      const headers = Object.fromEntries(c.req.raw.headers);
      return c.json({ method: c.req.method, url: c.req.url, headers, body, connected: remotePort! > 0 });
    });
    app.post('/echo', (c) => new Response(c.req.raw.body, { headers: { 'x-echo': 'yes' } }));
    app.get('/none', () => new Response(null, { status: 204, headers: { 'set-cookie': 'a=1' } }));
    app.post('/refuse', () => {
      throw errorOf('GATE_CLOSED', 'not now');
    });
    app.get('/broken', () => {
      const body = pieces(Buffer.alloc(40 * KiB));
      const fail = async function* () {
        yield* body;
        throw new Error('disk');
      };
      return new Response(ReadableStream.from(fail()) as BodyInit);
    });
    app.route('/', dicomwebRoutes(archive.deps));
  });
});
after(() => Promise.all([house.close(), archive.close()]));

const authority = 'abaton.test';
const seal = async (request: Partial<PlainRequest> = {}) =>
  sealRequest(await house.keyConfig(), { method: 'GET', authority, path: '/facts/1?x=2', ...request });
const post = (body: Uint8Array | AsyncIterable<Uint8Array>, version: 1 | 2 = 1, type = SEALED_REQUEST) =>
  ask(house.port, { method: 'POST', path: '/sealed', version, headers: { 'content-type': type }, body });

async function open({ openResponse }: SealedRequest, answer: Answer) {
  assert.deepEqual([answer.status, answer.headers['content-type']], [200, SEALED_RESPONSE], String(answer.body));
  const { status, headers, body } = await openResponse(pieces(answer.body));
  return { status, headers: Object.fromEntries(headers), body: await bytesOf(body) };
}
const exchange = async (request: Partial<PlainRequest> = {}, version: 1 | 2 = 1) => {
  const sealed = await seal(request);
  return open(sealed, await post(sealed.body, version));
};
const flip = (message: Buffer, at: number) => Buffer.from(message).fill(message[at]! ^ 1, at, at + 1);
const codeOf = ({ body }: Pick<Answer, 'body'>) => JSON.parse(String(body)).code as string;

test('the application sees the inner request as any other, and the connection that it came over', async () => {
  for (const version of [1, 2] as const) {
    const { status, headers, body } = await exchange({ headers: { 'X-Patient': 'Erika' } }, version);
    assert.deepEqual([status, headers['content-type']], [200, 'application/json']);
    assert.deepEqual(JSON.parse(String(body)), {
      ...{ method: 'GET', url: `https://${authority}/facts/1?x=2`, headers: { 'x-patient': 'Erika' } },
      ...{ body: '', connected: true },
    });
    const sent = await exchange({ method: 'PUT', body: pieces(Buffer.from('study')) }, version);
    assert.deepEqual(JSON.parse(String(sent.body)).body, 'study');
  }
  const { status, headers, body } = await exchange({ path: '/none' });
  assert.deepEqual([status, headers['set-cookie'], body.length], [204, 'a=1', 0]);
  const missing = await exchange({ path: '/nothing' });
  assert.equal(missing.status, 404);
});

test('3 MiB go in and come back, both ways in pieces', async () => {
  const made = Array.from({ length: 48 }, (_, i) => createHash('shake256', { outputLength: 64 * KiB }).update(`${i}`));
  const parts = made.map((hash) => hash.digest());
  for (const version of [1, 2] as const) {
    const { status, headers, body } = await exchange(
      { method: 'POST', path: '/echo', body: pieces(...parts) },
      version,
    );
    assert.deepEqual([status, headers['x-echo']], [200, 'yes']);
    assert.ok(body.equals(Buffer.concat(parts)));
  }
});

test('an answer before the body was taken, and errors of the application, are inside', async () => {
  const answer = await exchange({ method: 'POST', path: '/refuse', body: pieces(Buffer.alloc(300 * KiB)) }, 2);
  assert.deepEqual([answer.status, codeOf(answer), answer.headers['retry-after']], [503, 'GATE_CLOSED', '5']);
});

test('an answer that breaks off half-way is not taken for whole', async () => {
  const sealed = await seal({ path: '/broken' });
  await assert.rejects(async () => open(sealed, await post(sealed.body, 1)));
});

test('a tampered envelope: SEALED_INVALID outside, and no handler sees it', async () => {
  const before = seen.length;
  const message = await bytesOf((await seal()).body);
  for (const at of [7, 600, 7 + 1120, 7 + 1120 + 5, message.length - 1]) {
    const answer = await post(flip(message, at));
    assert.deepEqual([answer.status, codeOf(answer)], [400, 'SEALED_INVALID'], `byte ${at}`);
  }
  for (const cut of [message.subarray(0, -1), message.subarray(0, 500), message.subarray(0, 3), Buffer.alloc(0)])
    assert.equal(codeOf(await post(cut)), 'SEALED_INVALID');
  assert.equal(seen.length, before);
  const sealed = await seal();
  assert.equal((await open(sealed, await post(sealed.body))).status, 200, 'what did not open was not remembered');
});

test('a GET is served only when its last chunk has come, and has no body; that is said inside', async () => {
  const before = seen.length;
  // our own client makes one chunk of it; another may not
  const sender = await setupSender(await house.keyConfig(), AEAD_AES_256_GCM);
  const head = { method: 'GET', authority, path: '/facts/2', headers: [] };
  const first = await sealChunks(writeRequest(head), sender.request, true).next();
  const answer = await post(Buffer.concat([sender.start, first.value as Uint8Array]));
  assert.deepEqual([answer.status, answer.headers['content-type']], [200, SEALED_RESPONSE]);
  const reader = new StreamReader(pieces(answer.body));
  const { open: opened } = await sender.response(await reader.exactly(sender.nonceBytes));
  const { status, body } = await readResponse(openChunks(reader, opened));
  assert.deepEqual([status, codeOf({ body: await bytesOf(body) })], [400, 'SEALED_INVALID']);

  const withBody = await exchange({ body: pieces(Buffer.from('x')) });
  assert.deepEqual([withBody.status, codeOf(withBody)], [400, 'REQUEST_INVALID']);
  const long = await exchange({ path: `/${'p'.repeat(9000)}`, headers: { 'x-long': 'x'.repeat(9000) } });
  assert.deepEqual([long.status, codeOf(long)], [400, 'SEALED_INVALID'], 'a head of more than 16 KiB');
  assert.equal(seen.length, before);
});

test('a replayed envelope: SEALED_REPLAYED, also at the same time, and the handler sees it once', async () => {
  const sealed = await seal();
  const message = await bytesOf(sealed.body);
  const before = seen.length;
  const answers = await Promise.all([post(message), post(message, 2), post(message)]);
  const refused = answers.filter(({ status }) => status !== 200);
  assert.deepEqual(
    refused.map((answer) => [answer.status, codeOf(answer)]),
    Array(2).fill([409, 'SEALED_REPLAYED']),
  );
  await open(sealed, answers.find(({ status }) => status === 200)!);
  assert.equal(codeOf(await post(message)), 'SEALED_REPLAYED');
  assert.equal(seen.length, before + 1);
});

test('an envelope to a rotated key: taken for one interval, then the problem type of RFC 9458 section 5.3', async () => {
  const [early, late] = [await seal(), await seal()];
  house.clock.ms += DAY_MS;
  const renewed = await seal();
  assert.equal((await open(early, await post(early.body))).status, 200);
  house.clock.ms += GRACE_MS;
  const answer = await post(late.body);
  assert.deepEqual([answer.status, answer.headers['content-type']], [422, 'application/problem+json']);
  const problem = JSON.parse(String(answer.body));
  assert.equal(problem.type, 'https://iana.org/assignments/http-problem-types#ohttp-key');
  assert.equal(problem.code, 'SEALED_KEY_UNKNOWN');
  assert.equal((await open(renewed, await post(renewed.body))).status, 200);
});

test('no envelope within an envelope, however the path is written', async () => {
  for (const path of ['/sealed', '/%73ealed', '/x/../sealed', '//sealed', '/sealed/', '/sealed?x']) {
    const sealed = await seal();
    const headers = { 'content-type': SEALED_REQUEST };
    const outer = await exchange({ method: 'POST', path, headers, body: sealed.body });
    assert.equal(outer.status, 404, path);
  }
});

test('another method or media type', async () => {
  const get = await ask(house.port, { path: '/sealed' });
  assert.deepEqual([get.status, get.headers.allow, codeOf(get)], [405, 'POST', 'METHOD_NOT_ALLOWED']);
  assert.equal(codeOf(await post((await seal()).body, 1, 'message/ohttp-req')), 'MEDIA_TYPE_UNSUPPORTED');
  const trace = await exchange({ method: 'TRACE' });
  assert.deepEqual([trace.status, codeOf(trace)], [400, 'REQUEST_INVALID']);
});

test('STOW through the envelope: a whole study is stored; one that was cut or changed on the way is refused', async () => {
  let studies = 0;
  const stow = async () => {
    const study = `1.2.3.${++studies}`;
    const image = { study, series: `${study}.1`, instance: `${study}.1.1`, rows: 256, columns: 240 }; // 60 KiB
    const { body, headers } = multipart([imageFile(image)]);
    const sealed = await seal({ method: 'POST', path: '/dicom-web/studies', headers, body: pieces(body) });
    return { study, sealed, message: await bytesOf(sealed.body) };
  };
  const stored = async (study: string) => (await exchange({ path: `/dicom-web/studies/${study}/metadata` })).status;

  const whole = await stow();
  assert.equal((await open(whole.sealed, await post(whole.message))).status, 200);
  assert.equal(await stored(whole.study), 200);

  const bends: Record<string, (message: Buffer) => Buffer> = {
    'cut in the last chunk': (message) => message.subarray(0, -1),
    'cut before the last chunk': (message) => message.subarray(0, 7 + 1120 + 3 * (4 + 16 * KiB + 16)),
    'a bit of the last chunk': (message) => flip(message, message.length - 1),
    'a bit of the second chunk': (message) => flip(message, 20_000),
  };
  for (const [what, bend] of Object.entries(bends)) {
    const { study, sealed, message } = await stow();
    const answer = await open(sealed, await post(bend(message)));
    assert.deepEqual([answer.status, codeOf(answer)], [400, 'REQUEST_INVALID'], what); // STOW says: it broke off
    assert.equal(await stored(study), 404, what);
  }
});

test('envelopes that never arrive are few, and make room when they are gone', async () => {
  const sessions = Array.from({ length: 6 }, () =>
    http2.connect(`https://127.0.0.1:${house.port}`, { rejectUnauthorized: false }),
  );
  const headers = { ':method': 'POST', ':path': '/sealed', 'content-type': SEALED_REQUEST };
  let refused = 0;
  const streams = sessions.flatMap((session) =>
    Array.from({ length: 95 }, () => {
      const stream = session.request(headers, { endStream: false });
      stream.on('error', () => {}).on('response', (answer) => (refused += Number(answer[':status'] === 503)));
      stream.write(Buffer.of(0)); // of a header of seven bytes
      return stream;
    }),
  );
  // 512 of them wait (the rate of 200 at once and 100 a second lets fewer in): whoever comes then is told so
  while (refused === 0) await new Promise((resolve) => setTimeout(resolve, 20));
  for (const stream of streams) stream.close();
  for (const session of sessions) session.close();
  let status = 503;
  while (status === 503) status = (await post((await seal()).body)).status;
  assert.equal(status, 200, 'there is room again');
});
