/** What a stranger gets over a real connection: evidence that verifies for that connection, public facts, and no more. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { connectVerified, type VerifiedConnection, verifyAttestation } from '@abaton/client';
import { parsePolicy, rootOf, verifyCheckpoint } from '@abaton/verify';
import { errorOf } from '../../src/errors.ts';
import { createApp } from '../../src/http/app.ts';
import { addressOf, createRateLimit } from '../../src/http/rate-limit.ts';
import { type Door, openDoor } from '../../src/http/server.ts';
import { createLogger } from '../../src/log.ts';
import { createMetrics } from '../../src/metrics.ts';
import { NO_KEYHOLDER } from '../tee/absent.ts';
import { type AttestedServer, startAttested } from '../tee/attested-server.ts';

const CANARY = 'DOE^JANE';
const metrics = createMetrics();
let server: AttestedServer;
let door: Door;
let url: string;
let verified: VerifiedConnection;
const lines: string[] = [];

before(async () => {
  server = await startAttested();
  await server.boot();
  const { evidence, monitor, gate, log } = server;
  const app = createApp({
    evidence,
    monitor,
    gate,
    log,
    witnesses: () => server.witnessing.state(),
    keyholder: NO_KEYHOLDER,
    metrics,
    logger: createLogger((line) => lines.push(line)),
    version: '0.0.0',
  });
  app.get('/test/defect/:name', (c) => {
    throw new Error(`cannot read ${c.req.param('name')}`);
  });
  app.get('/fhir/R4/closed', () => {
    throw errorOf('GATE_CLOSED', 'The gate is closed: attestation-stale.');
  });
  door = await openDoor({
    key: server.key,
    host: '127.0.0.1',
    port: 0,
    handler: (request, env) => app.fetch(request, env),
  });
  url = `https://localhost:${door.port}`;
  verified = await connect();
});

after(async () => {
  verified.close();
  await door.close(0);
  await server.close();
});

/** Over a verified connection: the only kind that the client makes. */
async function ask(path: string, method = 'GET') {
  const response = await verified.request({ method, path });
  const bytes = await response.bytes();
  return { ...response, bytes, text: Buffer.from(bytes).toString() };
}

const policy = () => parsePolicy({ ...server.tee.policy, manifestSha256: [server.binding.manifestSha256] });
const connect = () => connectVerified({ url, policy: policy(), acceptedRootsSha256: [server.tee.rootSha256] });

test('evidence verifies over the connection that it came on, with the label simulated', async () => {
  const { verdict, keyExchange, evidence, close } = await connect();
  close();
  assert.deepEqual([verdict.valid, verdict.send, verdict.trust], [true, 'synthetic-only', 'simulated']);
  assert.equal(verdict.codeHash, server.tee.codeHash);
  assert.equal(keyExchange, 'X25519MLKEM768');
  assert.match(evidence.reportData.tlsExporterSha256!, /^[0-9a-f]{64}$/);
  assert.match(verdict.checks.find(({ id }) => id === 'channel')!.seen!, /, this very connection$/);
  assert.deepEqual(verdict.requested, server.binding.requested);
});

test('the same evidence is refused without the pinned root, and for other code', async () => {
  const unpinned = await verifyAttestation({ url, policy: policy() });
  assert.deepEqual([unpinned.valid, unpinned.send], [false, 'nothing']);
  const other = { ...policy(), codeHashes: [`sha256:${'00'.repeat(32)}`] };
  const refused = await verifyAttestation({ url, policy: other, acceptedRootsSha256: [server.tee.rootSha256] });
  assert.equal(refused.checks.find(({ id }) => id === 'code-hash')?.code, 'CODE_HASH_MISMATCH');
});

test("evidence of this server does not hold for another server's connection", async () => {
  const key = await server.agent.getTlsKey({ subject: 'localhost', altNames: ['localhost'] });
  const relay = await openDoor({
    key,
    host: '127.0.0.1',
    port: 0,
    handler: async (request) =>
      Response.json(await server.evidence.evidenceFor(new URL(request.url).searchParams.get('nonce')!)),
  });
  const verdict = await verifyAttestation({
    url: `https://localhost:${relay.port}`,
    policy: policy(),
    acceptedRootsSha256: [server.tee.rootSha256],
  });
  assert.equal(verdict.checks.find(({ id }) => id === 'channel')?.code, 'CHANNEL_MISMATCH');
  assert.equal(verdict.send, 'nothing');
  await relay.close(0);
});

