/** Measurements of a device against reference measurements, by the rules of NVIDIA's attestation SDK. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { verifyGolden, verifyMeasurements } from '../src/gpu/golden.ts';
import type { Rim } from '../src/gpu/rim.ts';
import type { SpdmReport } from '../src/gpu/spdm-report.ts';
import { VerificationError } from '../src/index.ts';
import { runs } from './support/property.ts';

const value = (index: number, bytes = 48): string => index.toString(16).padStart(2, '0').repeat(bytes);
const rimOf = (
  kind: Rim['kind'],
  golden: [number, string[]][],
  version = kind === 'driver' ? '580.1' : '96.00.74.00.1A',
  product = 'GH100',
): Rim => ({
  ...{ kind, version, product, golden: new Map(golden), chain: [], rootSha256: '' },
});
const measured = (values: [number, string][], nvdec0Off = false) => ({
  arch: 'HOPPER' as const,
  measurements: new Map(values.map(([index, hex]) => [index, Buffer.from(hex, 'hex')])),
  nvdec0Off,
});
const device = measured([0, 1, 7, 9, 35].map((index) => [index, value(index)]));
const driver = rimOf('driver', [
  [7, [value(7)]],
  [35, [value(35)]],
]);
const vbios = rimOf('vbios', [
  [0, [value(0xaa), value(0)]],
  [9, [value(9)]],
]);

function refusal(run: () => string): VerificationError {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof VerificationError, String(error));
    return error;
  }
  assert.fail('nothing was refused');
}

test('every listed measurement has a listed value; others may be anything', () => {
  assert.equal(verifyGolden(device, [driver, vbios]), '4 of 4 measurements');
  assert.equal(verifyGolden(device, [vbios, driver]), '4 of 4 measurements');
  assert.equal(verifyGolden(device, [vbios]), '2 of 2 measurements');
  assert.equal(verifyGolden(device, []), '0 of 0 measurements');
});

test('a mismatch is told by source, index, golden and runtime value', () => {
  const other = measured([
    [0, value(0xbb)],
    [7, value(7)],
    [9, value(9, 47)],
    [35, value(35)],
  ]);
  const { code, expected, seen } = refusal(() => verifyGolden(other, [driver, vbios]));
  assert.equal(code, 'GPU_MEASUREMENT_MISMATCH');
  assert.equal(expected, `vbios 0 ${value(0xaa)} or ${value(0)}, vbios 9 ${value(9)}`);
  assert.equal(seen, `2 of 4 differ: 0 ${value(0xbb)}, 9 ${value(9, 47)}`);
});

test('what was not measured is a mismatch too', () => {
  for (const none of [measured([]), measured([[7, '']])])
    assert.equal(refusal(() => verifyGolden(none, [rimOf('driver', [[7, [value(7)]]])])).seen, '1 of 1 differ: 7 none');
});

test('of many mismatches four are told', () => {
  const all = rimOf(
    'driver',
    Array.from({ length: 64 }, (_, index) => [index, [value(index)]]),
  );
  const { seen, expected } = refusal(() => verifyGolden(measured([]), [all]));
  assert.equal(seen, '64 of 64 differ: 0 none, 1 none, 2 none, 3 none');
  assert.equal(expected.split(', ').length, 4);
});

test('the decoder NVDEC0 counts unless it is off; nothing else is forgiven then', () => {
  const wrong = (index: number): [number, string][] =>
    [0, 7, 9, 35].map((each) => [each, each === index ? value(0xff) : value(each)]);
  assert.equal(refusal(() => verifyGolden(measured(wrong(35)), [driver, vbios])).code, 'GPU_MEASUREMENT_MISMATCH');
  assert.equal(verifyGolden(measured(wrong(35), true), [driver, vbios]), '3 of 3 measurements');
  for (const index of [0, 7, 9])
    assert.match(refusal(() => verifyGolden(measured(wrong(index), true), [driver, vbios])).seen, /^1 of 3 differ/);
});

test('a measurement that driver and VBIOS both claim is refused, even with the same value', () => {
  for (const [index, off] of [
    [0, false],
    [35, true],
  ] as const) {
    const both = [driver, rimOf('driver', [[index, [value(index)]]]), vbios];
    const { code, seen } = refusal(() => verifyGolden({ ...device, nvdec0Off: off }, both));
    assert.deepEqual([code, seen], ['GPU_MEASUREMENT_MISMATCH', `${index} in both`]);
  }
});

test('any one bit of what is listed', () => {
  fc.assert(
    fc.property(fc.constantFrom(0, 7, 9, 35), fc.nat(383), (index, bit) => {
      const bytes = Buffer.from(value(index), 'hex');
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      const measurements = new Map([...device.measurements, [index, bytes]]);
      assert.match(refusal(() => verifyGolden({ ...device, measurements }, [driver, vbios])).seen, /^1 of 4 differ/);
    }),
    runs(50),
  );
});

const report = (change: Partial<SpdmReport> = {}): SpdmReport => ({
  ...device,
  ...{ driverVersion: '580.1', driverRimId: 'DRIVER_ID', vbiosVersion: '96.00.74.00.1a', vbiosRimId: 'VBIOS_ID' },
  ...{
    nonce: Buffer.alloc(32),
    opaque: new Map(),
    firmwareId: null,
    signed: Buffer.alloc(0),
    signature: Buffer.alloc(0),
  },
  ...change,
});
const wrongVbios = rimOf('vbios', [[9, [value(0xff)]]]);
const switchVbios = rimOf(
  'vbios',
  [
    [0, [value(0)]],
    [9, [value(9)]],
  ],
  '96.00.74.00.1A',
  'LS10',
);
const older = rimOf('driver', [[7, [value(0xff)]]], '570.1');

test('reference measurements of another chip are not those of this device, though the version is the same', () => {
  for (const product of ['GB100', 'LS10', '']) {
    const foreign = rimOf('driver', [[7, [value(7)]]], '580.1', product);
    const error = refusal(() => verifyMeasurements(report(), [foreign, vbios]));
    assert.deepEqual([error.code, error.expected], ['RIM_MISSING', 'DRIVER_ID']);
    assert.ok(error.seen.includes(`${product} driver 580.1`));
  }
  assert.equal(refusal(() => verifyMeasurements(report(), [driver, switchVbios])).expected, 'VBIOS_ID');
});

test('each device is compared with its own driver and VBIOS, among those of others', () => {
  assert.equal(verifyMeasurements(report(), [older, driver, vbios]), '4 of 4 measurements');
  const lowerCase = { ...vbios, version: vbios.version.toLowerCase() };
  assert.equal(verifyMeasurements(report({ vbiosVersion: vbios.version }), [driver, lowerCase]), '4 of 4 measurements');
  const asSwitch = report({ arch: 'LS10', driverVersion: null, driverRimId: null });
  assert.equal(verifyMeasurements(asSwitch, [older, driver, vbios, switchVbios]), '2 of 2 measurements');
});

test('what is missing is named by the id under which NVIDIA keeps it, after the rest was compared', () => {
  for (const [rims, missing, compared] of [
    [[], 'VBIOS_ID, DRIVER_ID', '0 of 0'],
    [[driver], 'VBIOS_ID', '2 of 2'],
    [[vbios, older], 'DRIVER_ID', '2 of 2'],
    [[rimOf('driver', [], '96.00.74.00.1A'), driver], 'VBIOS_ID', '2 of 2'],
  ] as [Rim[], string, string][]) {
    const { code, expected, seen } = refusal(() => verifyMeasurements(report(), rims));
    assert.deepEqual([code, expected], ['RIM_MISSING', missing]);
    assert.ok(seen.endsWith(`; compared ${compared} measurements`), seen);
  }
  assert.equal(refusal(() => verifyMeasurements(report(), [wrongVbios])).code, 'GPU_MEASUREMENT_MISMATCH');
});

test('of several revisions one of each has to fit', () => {
  const wrongDriver = rimOf('driver', [[7, [value(0xff)]]]);
  for (const rims of [
    [wrongDriver, driver, wrongVbios, vbios],
    [vbios, wrongVbios, driver, wrongDriver],
  ])
    assert.equal(verifyMeasurements(report(), rims), '4 of 4 measurements');
  for (const rims of [
    [wrongDriver, vbios],
    [driver, driver, wrongVbios],
  ])
    assert.equal(refusal(() => verifyMeasurements(report(), rims)).code, 'GPU_MEASUREMENT_MISMATCH');
});
