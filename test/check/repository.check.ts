/** What the repository says of itself: no machine, no host, no dead link, no file that lost its table of contents. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const tracked = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
  cwd: root,
  encoding: 'utf8',
})
  .split('\0')
  .filter((path) => path && existsSync(join(root, path)));
const read = (path: string) => readFileSync(join(root, path), 'utf8');

test('every relative link in the documents leads somewhere', () => {
  const dead: string[] = [];
  for (const file of tracked.filter((path) => path.endsWith('.md')))
    for (const [, target] of read(file).matchAll(/\]\((?!https?:|mailto:|#)([^)#\s]+)/g))
      if (!existsSync(join(root, dirname(file), target!))) dead.push(`${file} → ${target}`);
  assert.deepEqual(dead, []);
});

test('no source file is longer than 500 lines', () => {
  const long = tracked.filter(
    (path) =>
      /^(packages|scripts|bench|test|models)\/.*\.(ts|tsx|mjs|py|sh|css)$/.test(path) &&
      read(path).split('\n').length > 501,
  );
  assert.deepEqual(long, []);
});

test('no large file but the models’ weights', () => {
  const large = tracked.filter(
    (path) =>
      statSync(join(root, path)).size > 2 ** 20 && !/^(models\/[^/]+\/model\.onnx|package-lock\.json)$/.test(path),
  );
  assert.deepEqual(large, []);
});

test('no secret key is in the tree', () => {
  const marker = ['-----BEGIN', 'PRIVATE KEY-----'];
  const keys = tracked
    .filter((path) => /\.(pem|key|json|ts|md|txt|yaml)$/.test(path))
    .filter((path) => new RegExp(`${marker[0]} (EC |RSA )?${marker[1]}\\n[A-Za-z0-9+/]{40}`).test(read(path)));
  assert.deepEqual(keys, []);
});
