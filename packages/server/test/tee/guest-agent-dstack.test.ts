/** The guest agent client against a software TEE that speaks dstack's API, and against agents that do not. */
import assert from 'node:assert/strict';
import { createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type SoftTee, startSoftTee } from '@abaton/soft-tee';
import fc from 'fast-check';
import { openGuestAgent } from '../../src/tee/agent-client.ts';
import { deriveTeeKeys, KEY_PATHS } from '../../src/tee/tee-keys.ts';
import { sha256 } from './attested-server.ts';

const COMPOSE = '{"name": "abaton",  "runner":"docker-compose"}'; // spaced: the raw text counts
const dir = mkdtempSync(join(tmpdir(), 'abaton-agent-'));
const servers: Server[] = [];
let tee: SoftTee;

before(async () => {
  tee = await startSoftTee({ state: join(dir, 'tee'), socket: join(dir, 'agent.sock'), compose: COMPOSE });
});

after(async () => {
  for (const server of servers) server.close().closeAllConnections();
  await tee.close();
  rmSync(dir, { recursive: true });
});

/** An agent that answers everything with `listener`. */
async function fake(listener: RequestListener, timeoutMs = 5_000) {
  const socket = join(dir, `fake-${servers.length}.sock`);
  const server = createServer(listener);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  return openGuestAgent(socket, { timeoutMs });
}

const answering = (body: unknown) =>
  fake((_, response) => {
    response.write(JSON.stringify(body).slice(0, 1)); // without a Content-Length: chunked
    response.end(JSON.stringify(body).slice(1));
  });

test('Info: the compose text comes raw, and its digest is the code hash', async () => {
  const info = await openGuestAgent(tee.socket).info();
  assert.equal(info.appCompose, COMPOSE);
  assert.equal(info.composeHash, sha256(COMPOSE));
  assert.deepEqual(
    { ...tee.policy.osMeasurements[0], name: undefined, rtmr3: undefined },
    { ...info.measurements, name: undefined, rtmr3: undefined },
    'measurements are those of the platform',
  );
});

test('GetKey: 32 bytes that depend on the path and nothing else', async () => {
  const keys = await deriveTeeKeys(openGuestAgent(tee.socket));
  assert.deepEqual(await deriveTeeKeys(openGuestAgent(tee.socket)), keys);
  const bytes = Object.values(keys).map((key) => Buffer.from(key).toString('hex'));
  assert.equal(new Set(bytes).size, Object.keys(KEY_PATHS).length);
  for (const key of bytes) assert.match(key, /^[0-9a-f]{64}$/);
  for (const path of Object.values(KEY_PATHS)) assert.match(path, /^abaton\/v1\/[a-z-]+$/);
});

test('GetTlsKey: a new key each time, with the certificate of that key', async () => {
  const agent = openGuestAgent(tee.socket);
  const [one, two] = [
    await agent.getTlsKey({ subject: 'a', altNames: [] }),
    await agent.getTlsKey({ subject: 'a', altNames: [] }),
  ];
  assert.notEqual(one.keyPem, two.keyPem);
  const leaf = new X509Certificate(one.chainPem[0]!);
  assert.ok(leaf.checkPrivateKey(createPrivateKey(one.keyPem)));
  assert.ok(
    leaf.verify(
      createPublicKey(new X509Certificate(one.chainPem[1]!).publicKey.export({ type: 'spki', format: 'pem' })),
    ),
  );
});

test('GetQuote: signs exactly the 64 bytes', async () => {
  const reportData = Buffer.alloc(64, 7);
  const { quote, eventLog } = await openGuestAgent(tee.socket).getQuote(reportData);
  assert.deepEqual(Buffer.from(quote.subarray(568, 632)), reportData); // TDX v4: header 48 + REPORTDATA at 520
  assert.ok(eventLog.some(({ event }) => event === 'compose-hash'));
});

test('Version', async () => {
  const { version } = await openGuestAgent(tee.socket).version();
  assert.match(version, /simulated/);
});

test('chunked answers are read', async () => {
  assert.deepEqual(await (await answering({ version: '0.6', rev: 'é' })).version(), { version: '0.6', rev: 'é' });
});

