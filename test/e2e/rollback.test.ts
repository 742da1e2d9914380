/**
 * The host owns the disk: it puts back yesterday's, takes it away, or runs a copy beside it. With witnesses, one that is
 * asked and one that comes, the door then stays closed, and opens again for the newest disk alone, after an officer's word.
 */
import assert from 'node:assert/strict';
import { cpSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connectVerified } from '@abaton/client';
import { drawPhantom } from '../../packages/server/src/imaging/phantom.ts';
import { careless, until } from './careless.ts';
import { abaton, startCommand } from './command.ts';
import { enrolOfficer, readIncidents } from './officer.ts';
import { type Stack, startStack } from './stack.ts';

const GUARD_MS = 60_000; // against hanging; nothing here is about speed

interface WitnessProcess {
  url: string;
  /** ML-DSA-44. */
  vkey: string;
  kill(): Promise<void>;
}

/** `abaton witness`, as its operator runs it. */
async function startWitness(t: TestContext, dir: string, name: string, args: string[]): Promise<WitnessProcess> {
  const key = join(dir, `${name}.key`);
  if (args.includes('--new')) abaton('witness', 'key', key, '--name', `${name}.example/witness`);
  const { ready, kill } = await startCommand(t, ['witness', '--key', key, '--data-dir', join(dir, name), ...args]);
  const { url, vkeys } = ready as { url: string; vkeys: string[] };
  return { url, vkey: vkeys[1]!, kill };
}

interface Health {
  status: string;
  reasons: string[];
  witnesses: { label: string; cosignedSize: number };
  audit: { entries: number };
}
const health = async (url: string): Promise<Health | null> => {
  const answer = await careless(url, 'GET', '/healthz').catch(() => null);
  return answer && JSON.parse(answer.text);
};
const isOpen = async (url: string) => (await health(url))?.status === 'open';
const uid = (n: number) => `2.25.88${n}`;
const send = async (url: string, n: number) => {
  const body = drawPhantom({ studyInstanceUid: uid(n), ageYears: 3, now: new Date() });
  return (await careless(url, 'POST', '/dicom-web/studies', body)).status;
};

/** Closed for the reason that it must be, and still so when everything had time to settle. */
async function assertStaysClosed({ url }: { url: string }): Promise<void> {
  const rolledBack = async () =>
    (await readIncidents(url).catch(() => [])).some(({ codes }) => codes.includes('LOG_ROLLED_BACK'));
  await until('the history that does not fit is noticed', rolledBack);
  await sleep(1_500);
  const { status, reasons, witnesses } = (await health(url))!;
  assert.equal(status, 'closed');
  assert.ok(reasons.includes('incident-open') && reasons.includes('witness-pending'), reasons.join(' '));
  assert.equal(witnesses.label, 'pending');
  assert.equal(await send(url, 99), 503);
}

async function readLogVkeys(stack: Stack): Promise<string[]> {
  const connection = await connectVerified(stack.trust());
  connection.close();
  return connection.evidence.reportData.auditLogVkeys;
}

test('yesterday’s disk, an empty one, and a copy that runs beside: closed, each', {
  timeout: 5 * GUARD_MS,
}, async (t) => {
  const stack = await startStack();
  t.after(() => stack.close());
  const { dir, dataDir } = stack;
  const first = await stack.startServer();
  const logs = (await readLogVkeys(stack)).flatMap((vkey) => ['--log', vkey]);
  await first.stop();
  rmSync(dataDir, { recursive: true });

  const asked = await startWitness(t, dir, 'asked', [...logs, '--listen', '127.0.0.1:0', '--new']);
  const { url } = stack.trust();
  const comes = await startWitness(t, dir, 'comes', [...logs, '--url', url, '--new']);
  const officer = enrolOfficer(stack, [], [{ url: asked.url, vkey: asked.vkey }, { vkey: comes.vkey }]);
  const env = { ABATON_MANIFEST: officer.manifestFile, ABATON_ATTESTATION_INTERVAL_MS: '1000' };

  let server = await stack.startServer(env);
  await until('both have cosigned the start', () => isOpen(url));
  assert.equal(await send(url, 1), 200);
  await server.stop();
  const yesterday = join(dir, 'yesterday');
  cpSync(dataDir, yesterday, { recursive: true });

  server = await stack.startServer(env);
  await until('open again', () => isOpen(url));
  assert.equal(await send(url, 2), 200);

  await t.test('a witness that is away closes the door within seconds, and opens it when it is back', async () => {
    const port = new URL(asked.url).port;
    await asked.kill();
    await until('the tail is too old', async () => (await health(url))?.reasons.includes('witness-late') ?? false);
    assert.equal(await send(url, 3), 503);
    await startWitness(t, dir, 'asked', [...logs, '--listen', `127.0.0.1:${port}`]);
    await until('open', () => isOpen(url));
  });

  await stack.softTee.setFault('pck-revoked');
  await until('latched', async () => (await health(url))?.reasons.includes('incident-open') ?? false);
  const [incident] = await readIncidents(url);
  await server.stop();
  await stack.softTee.setFault(null);
  const today = join(dir, 'today');
  renameSync(dataDir, today);

  await t.test('yesterday’s disk knows of no incident, and stays closed', async () => {
    cpSync(yesterday, dataDir, { recursive: true });
    const rolledBack = await stack.startServer(env);
    await assertStaysClosed({ url });
    await rolledBack.stop();
    const again = await stack.startServer(env); // nor does a restart open it
    await assertStaysClosed({ url });
    await again.stop();
    rmSync(dataDir, { recursive: true });
  });

  await t.test('an empty disk knows of nothing, and stays closed', async () => {
    const empty = await stack.startServer(env);
    await assertStaysClosed({ url });
    await empty.stop();
    rmSync(dataDir, { recursive: true });
  });

  await t.test('the newest disk is latched as it was left, and opens after the officer has said why', async () => {
    cpSync(today, dataDir, { recursive: true });
    server = await stack.startServer(env);
    await until('cosigned', async () => (await health(url))?.witnesses.label === 'witnessed');
    assert.deepEqual((await health(url))!.reasons, ['incident-open']);
    assert.deepEqual(await officer.resolveAll('the host was replaced'), [incident!.id]);
    await until('open', () => isOpen(url));
  });

  await t.test('a copy that runs beside is refused, and does not disturb', async () => {
    const port = await stack.freePort();
    const copy = await stack.startServer({ ...env, ABATON_DATA_DIR: today, ABATON_PORT: String(port) });
    await assertStaysClosed({ url: `https://127.0.0.1:${port}` });
    assert.ok(await isOpen(url));
    await copy.stop();
    await server.stop();
  });
});
