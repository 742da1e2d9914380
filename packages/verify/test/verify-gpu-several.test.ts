/** Several simulated devices and what they have together: names of who failed, one device as two, revocation, the cache. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Checklist } from '../src/checklist.ts';
import { verifyGpu } from '../src/gpu/verify-gpu.ts';
import {
  type CheckId,
  type EvidenceFiles,
  parsePolicy,
  type Verdict,
  VerifiedCache,
  verifyFiles,
} from '../src/index.ts';
import { failures } from './support/judge.ts';
import { json, SDK } from './support/nvidia-samples.ts';
import { type Answer, DAY_MS, type Party, respond, revoked, UNKNOWN } from './support/ocsp-authority.ts';
import { skip } from './support/samples.ts';
import {
  asSwitch,
  type BentDevice,
  goodDevice,
  gpuRootSha256,
  partiesOf,
  simulateGpu,
} from './support/simulated-gpu.ts';
import { NOW_MS } from './support/simulated-platform.ts';
import { makeRim, rimChain } from './support/simulated-rim.ts';

const NONCE = 'aa'.repeat(32);
const value = (spdmIndex: number) => String(spdmIndex).padStart(2, '0').repeat(48);
const golden = (index: number) => new Map([[index, [value(index + 1)]]]);
const driver = makeRim({ kind: 'driver', version: '580.159.03', golden: golden(0) });
const vbios = makeRim({ kind: 'vbios', version: '96.00.74.00.20', golden: golden(1) });
const switchVbios = makeRim({ kind: 'vbios', version: '96.10.55.00.01', golden: golden(2), product: 'LS10' });
const rims = [driver.xml, vbios.xml, switchVbios.xml];
const roots = [gpuRootSha256, driver.rootSha256];

const judge = (
  files: Partial<EvidenceFiles>,
  gpu: object | null = null,
  options: { nowMs?: number; cache?: VerifiedCache } = {},
): Promise<Verdict> =>
  verifyFiles(
    { gpuNonce: NONCE, rims, ...files },
    { policy: parsePolicy({ version: 1, gpu }), nowMs: NOW_MS, acceptedRootsSha256: roots, ...options },
  );
const outcome = ({ checks }: Verdict, check: CheckId) => {
  const { status, code, seen } = checks.find(({ id }) => id === check)!;
  return [code ?? status, seen];
};

test('two GPUs and a switch: the failure names the one', async () => {
  const list = [simulateGpu(undefined, 2001), simulateGpu(undefined, 2002), simulateGpu(asSwitch, 3001)];
  const good = await judge({ gpuEvidence: list }, { count: 2 });
  assert.deepEqual(failures(good.checks), []);
  assert.deepEqual(outcome(good, 'gpu-devices'), ['pass', '2 GPUs, 1 switches']);
  assert.deepEqual(
    good.gpus.map(({ ueid, driverVersion }) => [ueid, driverVersion]),
    [
      ['2001', '580.159.03'],
      ['2002', '580.159.03'],
      ['3001', null],
    ],
  );
  const cases: [CheckId, string, (device: BentDevice) => unknown][] = [
    ['gpu', 'GPU_EVIDENCE_MALFORMED', (device) => device.opaque.push([3, '30'])],
    ['gpu-certificates', 'CERTIFICATE_INVALID', (device) => device.forged.push('leaf')],
    ['gpu-root', 'ROOT_UNTRUSTED', (device) => Object.assign(device.certificates.root, { serial: 99 })],
    ['gpu-signature', 'SIGNATURE_INVALID', (device) => device.forged.push('report')],
    ['gpu-firmware', 'GPU_FIRMWARE_MISMATCH', (device) => Object.assign(device, { firmwareId: 'f2'.repeat(48) })],
    ['gpu-nonce', 'NONCE_MISMATCH', (device) => Object.assign(device, { nonce: 'bb'.repeat(32) })],
    [
      'gpu-measurements',
      'GPU_MEASUREMENT_MISMATCH',
      ({ measurements }) => Object.assign(measurements[1]!, { value: value(9) }),
    ],
  ];
  for (const [check, code, bend] of cases)
    for (const at of [0, 1]) {
      const gpuEvidence = list.with(
        at,
        simulateGpu((device) => void bend(device), 2001 + at),
      );
      const verdict = await judge({ gpuEvidence });
      assert.deepEqual(failures(verdict.checks), [`${check}: ${code}`]);
      assert.match(outcome(verdict, check)[1]!, new RegExp(`^GPU ${at}: `), check);
    }
  const demanding = await judge({ gpuEvidence: list }, { vbiosVersions: ['96.00.74.00.20'] });
  assert.deepEqual(outcome(demanding, 'gpu-devices'), ['GPU_DEVICES_REFUSED', 'GPU 2: 96.10.55.00.01']);
});

test('one GPU is one GPU: shown twice, or started again with other firmware', async () => {
  const again = (device: BentDevice): void => {
    device.certificates.leaf.serial = 4002; // another leaf, and another ueid, of the same device
    device.firmwareId = 'f2'.repeat(48);
    device.opaque = device.opaque.map(([type, hex]) => [type, type === 20 ? 'f2'.repeat(48) : hex]);
  };
  const [one, restarted] = [simulateGpu(undefined, 4001), simulateGpu(again, 4001)];
  assert.deepEqual(failures((await judge({ gpuEvidence: [restarted] })).checks), []);
  for (const gpuEvidence of [
    [one, one],
    [one, restarted],
  ])
    for (const gpu of [null, { count: 2 }]) // refused also where nothing is demanded
      assert.deepEqual(failures((await judge({ gpuEvidence }, gpu)).checks), ['gpu-devices: GPU_DEVICES_REFUSED']);
});

const device = partiesOf(goodDevice(5001));
const other = partiesOf(goodDevice(5002));
const gpuEvidence = [simulateGpu(undefined, 5001), simulateGpu(undefined, 5002)];
/** One response of each authority, that of the family about both devices. */
const answers = (changes: Partial<Answer> = {}): Buffer[] => {
  const good = (about: Party, issuer: Party, change: Partial<Answer> = {}): Answer => ({ about, issuer, ...change });
  return [
    respond(device.family, [good(device.device, device.family), good(other.device, device.family, changes)]),
    respond(device.root, [good(device.family, device.root)]),
    ...[0, 1, 2].map((at) => respond(rimChain[at + 1]!, [good(rimChain[at]!, rimChain[at + 1]!)])),
  ];
};

