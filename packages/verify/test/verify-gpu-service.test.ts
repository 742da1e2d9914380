/** A service whose guest uses GPUs: every check passes, in a document and in kept files; and what ties the GPUs to the guest. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { computeGpuEvidenceSha256, computeGpuNonce, type GpuEvidence } from '../src/gpu/gpu-evidence.ts';
import {
  type EvidenceFiles,
  parsePolicy,
  type TdxEvent,
  type TdxEvidence,
  type Verdict,
  type VerificationCode,
  verifyEvidence,
  verifyFiles,
} from '../src/index.ts';
import { failures, good, pins } from './support/judge.ts';
import { type Party, respond } from './support/ocsp-authority.ts';
import { goodDevice, gpuRootSha256, partiesOf, simulateGpu } from './support/simulated-gpu.ts';
import { type Bent, NOW_MS, runtimeEvent, simulate } from './support/simulated-platform.ts';
import { makeRim, rimChain } from './support/simulated-rim.ts';

const value = (index: number) => String(index).padStart(2, '0').repeat(48);
const driver = makeRim({ kind: 'driver', version: '580.159.03', golden: new Map([[0, [value(1)]]]) });
const vbios = makeRim({ kind: 'vbios', version: '96.00.74.00.20', golden: new Map([[1, [value(2)]]]) });
const rims = [driver.xml, vbios.xml];
const { nonce, tlsSpkiSha256 } = good.evidence.reportData;
const gpuNonce = computeGpuNonce(nonce, tlsSpkiSha256);
const list = [1000, 1001].map((serial) => simulateGpu((device) => Object.assign(device, { nonce: gpuNonce }), serial));
const ocspResponses = [1000, 1001].flatMap((serial) => {
  const { device, family, root } = partiesOf(goodDevice(serial));
  const good = (about: Party, issuer: Party) => respond(issuer, [{ about, issuer }]);
  return [good(device, family), good(family, root), ...[0, 1, 2].map((at) => good(rimChain[at]!, rimChain[at + 1]!))];
});

const boot = {
  ...{ version: 3, provider: 'nvidia', devices: 2, cc_mode: 'on', devtools: false },
  ...{ dbgstat: 'disabled', secboot: true, evidence_sha256: '00'.repeat(32) },
};
const measured = (attestation: object | string = boot): TdxEvent[] => [
  runtimeEvent('gpu-policy-hash', Buffer.alloc(32, 9)),
  runtimeEvent('gpu-attestation', typeof attestation === 'string' ? attestation : JSON.stringify(attestation)),
];

interface Change {
  /** Of the GPUs; undefined: the document carries none. */
  evidence?: unknown;
  events?: TdxEvent[];
  /** What the quote says of it. */
  named?: string | null;
  bend?: (platform: Bent) => void;
  gpu?: object | null;
  expect?: { nonce?: string; tlsSpkiSha256?: string };
  roots?: (simulated: string) => string[];
}

function serve({ events = measured(), named, bend, ...change }: Change) {
  const simulation = simulate((platform) => {
    platform.reportData.gpuEvidenceSha256 = named === undefined ? computeGpuEvidenceSha256(list) : named;
    const ready = platform.eventLog.findIndex(({ event }) => event === 'system-ready');
    platform.eventLog.splice(ready, 0, ...events);
    bend?.(platform);
  });
  const evidence = 'evidence' in change ? change.evidence : list;
  const gpu = { evidence, rims, ocspResponses: ocspResponses.map((der) => der.toString('hex')) };
  return { ...simulation, evidence: { ...simulation.evidence, gpu: evidence === undefined ? null : gpu } };
}
const policyOf = (gpu: object | null) =>
  parsePolicy({
    ...{ version: 1, codeHashes: good.policy.codeHashes, osMeasurements: good.policy.osMeasurements },
    ...{ ...pins, gpu },
  });

function judge(change: Change = {}): Promise<Verdict> {
  const { evidence, rootSha256 } = serve(change);
  const { gpu = { count: 2 }, roots = (root) => [root, gpuRootSha256, driver.rootSha256] } = change;
  return verifyEvidence({
    evidence: JSON.parse(JSON.stringify(evidence)),
    policy: policyOf(gpu),
    nowMs: NOW_MS,
    expect: { nonce, tlsSpkiSha256, ...change.expect },
    acceptedRootsSha256: roots(rootSha256),
  });
}

test('two GPUs of a guest: every check passes, those of the platform too', async () => {
  const verdict = await judge();
  assert.deepEqual(
    verdict.checks.filter(({ status }) => status !== 'pass').map(({ id }) => id),
    ['platform-id'], // no machine is listed
  );
  const { valid, send, gpuTeeEnabled, gpus } = verdict;
  assert.deepEqual({ valid, send, gpuTeeEnabled }, { valid: true, send: 'synthetic-only', gpuTeeEnabled: true });
  assert.equal(gpus.length, 2);
});