test('an agent that is absent, silent, refusing, endless or not JSON is unavailable', async () => {
  const unavailable = { code: 'AGENT_UNAVAILABLE', name: 'UnavailableError' };
  await assert.rejects(openGuestAgent(join(dir, 'nowhere.sock')).version(), unavailable);
  await assert.rejects((await fake(() => {}, 100)).version(), unavailable);
  await assert.rejects((await fake((_, response) => response.write('{'), 100)).version(), unavailable);
  await assert.rejects((await fake((_, response) => response.writeHead(500).end('{}'))).version(), unavailable);
  await assert.rejects((await fake((_, response) => response.end('{'))).version(), unavailable);
  await assert.rejects((await fake((request) => request.socket.destroy())).version(), unavailable);
  const endless: RequestListener = (_, response) => {
    const write = () => {
      while (!response.destroyed && response.write(Buffer.alloc(65_536, 32)));
    };
    response.on('drain', write);
    write();
  };
  await assert.rejects((await fake(endless)).version(), unavailable);
});

test('an answer with any member missing or of another form is refused', async () => {
  const tcb = {
    compose_hash: '00'.repeat(32),
    app_compose: '{}',
    mrtd: '',
    rtmr0: '',
    rtmr1: '',
    rtmr2: '',
    rtmr3: '',
  };
  for (const name of ['mrtd', 'rtmr0', 'rtmr1', 'rtmr2', 'rtmr3'] as const) tcb[name] = '00'.repeat(48);
  const provider = { name: 'kms', id: '3059' };
  const info = {
    ...{ app_id: '00'.repeat(20), instance_id: '00'.repeat(20) },
    key_provider_info: JSON.stringify(provider),
  };
  const ask = async (tcbInfo: object, rest: object = info) =>
    (await answering({ ...rest, tcb_info: JSON.stringify(tcbInfo) })).info();
  await ask(tcb);
  for (const name of Object.keys(tcb)) {
    await assert.rejects(ask({ ...tcb, [name]: undefined }), { code: 'AGENT_UNAVAILABLE' });
    await assert.rejects(ask({ ...tcb, [name]: 7 }), { code: 'AGENT_UNAVAILABLE' });
    if (name !== 'app_compose') await assert.rejects(ask({ ...tcb, [name]: '0g' }), { code: 'AGENT_UNAVAILABLE' });
  }
  for (const key_provider_info of [undefined, provider, 'kms', '{}', '{"name":"kms","id":1}'])
    await assert.rejects(ask(tcb, { ...info, key_provider_info }), { code: 'AGENT_UNAVAILABLE' });
  await assert.rejects(ask(tcb, { ...info, app_id: '00'.repeat(19) }), { code: 'AGENT_UNAVAILABLE' });
  await assert.rejects((await answering({ key: '00'.repeat(31) })).getKey('x'), { code: 'AGENT_UNAVAILABLE' });
  const noKey = await answering({ key: 'no PEM', certificate_chain: [] });
  await assert.rejects(noKey.getTlsKey({ subject: 'x', altNames: [] }), { code: 'AGENT_UNAVAILABLE' });
  const noLog = await answering({ quote: '00', event_log: '[{"imr":9}]' });
  await assert.rejects(noLog.getQuote(new Uint8Array(64)), { code: 'AGENT_UNAVAILABLE' });
});

test('whatever an agent answers, a call ends in a value or in AGENT_UNAVAILABLE', async (t) => {
  let body = '';
  const agent = await fake((_, response) => response.end(body));
  const calls = [
    () => agent.info(),
    () => agent.version(),
    () => agent.getKey('x'),
    () => agent.getQuote(new Uint8Array(64)),
    () => agent.getTlsKey({ subject: 'x', altNames: [] }),
    () => agent.gpuInfo(),
    () => agent.gpuEvidence(new Uint8Array(32)),
  ];
  const property = fc.asyncProperty(fc.oneof(fc.json(), fc.string()), fc.constantFrom(...calls), async (text, call) => {
    body = text;
    await call().catch((error) => assert.equal(error.code, 'AGENT_UNAVAILABLE'));
  });
  const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31);
  t.diagnostic(`seed ${seed}`);
  await fc.assert(property, { seed, numRuns: process.env.SLOW ? 1000 : 10 });
});
