/** Verify first, then send: what a server may answer to the question for evidence, and what the client makes of it. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Evidence, TdxEvidence } from '@abaton/verify';
import { connectVerified, NotVerifiedError, verifyAttestation } from '../src/index.ts';
import {
  type Answer,
  type AttestedServer,
  attesting,
  type HostileDoor,
  json,
  nonceOf,
  openHostileDoor,
  startAttested,
  trustIn,
} from './hostile-door.ts';

let attested: AttestedServer;
let door: HostileDoor;
before(async () => {
  attested = await startAttested();
  door = await openHostileDoor(attested);
});
after(async () => {
  await door.close();
  await attested.close();
});

const trust = () => trustIn(attested, door.url);

/** Both calls refuse, with these codes of failed checks, and nothing but the question has reached the server. */
async function assertRefused(answer: Answer, codes: string[]): Promise<void> {
  door.answer = answer;
  door.requests.length = 0;
  const { valid, send, checks } = await verifyAttestation(trust());
  assert.deepEqual([valid, send], [false, 'nothing']);
  const failed = () => checks.filter(({ status }) => status === 'fail').map(({ code }) => code);
  assert.deepEqual(failed(), codes);
  await assert.rejects(connectVerified(trust()), (error) => {
    assert.ok(error instanceof NotVerifiedError);
    assert.equal(error.code, 'NOT_VERIFIED');
    for (const code of codes) assert.match(error.message, new RegExp(code));
    assert.equal(error.verdict.valid, false);
    return true;
  });
  assert.deepEqual(door.requests, ['GET /attestation', 'GET /attestation']);
}

/** Neither call gets as far as a verdict. */
async function assertUnavailable(answer: Answer, code: string, timeoutMs?: number): Promise<void> {
  door.answer = answer;
  for (const call of [verifyAttestation, connectVerified])
    await assert.rejects(call({ ...trust(), ...(timeoutMs ? { timeoutMs } : {}) }), { name: 'UnavailableError', code });
}

const ask = (nonce: string): Promise<Evidence> => attested.evidence.evidenceFor(nonce);
const withText =
  (text: string): Answer =>
  (stream) => {
    stream.respond({ ':status': 200, 'content-type': 'application/json' });
    stream.end(text);
  };

test('fresh evidence for this very channel is accepted, and the same connection then carries requests', async () => {
  door.answer = attesting(attested, (stream) => json(stream, 200, { pong: true }));
  const verdict = await verifyAttestation(trust());
  assert.deepEqual([verdict.valid, verdict.send, verdict.trust], [true, 'synthetic-only', 'simulated']);
  const connection = await connectVerified(trust());
  assert.equal(connection.evidence.reportData.tlsSpkiSha256, attested.binding.tlsSpkiSha256);
  assert.deepEqual(await (await connection.request({ method: 'GET', path: '/ping' })).json(), { pong: true });
  connection.close();
});

test('every question has its own nonce', async () => {
  const nonces = new Set<string>();
  door.answer = (stream, headers) => {
    nonces.add(nonceOf(headers));
    json(stream, 503, {});
  };
  for (let i = 0; i < 8; i++) await assert.rejects(verifyAttestation(trust()), { code: 'EVIDENCE_UNAVAILABLE' });
  assert.equal(nonces.size, 8);
  for (const nonce of nonces) assert.match(nonce, /^[0-9a-f]{64}$/);
});

test('replayed evidence, as it was or with your nonce written into it', async () => {
  const recorded = await ask('00'.repeat(32));
  await assertRefused((stream) => json(stream, 200, recorded), ['NONCE_MISMATCH']);
  await assertRefused(
    (stream, headers) =>
      json(stream, 200, { ...recorded, reportData: { ...recorded.reportData, nonce: nonceOf(headers) } }),
    ['REPORT_DATA_MISMATCH'],
  );
});

test('evidence that another machine made for your nonce, through this door', async () => {
  const other = await startAttested();
  try {
    await assertRefused(
      attesting(other, () => assert.fail('nothing else is asked')),
      ['ROOT_UNTRUSTED', 'CHANNEL_MISMATCH'],
    );
  } finally {
    await other.close();
  }
});

test('JSON that is no evidence', async (t) => {
  const genuine = await ask('00'.repeat(32));
  for (const [what, text] of Object.entries({
    null: 'null',
    list: '[]',
    object: '{}',
    text: '"quote"',
    'a member too many': JSON.stringify({ ...genuine, trust: 'intel-tdx' }),
    'a newer version': JSON.stringify({ ...genuine, version: 2 }),
    '10⁵ levels': '['.repeat(1e5) + ']'.repeat(1e5),
    'a prototype': '{"__proto__":{"version":1}}',
  }))
    await t.test(what, () => assertRefused(withText(text), ['EVIDENCE_MALFORMED']));
  await t.test('a cut quote', () =>
    assertRefused(withText(JSON.stringify({ ...genuine, quote: (genuine as TdxEvidence).quote.slice(0, 2000) })), [
      'QUOTE_MALFORMED',
    ]),
  );
});

test('no evidence', async (t) => {
  for (const status of [404, 429, 500, 503])
    await t.test(`${status}`, () => assertUnavailable((stream) => json(stream, status, {}), 'EVIDENCE_UNAVAILABLE'));
  for (const [what, text] of Object.entries({ empty: '', page: '<html>', half: '{"version":1', twice: '{}{}' }))
    await t.test(`not JSON: ${what}`, () => assertUnavailable(withText(text), 'ANSWER_INVALID'));
  await t.test('larger than any evidence', () =>
    assertUnavailable(withText(`"${'0'.repeat(4 * 2 ** 20)}"`), 'ANSWER_INVALID'),
  );
  await t.test('endless', () =>
    assertUnavailable((stream) => {
      stream.respond({ ':status': 200 });
      const more = () => {
        while (!stream.destroyed && stream.write(Buffer.alloc(2 ** 16, '0')));
        if (!stream.destroyed) stream.once('drain', more);
      };
      more();
    }, 'ANSWER_INVALID'),
  );
  await t.test('silence', () => assertUnavailable(() => {}, 'EVIDENCE_UNAVAILABLE', 200));
  await t.test('a drop now and then', () =>
    assertUnavailable(
      (stream) => {
        stream.respond({ ':status': 200 });
        const drip = setInterval(() => (stream.destroyed ? clearInterval(drip) : stream.write(' ')), 20);
      },
      'EVIDENCE_UNAVAILABLE',
      200,
    ),
  );
  await t.test('the connection is cut', () =>
    assertUnavailable((_stream, _headers, socket) => socket.destroy(), 'CONNECTION_LOST'),
  );
});
