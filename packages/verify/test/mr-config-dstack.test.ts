/** MRCONFIGID and HOST_DATA as dstack computes them (dstack-types, mr_config.rs), and its attestations of version 1. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { keccak_256 } from '@noble/hashes/sha3.js';
import { verifyHostData, verifyMrConfigId } from '../src/dstack/mr-config.ts';
import { parseVersionedAttestation } from '../src/dstack/versioned-attestation.ts';
import { VerificationError } from '../src/index.ts';
import * as data from './support/shared-data.ts';

const code = (expected: string) => (error: unknown) => error instanceof VerificationError && error.code === expected;
const app = {
  composeHash: '11'.repeat(32),
  appId: '22'.repeat(20),
  keyProvider: { name: 'kms', id: '3059' },
};

test('form 3 says nothing without its document, but has no more than a digest', () => {
  const form3 = Buffer.alloc(48);
  form3.fill(0x11, 1, 33)[0] = 3;
  assert.equal(verifyMrConfigId(form3, app), 'MRCONFIGID says nothing');
  form3[47] = 1;
  assert.throws(() => verifyMrConfigId(form3, app), { code: 'MR_CONFIG_MISMATCH' });
});

test('form 2 binds app id and key provider', () => {
  const digest = keccak_256(Buffer.from(`${app.composeHash}${app.appId}023059`, 'hex'));
  const mrConfigId = Buffer.concat([Buffer.of(2), digest, Buffer.alloc(15)]);
  assert.equal(verifyMrConfigId(mrConfigId, app), 'MRCONFIGID of form V2');
  for (const other of [
    { ...app, appId: '23'.repeat(20) },
    { ...app, keyProvider: { name: 'local-sgx', id: '3059' } },
    { ...app, keyProvider: { name: 'kms', id: '3058' } },
    { ...app, keyProvider: { name: 'kms', id: 'zz' } },
  ])
    assert.throws(() => verifyMrConfigId(mrConfigId, other), code('MR_CONFIG_MISMATCH'));
});

test('HOST_DATA of a real guest names its document, byte for byte', { skip: data.skip }, () => {
  const attestation = parseVersionedAttestation(data.read('dstack/sev-snp/sev_snp_attestation.bin'));
  assert.ok(attestation.teeType === 'amd-sev-snp');
  const { report, mrConfig } = attestation;
  assert.deepEqual(Buffer.from(report), data.read('dstack/sev-snp/report.bin'));
  const hostData = report.subarray(0xc0, 0xe0);
  const identity = verifyHostData(hostData, mrConfig);
  assert.match(identity.composeHash, /^86e59625be93207b/);
  assert.equal(identity.keyProvider.name, 'kms');
  for (const other of [`${mrConfig} `, JSON.stringify(JSON.parse(mrConfig), null, 1), ''])
    assert.throws(() => verifyHostData(hostData, other), code('MR_CONFIG_MISMATCH'));
});

test('a document that is genuine and does not follow its schema is refused', () => {
  for (const text of ['', '{}', '{"version":4}', '{"app_id":1}']) {
    const hostData = createHash('sha256').update('dstack-mr-config-v3:\0').update(text).digest();
    assert.throws(() => verifyHostData(hostData, text), code('MR_CONFIG_MISMATCH'));
  }
});
