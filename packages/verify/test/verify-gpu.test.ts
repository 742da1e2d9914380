/** GPU evidence on simulated devices: one change, one refusal with its own code; and what nothing public shows, all green. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { computeGpuEvidenceSha256, computeGpuNonce, type GpuEvidence } from '../src/gpu/gpu-evidence.ts';
import {
  type CheckId,
  type EvidenceFiles,
  type Policy,
  parsePolicy,
  type Verdict,
  type VerificationCode,
  verifyFiles,
} from '../src/index.ts';
import { failures } from './support/judge.ts';
import { asSwitch, type BentDevice, gpuRootSha256, simulateGpu } from './support/simulated-gpu.ts';
import { extension, NOW_MS } from './support/simulated-platform.ts';
import { makeRim } from './support/simulated-rim.ts';

const NONCE = 'aa'.repeat(32);
const blackwell = { arch: 'BLACKWELL', dice: true, firmwareExtension: '2.23.133.5.4.1.1' };
const before550 = [
  [6, '0074009620000000'],
  [3, Buffer.from('535.86.09\0').toString('hex')],
  ...([15, 17, 18] as const).map((type) => [type, '30']),
] as [number, string][];
const statusOf = ({ checks }: Verdict, check: CheckId) => {
  const { status, seen } = checks.find(({ id }) => id === check)!;
  return [status, seen];
};
const value = (spdmIndex: number) => String(spdmIndex).padStart(2, '0').repeat(48);
const SWITCH_VBIOS = '96.10.55.00.01';
const driver = (golden = new Map([[0, [value(1)]]]), version = '580.159.03', product = 'GH100') =>
  makeRim({ kind: 'driver', version, golden, product });
const vbios = (
  golden = new Map([[1, ['00'.repeat(48), value(2)]]]),
  version = '96.00.74.00.20',
  product = version === SWITCH_VBIOS ? 'LS10' : 'GH100',
) => makeRim({ kind: 'vbios', version, golden, product });
const RIMS = [driver(), vbios(), driver(undefined, undefined, 'GB100'), vbios(undefined, undefined, 'GB100')];
const rimRoot = driver().rootSha256;

interface Change {
  bend?: (device: BentDevice) => void;
  files?: Partial<EvidenceFiles>;
  gpu?: object | null;
  roots?: string[];
  nowMs?: number;
}

const judge = ({
  bend,
  files,
  gpu = {},
  roots = [gpuRootSha256, rimRoot],
  nowMs = NOW_MS,
}: Change = {}): Promise<Verdict> =>
  verifyFiles(
    { gpuEvidence: [simulateGpu(bend)], gpuNonce: NONCE, rims: RIMS.map(({ xml }) => xml), ...files },
    { policy: parsePolicy({ version: 1, gpu }), nowMs, acceptedRootsSha256: roots },
  );

test('a GPU that matches its driver and VBIOS passes every check but the one nobody answered', async () => {
  const verdict = await judge();
  assert.deepEqual(failures(verdict.checks), []);
  const notRun = verdict.checks.filter(({ status }) => status === 'not-run').map(({ id, seen }) => `${id}: ${seen}`);
  assert.deepEqual(notRun, ['gpu-revocation: no OCSP response given']);
  assert.equal(verdict.checks.find(({ id }) => id === 'gpu-measurements')!.seen, '2 of 2 measurements');
  assert.deepEqual(verdict.gpus, [
    { arch: 'HOPPER', ueid: '1000', driverVersion: '580.159.03', vbiosVersion: '96.00.74.00.20' },
  ]);
});

const bend = (change: (device: BentDevice) => void): Change => ({ bend: change });
const opaque = (type: number, hex: string | null): Change =>
  bend((device) => {
    device.opaque = device.opaque.filter(([each]) => each !== type);
    if (hex !== null) device.opaque.push([type, hex]);
  });
const evidence = (change: (evidence: GpuEvidence) => object): Change => ({
  files: { gpuEvidence: [change(simulateGpu())] },
});
const model = (name: string): Change => bend((device) => Object.assign(device, { model: name }));
const rims = (...some: { xml: string }[]): Change => ({ files: { rims: some.map(({ xml }) => xml) } });
const demand = (gpu: Partial<NonNullable<Policy['gpu']>>): Change => ({ gpu });

const TABLE: Partial<Record<CheckId, [name: string, code: VerificationCode, change: Change][]>> = {
  gpu: [
    ['no list', 'GPU_EVIDENCE_MALFORMED', { files: { gpuEvidence: 'none' } }],
    ['null', 'GPU_EVIDENCE_MALFORMED', { files: { gpuEvidence: null } }],
    ['an empty list', 'GPU_EVIDENCE_MALFORMED', { files: { gpuEvidence: [] } }],
    ['25 devices', 'GPU_EVIDENCE_MALFORMED', { files: { gpuEvidence: Array(25).fill(simulateGpu()) } }],
    ['another architecture', 'GPU_EVIDENCE_UNSUPPORTED', evidence((one) => ({ ...one, arch: 'AMPERE' }))],
    ['no certificate', 'GPU_EVIDENCE_MALFORMED', evidence(({ certificate: _, ...one }) => one)],
    [
      'base64 with white space',
      'GPU_EVIDENCE_MALFORMED',
      evidence((one) => ({ ...one, evidence: `${one.evidence}\n` })),
    ],
    ['a certificate that is no text', 'GPU_EVIDENCE_MALFORMED', evidence((one) => ({ ...one, certificate: '/w==' }))],
    [
      'the nonce of another report',
      'GPU_EVIDENCE_MALFORMED',
      bend((device) => Object.assign(device, { listNonce: 'bb'.repeat(32) })),
    ],
    ['SPDM 1.2', 'GPU_EVIDENCE_UNSUPPORTED', bend((device) => Object.assign(device, { request: '12e001ff' }))],
    ['another request', 'GPU_EVIDENCE_MALFORMED', bend((device) => Object.assign(device, { request: '118101ff' }))],
    ['another response', 'GPU_EVIDENCE_MALFORMED', bend((device) => Object.assign(device, { response: '11610000' }))],
    ['a byte after the end', 'GPU_EVIDENCE_MALFORMED', bend((device) => Object.assign(device, { tail: '00' }))],
    [
      'measurement 0',
      'GPU_EVIDENCE_MALFORMED',
      bend(({ measurements }) => Object.assign(measurements[0]!, { index: 0 })),
    ],
    [
      'a measurement twice',
      'GPU_EVIDENCE_MALFORMED',
      bend(({ measurements }) => Object.assign(measurements[0]!, { index: 2 })),
    ],
    [
      'another specification',
      'GPU_EVIDENCE_MALFORMED',
      bend(({ measurements }) => Object.assign(measurements[0]!, { specification: 2 })),
    ],
    ['a field twice', 'GPU_EVIDENCE_MALFORMED', bend((device) => device.opaque.push([3, '35']))],
    ['no driver', 'GPU_EVIDENCE_MALFORMED', opaque(3, null)],
    ['a driver that is no text', 'GPU_EVIDENCE_MALFORMED', opaque(3, '1b5b324a')],
    ['no VBIOS', 'GPU_EVIDENCE_MALFORMED', opaque(6, null)],
    ['a short VBIOS version', 'GPU_EVIDENCE_MALFORMED', opaque(6, '00740096')],
    ['a short firmware id', 'GPU_EVIDENCE_MALFORMED', opaque(20, 'f1'.repeat(47))],
    ['no measurement', 'GPU_EVIDENCE_MALFORMED', bend((device) => device.measurements.splice(0))],
    ['opaque data of version 3', 'GPU_EVIDENCE_UNSUPPORTED', opaque(34, '0300')],
  ],
  'gpu-root': [
    ['a root that nobody named', 'ROOT_UNTRUSTED', { roots: [rimRoot] }],
    [
      'another root of the same name',
      'ROOT_UNTRUSTED',
      bend(({ certificates }) => Object.assign(certificates.root, { serial: 99 })),
    ],
  ],
  'gpu-certificates': [
    ['not yet valid', 'CERTIFICATE_INVALID', { nowMs: NOW_MS - 2 * 86_400_000 }],
    ['a leaf that its device has not signed', 'CERTIFICATE_INVALID', bend((device) => device.forged.push('leaf'))],
    ['a device of another family', 'CERTIFICATE_INVALID', bend((device) => device.forged.push('device'))],
    ['a family that the root does not know', 'CERTIFICATE_INVALID', bend((device) => device.forged.push('family'))],
    ['a root that has not signed itself', 'CERTIFICATE_INVALID', bend((device) => device.forged.push('root'))],
    ['no root', 'CERTIFICATE_INVALID', bend((device) => device.chain.pop())],
    ['root first', 'CERTIFICATE_INVALID', bend((device) => device.chain.reverse())],
    ['the leaf alone', 'CERTIFICATE_INVALID', bend((device) => Object.assign(device, { chain: ['leaf'] }))],
    ['a key on P-256', 'CERTIFICATE_INVALID', bend((device) => Object.assign(device, { weak: true }))],
    ['a Blackwell that says to be a Hopper', 'CERTIFICATE_INVALID', model('GB100 A01 GSP BROM')],
    ['a GPU that NVIDIA has not named', 'CERTIFICATE_INVALID', model('')],
    ['a switch that says to be a GPU', 'CERTIFICATE_INVALID', model('LS_10 A01 FSP BROM')],
    [
      'a device that another device has certified',
      'CERTIFICATE_INVALID',
      bend(({ certificates }) => {
        Object.assign(certificates.family, { subject: 'GH100 A02 GSP BROM' });
        Object.assign(certificates.device, { issuer: 'GH100 A02 GSP BROM' });
      }),
    ],
    [
      'a device that is no CA',
      'CERTIFICATE_INVALID',
      bend(({ certificates }) => Object.assign(certificates.device, { ca: false })),
    ],
  ],
  'gpu-signature': [['another key', 'SIGNATURE_INVALID', bend((device) => device.forged.push('report'))]],
  'gpu-firmware': [
    [
      'other firmware',
      'GPU_FIRMWARE_MISMATCH',
      bend((device) => Object.assign(device, { firmwareId: 'f2'.repeat(48) })),
    ],
    [
      'other firmware of a Blackwell',
      'GPU_FIRMWARE_MISMATCH',
      bend((device) => Object.assign(device, { firmwareId: 'f2'.repeat(48), ...blackwell })),
    ],
    [
      'the zeros that a Blackwell names besides',
      'GPU_FIRMWARE_MISMATCH',
      bend((device) => {
        Object.assign(device, blackwell);
        device.opaque = device.opaque.map(([type, hex]) => [type, type === 20 ? '00'.repeat(48) : hex]);
      }),
    ],
    ['a driver that should name it and does not', 'GPU_FIRMWARE_MISMATCH', opaque(20, null)],
    [
      'a certificate with another extension of that number',
      'GPU_FIRMWARE_MISMATCH',
      bend((device) => {
        device.firmwareId = null;
        device.certificates.leaf.extensions.push(extension('2.23.133.5.4.1', Buffer.from('0500', 'hex')));
      }),
    ],
    [
      'a certificate that names none',
      'GPU_FIRMWARE_MISMATCH',
      bend((device) => Object.assign(device, { firmwareId: null })),
    ],
  ],
  'gpu-nonce': [['a replay', 'NONCE_MISMATCH', { files: { gpuNonce: 'ab'.repeat(32) } }]],
  'gpu-rims': [
    ['an unknown root', 'ROOT_UNTRUSTED', { roots: [gpuRootSha256] }],
    ['no XML', 'RIM_INVALID', { files: { rims: ['{}'] } }],
    ['an altered one', 'RIM_INVALID', { files: { rims: [driver().xml.replace('580', '581'), vbios().xml] } }],
  ],
  'gpu-revocation': [['no OCSP response', 'OCSP_INVALID', { files: { ocspResponses: [Buffer.from('3000', 'hex')] } }]],
  'gpu-measurements': [
    ['no RIM of this driver', 'RIM_MISSING', rims(driver(undefined, '580.159.04'), vbios())],
    ['no RIM of this VBIOS', 'RIM_MISSING', rims(driver())],
    ['another driver', 'GPU_MEASUREMENT_MISMATCH', rims(driver(new Map([[0, [value(9)]]])), vbios())],
    ['another VBIOS', 'GPU_MEASUREMENT_MISMATCH', rims(driver(), vbios(new Map([[1, [value(9)]]])))],
    [
      'nothing measured where something should be',
      'GPU_MEASUREMENT_MISMATCH',
      rims(driver(new Map([[40, [value(1)]]])), vbios()),
    ],
    ['both RIMs claim one measurement', 'GPU_MEASUREMENT_MISMATCH', rims(driver(), vbios(new Map([[0, [value(1)]]])))],
  ],
  'gpu-devices': [
    ['one GPU shown as two', 'GPU_DEVICES_REFUSED', { files: { gpuEvidence: [simulateGpu(), simulateGpu()] } }],
    ['fewer than demanded', 'GPU_DEVICES_REFUSED', demand({ count: 2 })],
    ['another architecture than demanded', 'GPU_DEVICES_REFUSED', demand({ architectures: ['BLACKWELL'] })],
    ['another driver than listed', 'GPU_DEVICES_REFUSED', demand({ driverVersions: ['590.12'] })],
    ['another VBIOS than listed', 'GPU_DEVICES_REFUSED', demand({ vbiosVersions: ['96.00.A5.00.01'] })],
    [
      'a switch where a GPU is demanded',
      'GPU_DEVICES_REFUSED',
      { ...bend(asSwitch), files: { rims: [vbios(undefined, SWITCH_VBIOS).xml] } },
    ],
  ],
};

for (const [check, rows] of Object.entries(TABLE) as [CheckId, [string, VerificationCode, Change][]][])
  for (const [name, code, change] of rows)
    test(`${check} refuses with ${code}: ${name}`, async () => {
      const verdict = await judge(change);
      const refused = failures(verdict.checks);
      // A chain that came too early takes the reference measurements of the same day with it.
      assert.deepEqual(
        refused.filter((each) => !(change.nowMs && each.startsWith('gpu-rims'))),
        [`${check}: ${code}`],
      );
      assert.deepEqual([verdict.valid, verdict.send], [false, 'nothing']);
    });

test('eight GPUs and four switches, each by its own name', async () => {
  const gpus = Array.from({ length: 8 }, (_, i) => simulateGpu(undefined, 2000 + i));
  const switches = Array.from({ length: 4 }, (_, i) => simulateGpu(asSwitch, 3000 + i));
  const files = {
    gpuEvidence: [...gpus, ...switches],
    rims: [driver().xml, vbios().xml, vbios(new Map([[0, [value(1)]]]), SWITCH_VBIOS).xml],
  };
  const verdict = await judge({ files, gpu: { count: 8 } });
  assert.deepEqual(failures(verdict.checks), []);
  assert.equal(verdict.gpus.length, 12);
  const wrong = [...gpus.slice(0, 7), simulateGpu((device) => device.forged.push('report'), 2007), ...switches];
  const refused = await judge({ files: { ...files, gpuEvidence: wrong } });
  assert.match(refused.checks.find(({ id }) => id === 'gpu-signature')!.seen!, /^GPU 7: /);
});

test('drivers before 550 do not say which firmware the key was made for, and a required GPU then is not accepted', async () => {
  const verdict = await judge(bend((device) => device.opaque.splice(0, 9, ...before550)));
  assert.deepEqual(statusOf(verdict, 'gpu-firmware'), ['not-run', 'driver 535.86.09 does not say']);
});

test('a Blackwell names its firmware in DiceTcbInfo, under either number', async () => {
  for (const firmwareExtension of ['2.23.133.5.4.1.1', '2.23.133.5.4.1']) {
    const verdict = await judge(bend((device) => Object.assign(device, { ...blackwell, firmwareExtension })));
    assert.deepEqual(failures(verdict.checks), []);
    assert.equal(statusOf(verdict, 'gpu-firmware')[0], 'pass');
    assert.equal(verdict.gpus[0]!.arch, 'BLACKWELL');
  }
});

test('a switch that names its firmware is checked like a GPU', async () => {
  const rims = [vbios(new Map([[0, [value(1)]]]), SWITCH_VBIOS).xml];
  const speaking = (firmwareId: string) =>
    judge({
      bend: (device) => {
        asSwitch(device);
        device.opaque.push([20, firmwareId]);
      },
      files: { rims },
      gpu: null,
    });
  assert.equal(statusOf(await speaking('f1'.repeat(48)), 'gpu-firmware')[0], 'pass');
  assert.deepEqual(failures((await speaking('f2'.repeat(48))).checks), ['gpu-firmware: GPU_FIRMWARE_MISMATCH']);
  const silent = await judge({ bend: asSwitch, files: { rims }, gpu: null });
  assert.deepEqual(failures(silent.checks), []);
  assert.deepEqual(statusOf(silent, 'gpu-firmware'), ['not-run', 'switches do not say']);
});

test('of two revisions of reference measurements one has to fit', async () => {
  const old = vbios(new Map([[1, [value(9)]]]));
  for (const some of [
    [old, vbios()],
    [vbios(), old],
  ])
    assert.deepEqual(failures((await judge(rims(driver(), ...some))).checks), []);
  assert.deepEqual(failures((await judge(rims(driver(), old, old))).checks), [
    'gpu-measurements: GPU_MEASUREMENT_MISMATCH',
  ]);
});

test('evidence of the older form reads as that of today', async () => {
  const { arch, nonce, evidence: base64, certificate } = simulateGpu();
  const hexText = Buffer.from(Buffer.from(base64, 'base64').toString('hex')).toString('base64');
  const gpuEvidence = { arch, nonce, evidence_list: [{ evidence: hexText, certificate }] };
  assert.deepEqual(failures((await judge({ files: { gpuEvidence } })).checks), []);
});

test('digest and nonce of the binding', () => {
  const list = [simulateGpu()];
  assert.match(computeGpuEvidenceSha256(list), /^[0-9a-f]{64}$/);
  const more = [{ version: '1.0', ...list[0]! }]; // what others add does not count
  assert.equal(computeGpuEvidenceSha256(more), computeGpuEvidenceSha256(list));
  assert.notEqual(computeGpuEvidenceSha256([simulateGpu(undefined, 1001)]), computeGpuEvidenceSha256(list));
  assert.notEqual(computeGpuNonce(NONCE, '11'.repeat(32)), computeGpuNonce('11'.repeat(32), NONCE));
});
