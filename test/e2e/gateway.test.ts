/** The gateway before a real server in a software TEE: studies of the LAN go in and results come back, also over a revocation. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { type Gateway, type GatewayState, startGateway } from '@abaton/gateway';
import { drawPhantom } from '../../packages/server/src/imaging/phantom.ts';
import { until } from './careless.ts';
import { enrolOfficer, type Officer } from './officer.ts';
import { root, type Stack, startStack } from './stack.ts';

const INTERVAL_MS = 1_000;
const GUARD_MS = 60_000; // against hanging; nothing here is about speed

let stack: Stack;
let officer: Officer;
let dir: string;
before(async () => {
  stack = await startStack();
  officer = enrolOfficer(stack);
  const env = { ABATON_ATTESTATION_INTERVAL_MS: String(INTERVAL_MS), ABATON_MANIFEST: officer.manifestFile };
  await stack.startServer(env);
  dir = mkdtempSync(join(tmpdir(), 'abaton-gateway-'));
});
after(async () => {
  await stack.close();
  rmSync(dir, { recursive: true });
});

async function openGateway(): Promise<{ gateway: Gateway; url: string }> {
  const gateway = await startGateway({
    trust: stack.trust(),
    host: '127.0.0.1',
    port: 0,
    dataDir: join(dir, 'gateway'),
    intervalMs: INTERVAL_MS,
    log: () => {},
  });
  return { gateway, url: `http://127.0.0.1:${gateway.port}` };
}

const isOpen = ({ state }: GatewayState) => state === 'open';
const newUid = () => `2.25.${BigInt(`0x${randomUUID().replaceAll('-', '')}`)}`; // PS3.5 B.2
const storeStudy = (url: string, studyInstanceUid: string): Promise<Response> =>
  fetch(`${url}/dicom-web/studies`, {
    method: 'POST',
    headers: { 'content-type': 'application/dicom', accept: 'application/dicom+json' },
    body: Buffer.from(drawPhantom({ studyInstanceUid, ageYears: 3, now: new Date() })),
  });

test('a study goes in by DICOMweb, and its result comes back by all three ways', async (t) => {
  const { gateway, url } = await openGateway();
  t.after(() => gateway.close());
  await until('open', () => isOpen(gateway.state()));
  assert.equal(gateway.state().verdict!.headline, 'Safe to send SYNTHETIC data only');
  assert.equal(gateway.state().verdict!.codeHash, stack.softTee.codeHash);
  const study = newUid();
  assert.equal((await storeStudy(url, study)).status, 200);
  let analysis: { state: string; results: { result: { outcome: string } }[] } = { state: 'queued', results: [] };
  await until('analysed', async () => {
    analysis = await (await fetch(`${url}/api/v1/studies/${study}/analysis?waitMs=1000`)).json();
    return analysis.state === 'complete';
  });
  assert.equal(analysis.results[0]!.result.outcome, 'scored');
  const reports = await (await fetch(`${url}/fhir/R4/DiagnosticReport?identifier=urn:oid:${study}`)).json();
  assert.equal(reports.total, 1);
  assert.ok(reports.entry[0].fullUrl.startsWith(`${url}/fhir/R4/`), 'links lead back to the gateway');
  const instances = await (await fetch(`${url}/dicom-web/studies/${study}/instances`)).json();
  assert.equal(instances.length, 2, 'the image and its SR');
  for (const instance of instances) assert.ok(instance['00081190'].Value[0].startsWith(`${url}/dicom-web/`));
});

test('revoked while studies are sent: closed, then queued; cleared: drained, and nothing acknowledged is lost', {
  timeout: 3 * GUARD_MS,
}, async (t) => {
  const { gateway, url } = await openGateway();
  t.after(() => gateway.close());
  await until('open', () => isOpen(gateway.state()));
  const acknowledged: { study: string; status: number }[] = [];
  let sending = true;
  const sender = async () => {
    while (sending) {
      const study = newUid();
      const answer = await storeStudy(url, study).catch(() => null);
      await answer?.arrayBuffer().catch(() => null);
      if (answer?.status === 200 || answer?.status === 202) acknowledged.push({ study, status: answer.status });
    }
  };
  const senders = [sender(), sender()];
  const count = (status: number) => acknowledged.filter((each) => each.status === status).length;
  await until('some are stored', () => count(200) >= 3);

  await stack.softTee.setFault('pck-revoked');
  await until('closed', () => gateway.state().reasons.includes('CERTIFICATE_REVOKED'));
  assert.deepEqual(gateway.state().lastRefusal?.codes, ['CERTIFICATE_REVOKED']);
  const stored = count(200);
  await until('some are queued', () => count(202) >= 3);
  assert.equal(count(200), stored, 'none goes through');
  sending = false;
  await Promise.all(senders);
  assert.equal((await fetch(`${url}/dicom-web/studies`)).status, 503);

  await stack.softTee.setFault(null);
  const resolved = async () => (await officer.resolveAll('a drill').catch(() => [])).length > 0;
  await until('resolved, once the platform is as it was', resolved);
  await until('drained', () => isOpen(gateway.state()) && gateway.state().queue.queued === 0);
  assert.equal(gateway.state().queue.refused, 0);
  for (const { study } of acknowledged) {
    const found = await fetch(`${url}/dicom-web/studies/${study}/metadata`);
    assert.equal(found.status, 200, 'an acknowledged study is lost');
    await found.arrayBuffer();
  }
  assert.ok(readdirSync(join(dir, 'gateway', 'queue')).every((name) => name.endsWith('.answer')));
});

test('the command: one line when it listens, health, and a clean end', async () => {
  const flags = {
    url: stack.trust().url,
    policy: stack.softTee.policyFile,
    acceptSimulated: [stack.softTee.rootSha256],
    listen: '127.0.0.1:0',
    dataDir: join(dir, 'command'),
    interval: '60s',
  };
  const command = new URL('../../packages/cli/src/gateway-command.ts', import.meta.url);
  const script = `import { runGateway } from ${JSON.stringify(command)}; await runGateway(${JSON.stringify(flags)});`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const exited = once(child, 'exit');
  const [line] = await once(createInterface({ input: child.stdout! }), 'line');
  const { url } = JSON.parse(line) as { url: string };
  await until('open', async () => (await fetch(`${url}/healthz`)).status === 200);
  child.kill('SIGTERM');
  assert.deepEqual(await exited, [0, null]);
});
