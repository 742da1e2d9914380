/** docs/reference/policy.schema.json and the parser of @abaton/verify take and refuse the same policies. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parsePolicy } from '@abaton/verify';
import { Compile } from 'typebox/schema';

const schema = Compile(
  JSON.parse(readFileSync(new URL('../../docs/reference/policy.schema.json', import.meta.url), 'utf8')),
);

const digest = 'ab'.repeat(32);
const sha384 = 'cd'.repeat(48);
const tdx = { name: 'image', mrtd: sha384, rtmr0: sha384, rtmr1: sha384, rtmr2: sha384 };
const milan = { product: 'Milan', bootLoader: 4, tee: 0, snp: 23, microcode: 213 };
const full = {
  version: 1,
  codeHashes: [`sha256:${digest}`],
  osMeasurements: [tdx, { name: 'image', launchMeasurement: sha384 }],
  manifestSha256: [digest],
  policySha256: null,
  modelRegistrySha256: [digest.toUpperCase()],
  keyProviders: [{ name: 'kms', id: '3059' }],
  tcbStatuses: ['UpToDate', 'SWHardeningNeeded'],
  tcbGrace: [{ status: 'OutOfDate', until: '2030-01-01T00:00:00Z', advisories: ['INTEL-SA-01192'] }],
  advisories: ['INTEL-SA-00837'],
  minTcbEvaluationDataNumber: 20,
  maxCollateralAgeDays: 7,
  platformIds: ['ab'.repeat(16), 'ab'.repeat(64)],
  snpMinimumTcb: [milan],
  gpu: { count: 8, architectures: ['HOPPER'], driverVersions: ['580.159.03'], vbiosVersions: null, ocsp: 'optional' },
};

const taken: object[] = [full, { version: 1 }, { version: 1, gpu: null }, { version: 1, gpu: {} }];
const refused: unknown[] = [
  ...[null, [], {}, { version: 2 }, { ...full, debug: true }],
  { ...full, codeHashes: [digest] },
  { ...full, osMeasurements: [{ ...tdx, rtmr3: sha384 }] },
  { ...full, osMeasurements: [{ name: 'image' }] },
  { ...full, osMeasurements: [{ ...tdx, launchMeasurement: sha384 }] },
  { ...full, manifestSha256: [digest.slice(1)] },
  { ...full, keyProviders: [{ name: 'kms' }] },
  { ...full, tcbStatuses: ['Revoked'] },
  { ...full, tcbGrace: [{ status: 'OutOfDate', until: 'soon' }] },
  { ...full, advisories: ['CVE-2024-1'] },
  { ...full, minTcbEvaluationDataNumber: -1 },
  { ...full, maxCollateralAgeDays: 0 },
  { ...full, platformIds: ['ab'] },
  { ...full, snpMinimumTcb: [{ ...milan, product: 'Rome' }] },
  { ...full, snpMinimumTcb: [{ ...milan, tee: 256 }] },
  { ...full, gpu: { count: 0 } },
  { ...full, gpu: { architectures: ['AMPERE'] } },
  { ...full, gpu: { driverVersions: ['new'] } },
  { ...full, gpu: { ocsp: 'never' } },
];

test('both take what is allowed', () => {
  for (const policy of taken) {
    parsePolicy(policy);
    assert.ok(schema.Check(policy), JSON.stringify(schema.Errors(policy)));
    assert.ok(schema.Check(parsePolicy(policy)), 'and what the parser makes of it');
  }
});

test('both refuse the rest', () => {
  for (const policy of refused) {
    assert.throws(() => parsePolicy(policy), JSON.stringify(policy));
    assert.ok(!schema.Check(policy), JSON.stringify(policy));
  }
});

test('both name the same members', () => {
  const text = readFileSync(new URL('../../docs/reference/policy.schema.json', import.meta.url), 'utf8');
  assert.deepEqual(Object.keys(JSON.parse(text).properties), Object.keys(parsePolicy({ version: 1 })));
});