test('the same, kept in files, under the same policy: what only a service can show is not asked of them', async () => {
  const { evidence, rootSha256 } = serve({});
  const { quote, collateral, eventLog, appCompose } = evidence as TdxEvidence;
  const files: EvidenceFiles = {
    ...{ quote: Buffer.from(quote, 'hex'), collateral, eventLog, appCompose },
    ...{ gpuEvidence: list, gpuNonce, rims, ocspResponses },
  };
  const judgeFiles = (change: Partial<EvidenceFiles>) =>
    verifyFiles(
      { ...files, ...change },
      {
        policy: policyOf({ count: 2 }),
        nowMs: NOW_MS,
        acceptedRootsSha256: [rootSha256, gpuRootSha256, driver.rootSha256],
      },
    );
  const whole = await judgeFiles({});
  assert.deepEqual([failures(whole.checks), whole.valid, whole.trust], [[], true, 'simulated']);
  for (const name of ['gpuEvidence', 'rims', 'ocspResponses', 'eventLog', 'appCompose'] as const) {
    const { valid, checks } = await judgeFiles({ [name]: undefined });
    assert.deepEqual([failures(checks), valid], [[], false], name); // the policy demands what it would show
  }
});

const other = 'bb'.repeat(32);
const refusals: [name: string, failure: `${string}: ${VerificationCode}`, change: Change][] = [
  ['no GPU was measured', 'gpu-boot: GPU_BOOT_REFUSED', { events: [] }],
  ['the policy of the GPUs was not measured', 'gpu-boot: GPU_BOOT_REFUSED', { events: measured().slice(1) }],
  ['another number of GPUs', 'gpu-boot: GPU_BOOT_REFUSED', { events: measured({ ...boot, devices: 1 }) }],
  ['confidential mode off', 'gpu-boot: GPU_BOOT_REFUSED', { events: measured({ ...boot, cc_mode: 'off' }) }],
  ['tools for developers', 'gpu-boot: GPU_BOOT_REFUSED', { events: measured({ ...boot, devtools: true }) }],
  ['a debugger', 'gpu-boot: GPU_BOOT_REFUSED', { events: measured({ ...boot, dbgstat: 'enabled' }) }],
  ['not booted securely', 'gpu-boot: GPU_BOOT_REFUSED', { events: measured({ ...boot, secboot: false }) }],
  ['nothing said of a debugger', 'gpu-boot: GPU_BOOT_REFUSED', { events: measured({ ...boot, dbgstat: undefined }) }],
  ['no JSON', 'gpu-boot: GPU_BOOT_REFUSED', { events: measured('on') }],
  ['GPUs of another quote', 'gpu-binding: GPU_BINDING_MISMATCH', { named: other }],
  ['GPUs that no quote names', 'gpu-binding: GPU_BINDING_MISMATCH', { named: null }],
  ['evidence left out, though the quote names it', 'gpu: GPU_EVIDENCE_MISSING', { evidence: undefined, gpu: null }],
  ['evidence that is null', 'gpu: GPU_EVIDENCE_MALFORMED', { evidence: null, gpu: null }],
];
for (const [name, failure, change] of refusals)
  test(`${failure}: ${name}`, async () => {
    const { checks, valid, send, gpuTeeEnabled, trust } = await judge(change);
    assert.deepEqual(failures(checks), [failure]);
    assert.deepEqual(
      { valid, send, gpuTeeEnabled, trust },
      {
        ...{ valid: false, send: 'nothing', gpuTeeEnabled: false, trust: 'simulated' },
      },
    );
  });

test('GPUs prove nothing where the guest, the nonce or the channel does not hold', async () => {
  for (const [change, failed] of [
    [{ roots: () => [gpuRootSha256, driver.rootSha256] }, ['trust-root: ROOT_UNTRUSTED']],
    [{ expect: { nonce: other } }, ['nonce: NONCE_MISMATCH']],
    [{ expect: { tlsSpkiSha256: other } }, ['channel: CHANNEL_MISMATCH']],
  ] as [Change, string[]][]) {
    const { checks, gpuTeeEnabled } = await judge(change);
    assert.deepEqual(failures(checks), failed);
    assert.equal(gpuTeeEnabled, false);
  }
});

test('reports that were made for another nonce or another key are refused', async () => {
  const stale: GpuEvidence[] = [simulateGpu((device) => Object.assign(device, { nonce: other }))];
  const verdict = await judge({
    ...{ evidence: stale, named: computeGpuEvidenceSha256(stale), gpu: null },
    events: measured({ ...boot, devices: 1 }),
  });
  assert.deepEqual(failures(verdict.checks), ['gpu-nonce: NONCE_MISMATCH']);
});
