/**
 * `npm run -s reference -- [--compose FILE] [--manifest FILE] [--models DIR]`: what a verifier may demand of a deployment of
 * *this checkout*, computed from its files and from nothing that a server says. Prints a policy without OS measurements:
 * those come from whoever builds the OS image, reproducibly.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { AbatonError, parsePolicy } from '@abaton/verify';
import { ACCESS_POLICY_SHA256 } from '../packages/server/src/access-policy.ts';
import { parseManifest } from '../packages/server/src/manifest.ts';
import { loadRegistry } from '../packages/server/src/models/registry.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

async function print(): Promise<void> {
  const { values } = parseArgs({
    options: { compose: { type: 'string' }, manifest: { type: 'string' }, models: { type: 'string' } },
  });
  const manifestFile = values.manifest ?? join(root, 'abaton.yaml');
  const manifest = parseManifest(readFileSync(manifestFile), manifestFile);
  const registry = await loadRegistry(values.models ?? join(root, 'models'), manifest.content.models);
  const compose = readFileSync(values.compose ?? join(root, 'deploy/dev/app-compose.json'));
  const policy = {
    version: 1,
    codeHashes: [`sha256:${createHash('sha256').update(compose).digest('hex')}`],
    osMeasurements: [],
    manifestSha256: [manifest.sha256],
    policySha256: [ACCESS_POLICY_SHA256],
    modelRegistrySha256: [registry.digest],
  };
  parsePolicy(policy);
  console.log(JSON.stringify(policy, null, 2));
}

try {
  await print();
} catch (error) {
  console.error(error instanceof AbatonError ? `${error.code}: ${error.message}` : (error as Error).message);
  process.exit(1);
}
