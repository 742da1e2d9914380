/** Reference documents say what the code says. Mend a failure with `node scripts/docs.ts`. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { generated } from '../../scripts/docs.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

for (const [path, content] of Object.entries(generated()))
  test(`${path} is up to date`, () => {
    assert.equal(readFileSync(join(root, path), 'utf8'), content, `run \`node scripts/docs.ts\``);
  });
