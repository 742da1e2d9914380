/** What this package may lean on: itself, @noble and the platform's WebCrypto. It must run in a browser. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';

const src = new URL('../src/', import.meta.url);
const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'));

test('no file imports anything but @noble and files of this package', () => {
  assert.ok(files.length > 30);
  for (const file of files) {
    const code = readFileSync(new URL(file, src), 'utf8');
    for (const [, target] of code.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*['"]([^'"]+)['"]/g)) {
      const resolved = new URL(target!, new URL(file, src)).href;
      const own = /^\.\.?\//.test(target!) && resolved.startsWith(src.href) && target!.endsWith('.ts');
      assert.ok(
        own || /^@noble\/(curves|hashes|post-quantum)\/[a-z0-9-]+\.js$/.test(target!),
        `${file} imports ${target}`,
      );
    }
    assert.doesNotMatch(
      code,
      /\brequire\s*\(|\bprocess\.\w|\bBuffer[.(]|\bimport\.meta\b|\bfetch\s*\(|\bconsole\.\w/,
      file,
    );
  }
});
