/** docs/dependencies.md lists exactly the direct dependencies, each with its licence and reason. */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const readJson = (path: string) => JSON.parse(readFileSync(join(root, path), 'utf8'));

const manifests = ['package.json', ...globSync('packages/*/package.json', { cwd: root })].map(readJson);
const direct = new Map<string, string>();
for (const { dependencies, devDependencies, optionalDependencies } of manifests)
  for (const [name, version] of Object.entries<string>({
    ...dependencies,
    ...devDependencies,
    ...optionalDependencies,
  }))
    if (!name.startsWith('@abaton/')) direct.set(`${name} ${version}`, version);

test('docs/dependencies.md equals the direct dependencies', () => {
  const text = readFileSync(join(root, 'docs/dependencies.md'), 'utf8');
  const rows = [...text.matchAll(/^\| `([^`]+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \|/gm)];
  const listed = rows.map(([, name, version]) => `${name} ${version!.trim()}`).sort();
  assert.deepEqual(listed, [...direct.keys()].sort());
  for (const [, name, , licence, reason] of rows) {
    assert.match(licence!, /MIT|Apache-2\.0|BSD|ISC|0BSD/, `${name} has a permissive licence`);
    assert.ok(reason!.trim().length > 15, `${name} has a reason`);
  }
});

test('every version is pinned, and no dependency runs an install script', () => {
  for (const version of direct.values()) assert.match(version, /^\d+\.\d+\.\d+$/);
  const lock = readJson('package-lock.json').packages as Record<
    string,
    { hasInstallScript?: boolean; resolved?: string; integrity?: string; link?: boolean }
  >;
  const scripts = Object.entries(lock)
    .filter(([, entry]) => entry.hasInstallScript)
    .map(([path]) => path);
  // onnxruntime-node's script only downloads GPU providers; the CPU binary is in the package, and scripts never run here.
  assert.deepEqual(scripts, ['node_modules/onnxruntime-node']);
  assert.deepEqual(
    Object.values(lock).filter((entry) => entry.resolved && !entry.link),
    [],
    'the lock file names no download host',
  );
});
