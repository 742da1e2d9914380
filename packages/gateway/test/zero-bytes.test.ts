/**
 * Not one byte of patient data for a service that does not verify (threat model, rows 4–7): in its place stands a
 * listener that records what it is sent. The same listener with the genuine key gets it all: the search could have
 * found it.
 */
import 'reflect-metadata'; // first: @peculiar/x509 needs its decorators
import assert from 'node:assert/strict';
import { KeyObject } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, beforeEach, type TestContext, test } from 'node:test';
import { X509CertificateGenerator } from '@peculiar/x509';
import { json, nonceOf } from '../../client/test/hostile-door.ts';
import type { GatewayState } from '../src/index.ts';
import {
  isDrained,
  isOpen,
  lan,
  type Recorder,
  type Running,
  type Service,
  startBefore,
  startRecorder,
  startService,
  store,
  until,
} from './harness.ts';

const CANARY = 'CN7F3A90B1D2E4';

let service: Service;
let genuine: { key: string; cert: string; minVersion: 'TLSv1.3' };
before(async () => {
  service = await startService();
  const { keyPem, chainPem } = service.attested.key;
  genuine = { key: keyPem, cert: chainPem.join('\n'), minVersion: 'TLSv1.3' };
});
beforeEach(() => {
  service.arrived.length = 0;
});
after(() => service.close());

const holds = (chunks: readonly Buffer[]): boolean => Buffer.concat(chunks).includes(CANARY);

/** An upload and a search are sent while the door is shut; returns when the gateway has made up its mind. */
async function tryToSend(running: Running): Promise<GatewayState> {
  const upload = await store(running.url, Buffer.from(`a study of ${CANARY}`), '/dicom-web/studies/1.2.3');
  assert.equal(upload.status, 202);
  const state = await until(running.gateway, ({ reasons }) => reasons[0] !== 'verification-pending');
  const search = await lan(`${running.url}/dicom-web/studies?PatientName=${CANARY}`);
  assert.deepEqual([search.status, search.json().code, search.headers['retry-after']], [503, 'GATEWAY_CLOSED', '10']);
  assert.deepEqual(search.json().reasons, state.reasons);
  const health = await lan(`${running.url}/healthz`);
  assert.deepEqual([health.status, health.json().state], [503, 'closed']);
  assert.ok(!health.text.includes(CANARY));
  return state;
}

