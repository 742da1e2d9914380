/**
 * Each fault of the software TEE: the client refuses it with a code of its own and sends nothing, whether as a library or
 * as a command; the server closes its own gate within one interval. When the fault is gone it opens by itself, or, when its
 * integrity was in question, after an officer has said why.
 *
 * A server keeps its last good collateral, also on disk (tee/collateral.ts): a service that answers with worse does not close
 * the door. So a fault that only *collateral* tells of shows on a machine that keeps none: here, at its next start.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connectVerified, NotVerifiedError, sendFiles, verifyAttestation } from '@abaton/client';
import { summarizeVerdict, type Verdict } from '@abaton/verify';
import { drawPhantom } from '../../packages/server/src/imaging/phantom.ts';
import { kindOfCode } from '../../packages/server/src/tee/failure-kinds.ts';
import { FAULTS, type FaultName } from '../../packages/soft-tee/src/faults.ts';
import { careless, until } from './careless.ts';
import { enrolOfficer, type Officer } from './officer.ts';
import { root, type ServerProcess, type Stack, startStack } from './stack.ts';

/** What a client says. `agent-down` yields no evidence to judge. */
const PLATFORM_FAULTS = {
  debug: 'TD_DEBUG',
  'wrong-compose': 'CODE_HASH_MISMATCH',
  'unlisted-rtmr2': 'OS_MEASUREMENT_UNLISTED',
  'forged-log': 'EVENT_LOG_MISMATCH',
  'wrong-root': 'ROOT_UNTRUSTED',
  'agent-down': 'EVIDENCE_UNAVAILABLE',
} as const;
const COLLATERAL_FAULTS = {
  'tcb-revoked': 'TCB_REVOKED',
  'out-of-date': 'TCB_OUT_OF_DATE',
  'pck-revoked': 'CERTIFICATE_REVOKED',
  'expired-collateral': 'COLLATERAL_EXPIRED',
  'crl-expired': 'CRL_EXPIRED',
} as const;

const FAST = { ABATON_ATTESTATION_INTERVAL_MS: '1000' };
const GUARD_MS = 30_000; // against hanging; nothing here is about speed

let stack: Stack;
let server: ServerProcess;
let officer: Officer;
let phantom: string;
before(async () => {
  stack = await startStack();
  officer = enrolOfficer(stack);
  server = await startServer();
  phantom = join(stack.dir, 'phantom.dcm');
  writeFileSync(phantom, drawPhantom({ studyInstanceUid: '2.25.4100', ageYears: 3, now: new Date() }));
});
after(() => stack.close());

const startServer = () => stack.startServer({ ...FAST, ABATON_MANIFEST: officer.manifestFile });

async function restart(): Promise<void> {
  await server.stop();
  server = await startServer();
}

async function countUploads(): Promise<number> {
  const { text } = await careless(server.url, 'GET', '/metrics');
  const samples = text.matchAll(/^abaton_http_requests_total\{[^}]*method="POST"[^}]*\} (\d+)$/gm);
  return [...samples].reduce((sum, [, count]) => sum + Number(count), 0);
}

interface Health {
  status: 'open' | 'closed';
  reasons: string[];
  attestation: { state: string; at: string };
}

/** Health after the first self-attestation that began at `since` or later: the one that must show a change. */
async function healthAfter(since: string): Promise<Health> {
  for (const deadline = Date.now() + GUARD_MS; Date.now() < deadline; await sleep(50)) {
    const health = JSON.parse((await careless(server.url, 'GET', '/healthz')).text) as Health;
    if (health.attestation.at >= since) return health;
  }
  return assert.fail('no self-attestation');
}

/** Returns when the fault is in force; what begins from then on must show it. */
async function setFault(name: FaultName | null): Promise<string> {
  await stack.softTee.setFault(name);
  return new Date().toISOString();
}

const abaton = (...args: string[]) =>
  new Promise<{ exit: number | null; output: { error?: { code: string }; verdict?: Verdict } & Verdict }>((resolve) => {
    const { url, policyFile } = { url: server.url, policyFile: stack.softTee.policyFile };
    const command =
      args[0] === 'verify' ? ['verify', url, ...args.slice(1)] : ['analyze', phantom, '--url', url, ...args.slice(1)];
    const child = execFile(
      process.execPath,
      [join(root, 'packages/cli/bin/abaton.mjs'), ...command, '--policy', policyFile, '--json'],
      (_error, stdout) => resolve({ exit: child.exitCode, output: JSON.parse(stdout) }),
    );
  });
const pinned = () => ['--accept-simulated', stack.softTee.rootSha256];

const failuresOf = ({ checks }: Verdict) => checks.filter(({ status }) => status === 'fail').map(({ code }) => code);

/** Library and command refuse evidence with this code first, and no upload has reached the server. */
async function assertRefused(code: string): Promise<void> {
  const uploads = await countUploads();
  const verdict = await verifyAttestation(stack.trust());
  assert.deepEqual([verdict.valid, verdict.send, failuresOf(verdict)[0]], [false, 'nothing', code]);
  assert.deepEqual(summarizeVerdict(verdict), { headline: 'DO NOT send PHI (simulated)', exitCode: 3 });
  await assert.rejects(connectVerified(stack.trust()), (error) => {
    assert.ok(error instanceof NotVerifiedError);
    assert.equal(failuresOf(error.verdict)[0], code);
    return true;
  });
  const { exit, output } = await abaton('analyze', ...pinned());
  assert.deepEqual([exit, output.error?.code, failuresOf(output.verdict!)[0]], [3, 'NOT_VERIFIED', code]);
  assert.equal(await countUploads(), uploads, 'nothing was sent');
}

