/** Every code that a proof can fail with has its kind, and the gravest decides (attestation-tdx.md section 17). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { kindOfFailedCheck, VERIFICATION_CODES } from '@abaton/verify';
import { ERRORS } from '../../src/errors.ts';
import { kindOfCode, kindOfFailure } from '../../src/tee/failure-kinds.ts';

test('every code that can fail a check of a verdict has its kind, and every code of ours follows from its class', () => {
  for (const code of Object.keys(VERIFICATION_CODES)) assert.notEqual(kindOfFailedCheck(code), null, code);
  const byClass = { retry: 'transient', fix: 'configuration', stop: 'integrity' };
  for (const [code, row] of Object.entries(ERRORS))
    if (!['CLOCK_BEHIND_LOG', 'INTERNAL'].includes(code)) assert.equal(kindOfCode(code), byClass[row.class], code);
});

test('the gravest code decides; an unknown one, or none, is not known to be harmless', () => {
  for (const late of ['AGENT_UNAVAILABLE', 'GPU_EVIDENCE_UNAVAILABLE', 'COLLATERAL_UNAVAILABLE', 'OVERLOADED'])
    assert.equal(kindOfCode(late), 'transient', late);
  assert.equal(kindOfCode('LOG_CORRUPT'), 'integrity');
  assert.equal(kindOfCode('CLOCK_BEHIND_LOG'), 'configuration');
  assert.equal(kindOfFailure(['CRL_EXPIRED', 'ADVISORY_REFUSED']), 'configuration');
  assert.equal(kindOfFailure(['CRL_EXPIRED', 'ADVISORY_REFUSED', 'CERTIFICATE_REVOKED']), 'integrity');
  assert.equal(kindOfFailure(['not-run:gpu']), 'configuration');
  assert.equal(kindOfFailure(['CRL_EXPIRED', 'A_CODE_OF_TOMORROW']), 'integrity');
  assert.equal(kindOfFailure(['constructor']), 'integrity');
  assert.equal(kindOfFailure([]), 'integrity');
});