test('nor for a relay that has stolen the TLS key: its connection is another', async () => {
  const relay = await openDoor({
    key: server.key,
    host: '127.0.0.1',
    port: 0,
    handler: async (request) => {
      const { pathname, search } = new URL(request.url);
      const { bytes } = await ask(`${pathname}${search}`); // genuine, fresh, and made for the relay's own connection
      return new Response(Uint8Array.from(bytes));
    },
  });
  const verdict = await verifyAttestation({
    url: `https://localhost:${relay.port}`,
    policy: policy(),
    acceptedRootsSha256: [server.tee.rootSha256],
  });
  await relay.close(0);
  const failed = verdict.checks.filter(({ status }) => status === 'fail');
  assert.deepEqual(
    failed.map(({ id, code }) => [id, code]),
    [['channel', 'CHANNEL_MISMATCH']],
  );
});

test('a nonce that is none is refused, and evidence for strangers leaves no trace', async () => {
  for (const nonce of ['', 'ab', 'g'.repeat(64), 'AB'.repeat(32), `${'ab'.repeat(32)}ab`]) {
    const { status, text } = await ask(`/attestation?nonce=${nonce}`);
    assert.equal(status, 400);
    assert.equal(JSON.parse(text).code, 'NONCE_INVALID');
  }
  const size = server.log.size();
  const before = lines.length;
  await verifyAttestation({ url, policy: policy() });
  assert.equal(server.log.size(), size);
  assert.equal(lines.length, before);
});

test('public facts and health', async () => {
  const facts = JSON.parse((await ask('/.well-known/abaton')).text);
  assert.equal(facts.codeHash, server.tee.codeHash);
  assert.deepEqual(facts.auditLogVkeys, server.log.vkeys());
  assert.deepEqual(facts.gate, { open: true, reasons: [] });
  const health = await ask('/healthz');
  assert.equal(health.status, 200);
  assert.equal(JSON.parse(health.text).keyholder, 'none');
  assert.equal(JSON.parse(health.text).attestation.trust, 'simulated');
});

test('health is 503 with the reasons while the gate is closed, and evidence shows them to everybody', async () => {
  await server.tee.setFault('tcb-revoked');
  await server.monitor.attest();
  const verdict = await verifyAttestation({ url, policy: policy(), acceptedRootsSha256: [server.tee.rootSha256] });
  assert.equal(verdict.checks.find(({ id }) => id === 'tcb-status')?.code, 'TCB_REVOKED');
  await server.tee.setFault('agent-down');
  await server.monitor.attest();
  await assert.rejects(connect(), { code: 'EVIDENCE_UNAVAILABLE' });
  await server.tee.setFault(null);
  const connection = await connect(); // the platform is well again, the server has not yet looked
  const closed = await connection.request({ method: 'GET', path: '/healthz' });
  assert.equal(closed.status, 503);
  const { status, reasons } = (await closed.json()) as { status: string; reasons: string[] };
  assert.equal(status, 'closed');
  assert.ok(reasons.includes('AGENT_UNAVAILABLE'), reasons.join());
  await server.monitor.attest();
  assert.equal((await connection.request({ method: 'GET', path: '/healthz' })).status, 200);
  connection.close();
});

test('the log: its checkpoint is signed by the key in the evidence and its tiles lead to the root', async () => {
  const checkpoint = verifyCheckpoint((await ask('/checkpoint')).text, server.log.vkeys());
  const { bytes: tile } = await ask(`/tile/0/000.p/${checkpoint.size}`);
  const leaves = Array.from({ length: checkpoint.size }, (_, i) => tile.subarray(32 * i, 32 * i + 32));
  assert.deepEqual(Buffer.from(rootOf(leaves)), Buffer.from(checkpoint.root));
});

test('entries are not published, and no path leads out of the tiles', async () => {
  const entries = await ask('/tile/entries/000.p/1');
  assert.equal(entries.status, 404);
  assert.match(JSON.parse(entries.text).message, /pseudonyms/);
  for (const path of [
    '/tile/0/999',
    '/tile/0/000.p/0',
    '/tile/64/000',
    '/tile/0/..%2f..%2fcheckpoint',
    '/tile/checkpoint',
  ])
    assert.equal((await ask(path)).status, 404, path);
});

test('nothing is served that was not declared, and errors repeat nothing of the request', async () => {
  const missing = await ask(`/patients/${encodeURIComponent(CANARY)}?name=${encodeURIComponent(CANARY)}`);
  assert.equal(missing.status, 404);
  const body = JSON.parse(missing.text);
  assert.deepEqual(body, {
    code: 'NOT_FOUND',
    message: 'There is no such resource.',
    class: 'fix',
    requestId: missing.headers['x-request-id'],
  });
  const posted = await ask('/healthz', 'POST');
  assert.equal(posted.status, 405);
  assert.equal(posted.headers.allow, 'GET, HEAD');
  assert.equal((await ask('/healthz', 'HEAD')).text, '');
});

