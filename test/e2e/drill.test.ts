/**
 * A drill: the platform is revoked while studies stream in. Intake stops with the next proof, nothing acknowledged is lost,
 * the alert arrives, a restart stays closed, an officer's word opens, and the log tells all of it.
 */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { awaitAnalysis, connectVerified } from '@abaton/client';
import { drawPhantom } from '../../packages/server/src/imaging/phantom.ts';
import { createIdentity, startWebhook } from '../../packages/server/test/alerts/receivers.ts';
import { readYears } from '../../packages/server/test/audit/support.ts';
import { careless, until } from './careless.ts';
import { startLoad } from './load.ts';
import { enrolOfficer, readIncidents } from './officer.ts';
import { type Stack, startStack } from './stack.ts';

const INTERVAL_MS = 1_000;
const DURABLE_FIRST_MS = 1_000; // how long the door may wait for the incident's entry (latch.ts)
const GUARD_MS = 60_000; // against hanging; nothing here is about speed
const CAUSE = 'Intel revoked the platform; the host was replaced';

interface Entry {
  time: string;
  action: string;
  outcome: string;
  facts: Record<string, string | number | boolean | null>;
}

async function readLog(stack: Stack, vkeys: readonly string[]): Promise<Entry[]> {
  const log = await readYears(join(stack.dataDir, 'audit'), [...vkeys]);
  return log.map((bytes) => JSON.parse(Buffer.from(bytes).toString()) as Entry);
}

test('the platform is revoked while studies stream in', { timeout: 5 * GUARD_MS }, async (t) => {
  const identity = await createIdentity();
  const webhook = await startWebhook(identity);
  const stack = await startStack();
  const load = startLoad(stack);
  t.after(async () => {
    await load.stop();
    await stack.close();
    await webhook.close();
  });
  const officer = enrolOfficer(stack, [webhook.url]);
  const caFile = join(stack.dir, 'webhook-ca.pem');
  writeFileSync(caFile, identity.ca);
  const env = {
    ABATON_ATTESTATION_INTERVAL_MS: String(INTERVAL_MS),
    ABATON_MANIFEST: officer.manifestFile,
    NODE_EXTRA_CA_CERTS: caFile,
  };
  let server = await stack.startServer(env);
  const { url } = server;

  const taken: string[] = [];
  let sending = true;
  const sender = (async () => {
    while (sending) {
      const studyInstanceUid = `2.25.${BigInt(`0x${randomUUID().replaceAll('-', '')}`)}`;
      const body = drawPhantom({ studyInstanceUid, ageYears: 3, now: new Date() });
      const answer = await careless(url, 'POST', '/dicom-web/studies', body).catch(() => null); // cut
      if (answer?.status === 200) taken.push(studyInstanceUid);
      else await sleep(20);
    }
  })();
  await until('both are served', () => load.acknowledged.length >= 3 && taken.length >= 3);

  await stack.softTee.setFault('pck-revoked');
  const revokedAt = new Date().toISOString();
  const health = () => careless(url, 'GET', '/healthz').catch(() => ({ text: '' }));
  const isClosed = async () => (await health()).text.includes('"incident-open"');
  await until('closed', isClosed);
  const before = [load.acknowledged.length, taken.length];
  const refused = await careless(url, 'POST', '/dicom-web/studies', new Uint8Array(10));
  assert.equal(JSON.parse(refused.text).code, 'GATE_CLOSED');
  await sleep(2 * INTERVAL_MS);
  assert.deepEqual([load.acknowledged.length, taken.length], before, 'nothing is taken any more');

  const [incident, ...others] = await readIncidents(url);
  assert.deepEqual(others, [], 'proofs that fail alike are one incident');
  await until('told', () => webhook.taken.length > 0);
  const alert = JSON.parse(webhook.taken[0]!);
  assert.deepEqual([alert.kind, alert.incidentId, alert.codes], ['incident', incident!.id, ['CERTIFICATE_REVOKED']]);
  assert.deepEqual(Object.keys(alert).sort(), ['app', 'at', 'codes', 'incidentId', 'kind'], 'public facts alone');

  await stack.softTee.setFault(null);
  await server.stop();
  server = await stack.startServer(env);
  const proven = async () => (await health()).text.includes('"state":"verified"');
  await until('the platform is good again', proven);
  assert.ok(await isClosed(), 'and the door stays closed');
  assert.equal((await careless(url, 'POST', '/dicom-web/studies', new Uint8Array(10))).status, 503);

  assert.deepEqual(await officer.resolveAll(CAUSE), [incident!.id]);
  await until('open again', () => load.acknowledged.length > before[0]! && taken.length > before[1]!);
  sending = false;
  await Promise.all([sender, load.stop()]);

  const connection = await connectVerified(stack.trust());
  for (const study of [...load.acknowledged, ...taken]) {
    const { state, results } = await awaitAnalysis(connection, study);
    assert.deepEqual([state, results.length], ['complete', 1], `study ${study}`);
  }
  const vkeys = connection.evidence.reportData.auditLogVkeys;
  connection.close();
  await server.stop();

  const log = await readLog(stack, vkeys);
  const index = (found: (entry: Entry) => boolean, from = 0) => {
    const at = log.findIndex((entry, i) => i >= from && found(entry));
    assert.notEqual(at, -1, `the log does not tell: ${found}`);
    return at;
  };
  const opened = index(({ action }) => action === 'incident');
  assert.equal(log[opened]!.facts.codes, 'CERTIFICATE_REVOKED');
  const held = log.slice(0, opened).filter(({ action, outcome, time }) => {
    return action === 'attest' && outcome === 'success' && time > revokedAt;
  });
  assert.ok(held.length <= 1, 'only a proof that was under way held after the revocation');
  const closed = index(({ action, facts }) => action === 'gate' && facts.open === false, opened);
  assert.match(String(log[closed]!.facts.reasons), /incident-open attestation-failed CERTIFICATE_REVOKED/);
  const told = index(({ action, outcome }) => action === 'alert' && outcome === 'success', opened);
  const restarted = index(({ action }) => action === 'boot', told);
  assert.ok(String(log[restarted]!.facts.openIncidents).includes(incident!.id));
  const resolved = index(({ action }) => action === 'incident-resolved', restarted);
  assert.equal(log[resolved]!.facts.officer, 'A. Officer');
  const reopened = index(({ action, facts }) => action === 'gate' && facts.open === true, resolved);
  // an instance that was committed before may get its entry after; nothing else is done once the incident is durable
  const handled = ['read', 'search', 'execute'];
  const durableMs = Date.parse(log[opened]!.time) + DURABLE_FIRST_MS;
  const meanwhile = log.slice(opened, resolved).filter(({ action, time }, i) => {
    return handled.includes(action) && (opened + i > closed || Date.parse(time) > durableMs);
  });
  assert.deepEqual(meanwhile, [], 'nothing was analysed or given out while it was closed');
  const after = log.slice(told, resolved).filter(({ action }) => action === 'create');
  assert.deepEqual(after, [], 'and nothing was taken');
  const story = [opened, closed, told, restarted, resolved, reopened]
    .map((at) => `${at} ${log[at]!.action}`)
    .join(', ');
  console.log(`${load.acknowledged.length + taken.length} acknowledged studies, none lost; the log: ${story}`);
});