test('every check passes: fresh reports, reference measurements, and no certificate revoked', async () => {
  const verdict = await judge({ gpuEvidence, ocspResponses: answers() }, { count: 2, architectures: ['HOPPER'] });
  assert.deepEqual(
    verdict.checks.map(({ id, status }) => `${id} ${status}`),
    [
      '',
      '-root',
      '-certificates',
      '-revocation',
      '-signature',
      '-firmware',
      '-nonce',
      '-rims',
      '-measurements',
      '-devices',
    ].map((name) => `gpu${name} pass`),
  );
  assert.deepEqual([verdict.valid, verdict.send], [true, 'nothing']);
});

test('revocation: every certificate that has an authority needs an answer, and a good one', async () => {
  const refused = async (ocspResponses: Uint8Array[], nowMs = NOW_MS) =>
    outcome(await judge({ gpuEvidence, ocspResponses }, null, { nowMs }), 'gpu-revocation');
  assert.deepEqual((await refused(answers()))[0], 'pass');
  for (const reason of [undefined, 1, 6]) {
    const [code, seen] = await refused(answers({ status: revoked(reason) }));
    assert.equal(code, 'CERTIFICATE_REVOKED');
    assert.match(seen!, /^GPU 1: /);
  }
  assert.equal((await refused(answers({ status: UNKNOWN })))[0], 'OCSP_INVALID');
  assert.equal((await refused(answers(), NOW_MS + 2 * DAY_MS))[0], 'OCSP_EXPIRED');
  for (const [at, name] of ['GPU 0', 'GPU 0', 'RIM 0', 'RIM 0', 'RIM 0'].entries()) {
    const [code, seen] = await refused(answers().toSpliced(at, 1));
    assert.equal(code, 'OCSP_INVALID');
    assert.match(seen!, new RegExp(`^${name}: `), `${at}`);
  }
  // Who signs for the device's own leaf is the device: no authority knows it, and none is asked.
  const ownLeaf = respond(device.device, [{ about: device.leaf, issuer: device.device, status: revoked(1) }]);
  assert.equal((await refused([...answers(), ownLeaf]))[0], 'pass');
  // Nobody but the authority is believed, also not another authority of NVIDIA.
  const stranger = respond(device.root, [
    { about: device.device, issuer: device.family },
    { about: other.device, issuer: device.family },
  ]);
  assert.equal((await refused([stranger, ...answers().slice(1)]))[0], 'OCSP_INVALID');
});

test('chains and reference measurements are verified once, but their dates each time', async () => {
  const cache = new VerifiedCache();
  assert.deepEqual(failures((await judge({ gpuEvidence }, null, { cache })).checks), []);
  assert.equal(cache.size, 2 + 3);
  const fresh = {
    gpuEvidence: gpuEvidence.map((_, i) =>
      simulateGpu((one) => Object.assign(one, { nonce: 'bb'.repeat(32) }), 5001 + i),
    ),
  };
  assert.deepEqual(failures((await judge(fresh, null, { cache })).checks), ['gpu-nonce: NONCE_MISMATCH']);
  const late = await judge({ gpuEvidence }, null, { cache, nowMs: NOW_MS + 400 * DAY_MS });
  assert.deepEqual(failures(late.checks), ['gpu-rims: RIM_EXPIRED']);
  const later = await judge({ gpuEvidence }, null, { cache, nowMs: Date.parse('2050-01-01T00:00:00Z') });
  assert.deepEqual(failures(later.checks), ['gpu-certificates: CERTIFICATE_INVALID', 'gpu-rims: RIM_EXPIRED']);
});

const verify = (json: unknown, rims: readonly string[] = [], acceptedRootsSha256 = roots) =>
  verifyGpu(
    new Checklist(),
    { evidence: { json }, nonce: NONCE, rims, ocspResponses: [] },
    { policy: parsePolicy({ version: 1 }), nowMs: NOW_MS, acceptedRootsSha256, cache: new VerifiedCache() },
  );

test('what stands on a root that is not of NVIDIA is a simulation; what cannot be trusted is nothing', async () => {
  const { simulated, shown } = await verify(gpuEvidence, rims);
  assert.deepEqual([simulated, shown?.devices.length, shown?.list.length], [true, 2, 2]);
  const forged = [gpuEvidence[0], simulateGpu((one) => void one.forged.push('report'), 5002)];
  for (const evidence of [forged, [], null, 'x']) assert.equal((await verify(evidence)).shown, null);
  // Reference measurements alone give the simulation away, whatever became of the reports.
  assert.deepEqual(await verify(null, rims), { shown: null, simulated: true });
});

test('a real device is none, unless reference measurements of a simulation stand beside it', { skip }, async () => {
  const evidence = json(`${SDK}/switch_evidence_ls10.json`);
  assert.equal((await verify(evidence, [], [])).simulated, false);
  assert.equal((await verify(evidence, [switchVbios.xml])).simulated, true);
  assert.equal((await verify([...evidence, gpuEvidence[0]])).simulated, true);
});