async function assertUnavailable(code: string): Promise<void> {
  const uploads = await countUploads();
  for (const call of [verifyAttestation, connectVerified])
    await assert.rejects(call(stack.trust()), { name: 'UnavailableError', code });
  const { exit, output } = await abaton('analyze', ...pinned());
  assert.deepEqual([exit, output.error?.code], [2, code]);
  assert.equal(await countUploads(), uploads, 'nothing was sent');
}

/**
 * Until the server has said that it is closed, and so has cut every connection: what asks from then on is answered. Before,
 * whoever is in the middle of asking may be cut.
 */
const closing = (since: string) =>
  until('closed', () => {
    const lines = readFileSync(stack.serverLog, 'utf8').trimEnd().split('\n');
    return lines.some((line) => {
      if (!line.startsWith('{')) return false;
      const { time, event, open } = JSON.parse(line) as { time: string; event: string; open?: boolean };
      return event === 'gate' && open === false && time >= since;
    });
  });

async function assertClosed(since: string, code: string): Promise<void> {
  await closing(since);
  const health = await healthAfter(since);
  assert.equal(health.attestation.state, 'failed');
  assert.equal(health.status, 'closed');
  const { reasons } = health;
  assert.ok(reasons.includes(code), reasons.join(' '));
  const refused = await careless(server.url, 'POST', '/dicom-web/studies', Buffer.from('a study')); // from whoever did not verify
  assert.deepEqual([refused.status, JSON.parse(refused.text).code], [503, 'GATE_CLOSED']);
}

async function assertOpen(since: string, code: string): Promise<void> {
  const integrity = kindOfCode(code) === 'integrity';
  const { reasons: before } = await healthAfter(since);
  assert.equal(before.includes('incident-open'), integrity, before.join(' '));
  const resolved = await officer.resolveAll('a fault of the test');
  assert.equal(resolved.length > 0, integrity);
  const { status, reasons, attestation } = await healthAfter(since);
  assert.deepEqual([status, reasons, attestation.state], ['open', [], 'verified']);
  assert.equal((await verifyAttestation(stack.trust())).valid, true);
}

test('every fault has its row, and every row its own code', () => {
  const expected = { ...PLATFORM_FAULTS, ...COLLATERAL_FAULTS };
  assert.deepEqual(Object.keys(expected).sort(), Object.keys(FAULTS).sort());
  assert.equal(new Set(Object.values(expected)).size, Object.keys(FAULTS).length);
});

for (const [fault, code] of Object.entries(PLATFORM_FAULTS) as [FaultName, string][])
  test(`${fault}, while the server runs: ${code}`, { timeout: 2 * GUARD_MS }, async () => {
    const began = await setFault(fault);
    const own = fault === 'agent-down' ? 'AGENT_UNAVAILABLE' : code;
    await assertClosed(began, own);
    if (fault === 'agent-down') await assertUnavailable(code);
    else await assertRefused(code);
    await assertOpen(await setFault(null), own);
  });

for (const [fault, code] of Object.entries(COLLATERAL_FAULTS) as [FaultName, string][])
  test(`${fault}, on a machine that keeps no better collateral: ${code}`, { timeout: 2 * GUARD_MS }, async () => {
    const began = await setFault(fault);
    rmSync(join(stack.dataDir, 'collateral'), { recursive: true });
    await restart();
    await assertClosed(began, code);
    await assertRefused(code);
    const gone = await setFault(null);
    await restart();
    await assertOpen(gone, code);
  });

test('without a fault an upload is taken, and counted', async () => {
  const uploads = await countUploads();
  const connection = await connectVerified(stack.trust());
  assert.equal((await sendFiles(connection, [phantom])).stored, 1);
  connection.close();
  assert.equal(await countUploads(), uploads + 1);
});

test('to whoever accepts Intel alone nothing may be sent, and trust is what verified (I5)', async () => {
  const { url, policy } = stack.trust();
  const uploads = await countUploads();
  for (const acceptedRootsSha256 of [undefined, ['00'.repeat(32)]]) {
    const verdict = await verifyAttestation({
      url,
      policy,
      ...(acceptedRootsSha256 && { acceptedRootsSha256 }),
    });
    assert.deepEqual(failuresOf(verdict), ['ROOT_UNTRUSTED']);
    assert.deepEqual(
      [verdict.valid, verdict.send, verdict.trust, verdict.trustRootSha256],
      [false, 'nothing', 'simulated', stack.softTee.rootSha256],
    );
    assert.equal(summarizeVerdict(verdict).headline, 'DO NOT send PHI (simulated)');
  }
  await assert.rejects(connectVerified({ url, policy }), { code: 'NOT_VERIFIED', message: /ROOT_UNTRUSTED/ });
  const verified = await abaton('verify');
  assert.deepEqual([verified.exit, verified.output.trust, verified.output.send], [3, 'simulated', 'nothing']);
  assert.equal((await abaton('analyze')).exit, 3);
  assert.equal(await countUploads(), uploads);
});
