/** Every code that a proof can fail with has its kind, and the gravest decides (attestation-tdx.md section 17). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { VERIFICATION_CODES } from '@abaton/verify';
import { ERRORS } from '../../src/errors.ts';
import { FAILURE_KINDS, kindOfCode, kindOfFailure } from '../../src/tee/failure-kinds.ts';

test('every verification code is classified, and nothing that is no code', () => {
  const rows = Object.keys(FAILURE_KINDS);
  assert.deepEqual(
    Object.keys(VERIFICATION_CODES).filter((code) => !rows.includes(code)),
    [],
  );
  assert.deepEqual(
    rows.filter((code) => !Object.hasOwn(VERIFICATION_CODES, code) && !Object.hasOwn(ERRORS, code)),
    [],
  );
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
