/** Reference values come from the files of a checkout, and hold for the server that runs them; no server was asked for any. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { verifyAttestation } from '@abaton/client';
import { parsePolicyText } from '@abaton/verify';
import { root, startStack } from './stack.ts';

test('the policy of a checkout pins the code, the manifest, the access policy and the models of its server', async () => {
  const text = execFileSync(process.execPath, [join(root, 'scripts/reference-values.ts')], { encoding: 'utf8' });
  const policy = parsePolicyText(text);
  const stack = await startStack();
  try {
    await stack.startServer();
    const trust = stack.trust();
    const verify = (change: object) =>
      verifyAttestation({
        ...trust,
        policy: { ...trust.policy, ...policy, osMeasurements: trust.policy.osMeasurements, ...change },
      });
    const pinned = ['code-hash', 'manifest', 'access-policy', 'model-registry'];
    const { checks, send } = await verify({});
    assert.equal(send, 'synthetic-only');
    assert.deepEqual(
      checks.filter(({ id }) => pinned.includes(id)).map(({ status }) => status),
      pinned.map(() => 'pass'),
    );
    const other = await verify({ modelRegistrySha256: ['00'.repeat(32)] });
    assert.equal(other.checks.find(({ id }) => id === 'model-registry')?.code, 'MODEL_REGISTRY_MISMATCH');
  } finally {
    await stack.close();
  }
});