/** Nothing went out, and nothing identifying is in the log or, in clear, on disk. */
function assertSilent(running: Running, recorder: Recorder): void {
  assert.ok(recorder.wire.length > 0, 'somebody did ask');
  assert.ok(!holds(recorder.plaintext) && !holds(recorder.wire), 'the canary went out');
  assert.ok(!running.lines.join('').includes(CANARY));
  const files = readdirSync(running.dir, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  assert.ok(files.some(({ name }) => name.endsWith('.upload')));
  for (const { parentPath, name } of files) {
    assert.ok(!name.includes(CANARY));
    assert.ok(!holds([readFileSync(join(parentPath, name))]), name);
  }
  assert.equal(service.arrived.length, 0);
}

async function openBefore(t: TestContext, recorder: Recorder): Promise<Running> {
  const running = await startBefore(service.trust(recorder.url));
  t.after(async () => {
    await running.close();
    await recorder.close();
  });
  return running;
}

test('the genuine service gets it, once', async (t) => {
  const recorder = await startRecorder(genuine, service.door.port);
  service.healthStatus = 503; // verified, and not taking anything yet
  const running = await openBefore(t, recorder);
  assert.deepEqual((await tryToSend(running)).reasons, ['service-closed']);
  assertSilent(running, recorder);
  service.healthStatus = 200;
  await until(running.gateway, (state) => isOpen(state) && isDrained(state));
  assert.ok(holds(recorder.plaintext));
  assert.ok(!holds(recorder.wire), 'what is on the wire is ciphertext');
  assert.deepEqual(
    service.arrived.map(({ path, bytes }) => [path, bytes.toString()]),
    [['/dicom-web/studies/1.2.3', `a study of ${CANARY}`]],
  );
});

for (const [fault, code, integrity] of [
  ['wrong-compose', 'CODE_HASH_MISMATCH', true],
  ['unlisted-rtmr2', 'OS_MEASUREMENT_UNLISTED', true],
  ['expired-collateral', 'COLLATERAL_EXPIRED', false],
  ['crl-expired', 'CRL_EXPIRED', false],
  ['pck-revoked', 'CERTIFICATE_REVOKED', true],
] as const)
  test(`${fault}: ${code}, and nothing is sent`, async (t) => {
    const { tee } = service.attested;
    await tee.setFault(fault);
    service.attested.forgetCollateral();
    t.after(async () => {
      await tee.setFault(null);
      service.attested.forgetCollateral();
    });
    const recorder = await startRecorder(genuine, service.door.port);
    const running = await openBefore(t, recorder);
    const { reasons, verdict, lastRefusal } = await tryToSend(running);
    assert.deepEqual(reasons, ['verification-refused', code]);
    assert.equal(verdict?.headline, 'DO NOT send PHI (simulated)');
    assert.deepEqual(lastRefusal?.codes, integrity ? [code] : undefined);
    const logged = running.lines.map((line) => JSON.parse(line)).find(({ level }) => level === 'error');
    assert.deepEqual([logged.event, logged.codes, logged.integrity], ['verification-refused', [code], integrity]);
    assertSilent(running, recorder);
  });

test('a relay: genuine evidence of the service, handed on under another key', async (t) => {
  const own = await service.attested.agent.getTlsKey({ subject: 'localhost', altNames: ['localhost'] });
  const recorder = await startRecorder(
    { key: own.keyPem, cert: own.chainPem.join('\n'), minVersion: 'TLSv1.3' },
    service.door.port,
  );
  const running = await openBefore(t, recorder);
  assert.deepEqual((await tryToSend(running)).reasons, ['verification-refused', 'CHANNEL_MISMATCH']);
  assertSilent(running, recorder);
});

test('a replayed quote, as it was, and with the nonce written into it', async (t) => {
  const recorded = await service.attested.evidence.evidenceFor('00'.repeat(32));
  const answer = service.door.answer;
  t.after(() => {
    service.door.answer = answer;
  });
  for (const [code, replay] of [
    ['NONCE_MISMATCH', () => recorded],
    ['REPORT_DATA_MISMATCH', (nonce: string) => ({ ...recorded, reportData: { ...recorded.reportData, nonce } })],
  ] as const) {
    service.door.answer = (stream, headers) => json(stream, 200, replay(nonceOf(headers)));
    const recorder = await startRecorder(genuine, service.door.port);
    const running = await openBefore(t, recorder);
    assert.deepEqual((await tryToSend(running)).reasons, ['verification-refused', code]);
    assertSilent(running, recorder);
  }
});

test('TLS 1.2', async (t) => {
  const algorithm = {
    name: 'RSASSA-PKCS1-v1_5',
    hash: 'SHA-256',
    modulusLength: 2048,
    publicExponent: Uint8Array.of(1, 0, 1),
  };
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const certificate = await X509CertificateGenerator.createSelfSigned({ keys, name: 'CN=localhost' });
  const key = KeyObject.from(keys.privateKey).export({ type: 'pkcs8', format: 'pem' }).toString();
  const recorder = await startRecorder(
    { key, cert: certificate.toString('pem'), maxVersion: 'TLSv1.2' },
    service.door.port,
  );
  const running = await openBefore(t, recorder);
  assert.deepEqual((await tryToSend(running)).reasons, ['verification-unavailable', 'CONNECTION_FAILED']);
  assert.equal(recorder.plaintext.length, 0);
  assertSilent(running, recorder);
});