test('a defect answers INTERNAL without its message, and the log names the place', async () => {
  const { status, text, headers } = await ask(`/test/defect/${encodeURIComponent(CANARY)}`);
  assert.equal(status, 500);
  assert.equal(JSON.parse(text).code, 'INTERNAL');
  const logged = lines.map((line) => JSON.parse(line)).filter(({ requestId }) => requestId === headers['x-request-id']);
  assert.match(
    logged.find(({ event }) => event === 'defect').at,
    /^packages\/server\/test\/http\/public-routes\.test\.ts:\d+/,
  );
  assert.equal(logged.find(({ event }) => event === 'request').route, '/test/defect/:name');
  assert.doesNotMatch(text + lines.join(''), /JANE/);
});

test('FHIR clients get an OperationOutcome (R4)', async () => {
  const { status, text, headers } = await ask('/fhir/R4/closed');
  assert.equal(status, 503);
  assert.equal(headers['content-type'], 'application/fhir+json');
  assert.equal(headers['retry-after'], '5');
  const { resourceType, issue } = JSON.parse(text);
  assert.equal(resourceType, 'OperationOutcome');
  assert.deepEqual(
    [issue[0].severity, issue[0].code, issue[0].details.coding[0].code],
    ['error', 'transient', 'GATE_CLOSED'],
  );
});

test('every answer carries the security headers', async () => {
  for (const path of ['/healthz', '/nowhere', '/checkpoint']) {
    const { headers } = await ask(path);
    assert.match(headers['strict-transport-security']!, /^max-age=63072000/);
    assert.match(headers['content-security-policy']!, /default-src 'none'/);
    assert.equal(headers['x-content-type-options'], 'nosniff');
    assert.equal(headers['cache-control'], 'no-store');
  }
});

test('metrics count routes by template, in the Prometheus text format', async () => {
  const { text, headers } = await ask('/metrics');
  assert.match(headers['content-type']!, /^text\/plain; version=0\.0\.4/);
  assert.match(text, /^abaton_http_requests_total\{route="\/.well-known\/abaton",method="GET",status="200"\} \d+$/m);
  assert.match(text, /^abaton_gate_open 1$/m);
  assert.match(text, /^abaton_http_request_seconds_bucket\{le="\+Inf"\} \d+$/m);
  for (const line of text.trimEnd().split('\n'))
    assert.match(line, /^(# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{([a-z]+="[^"]*",?)+\})? [\d.e+-]+)$/);
  assert.doesNotMatch(text, /JANE/);
});

test('one address gets a share, so that the others get theirs; of IPv6 the network counts', () => {
  const limit = createRateLimit({ perSecond: 4, burst: 8, share: 0.25, nowMs: () => 0 });
  for (let i = 0; i < 2; i++) limit.take('a');
  assert.throws(() => limit.take('a'), /from one address/);
  for (const other of ['b', 'c', 'd']) for (let i = 0; i < 2; i++) limit.take(other);
  assert.throws(() => limit.take('e'), /in all/);
  const from = (remoteAddress: string) =>
    addressOf({ env: { incoming: { socket: { remoteAddress } } } } as unknown as Parameters<typeof addressOf>[0]);
  assert.equal(from('10.0.0.1'), '10.0.0.1');
  assert.equal(from('::ffff:10.0.0.1'), '::ffff:10.0.0.1');
  assert.equal(from('2001:db8::1'), from('2001:db8:0:0:ffff::2'));
  assert.notEqual(from('2001:db8::1'), from('2001:db8:0:1::1'));
});

test('evidence is rationed: a burst, then a rate', async () => {
  let ms = 0;
  const limit = createRateLimit({ perSecond: 2, burst: 3, share: 1, nowMs: () => ms });
  for (let i = 0; i < 3; i++) limit.take();
  assert.throws(() => limit.take(), { code: 'OVERLOADED', name: 'UnavailableError' });
  ms += 499;
  assert.throws(() => limit.take(), { code: 'OVERLOADED' });
  ms += 1;
  limit.take();
  ms += 3_600_000;
  for (let i = 0; i < 3; i++) limit.take();
  assert.throws(() => limit.take(), { code: 'OVERLOADED' });

  const idle = await Promise.all(Array.from({ length: 100 }, () => ask('/attestation?nonce=none')));
  assert.ok(
    idle.every(({ status }) => status === 400),
    'who asks for nothing takes no quote from others',
  );
  const answers = await Promise.all(Array.from({ length: 200 }, () => ask(`/attestation?nonce=${'0'.repeat(64)}`)));
  const refused = answers.find(({ status }) => status === 503);
  assert.equal(JSON.parse(refused!.text).code, 'OVERLOADED');
  assert.equal(refused!.headers['retry-after'], '5');
});
