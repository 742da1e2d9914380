import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { listFiles } from '../src/analyze-command.ts';
import { printable, printableJson } from '../src/printable.ts';

test('of a folder all files below are sent, and nothing that was not named: links are not followed', (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'abaton-files-'));
  t.after(() => rmSync(dir, { recursive: true }));
  const [named, outside] = [join(dir, 'named'), join(dir, 'outside')];
  mkdirSync(join(named, 'deep'), { recursive: true });
  mkdirSync(outside);
  for (const file of [join(named, 'b'), join(named, 'deep', 'a'), join(outside, 'secret')]) writeFileSync(file, 'x');
  symlinkSync(outside, join(named, 'folder-link'));
  symlinkSync(join(outside, 'secret'), join(named, 'file-link'));
  symlinkSync('..', join(named, 'loop'));
  assert.deepEqual(listFiles([named]), [join(named, 'b'), join(named, 'deep', 'a')]);
  assert.deepEqual(listFiles([join(named, 'file-link')]), [join(named, 'file-link')], 'a link that is named is meant');

  const fifo = join(dir, 'fifo');
  execFileSync('mkfifo', [fifo]);
  for (const path of [fifo, '/dev/null', join(dir, 'absent')])
    assert.throws(
      () => listFiles([path]),
      (error: Error & { code?: string }) => error.code === 'USAGE' && !error.message.includes(dir),
    );
  assert.throws(() => listFiles([outside, join(dir, 'named', 'deep', 'none')]), /Path 2 /);
});

test('what others wrote moves no cursor and hides no word', () => {
  assert.equal(printable('a\u001b[2Kb\u009bc\u202ed\u0000e\rf'), 'a\\u{1b}[2Kb\\u{9b}c\\u{202e}d\\u{0}e\\u{d}f');
  const text = 'a\u0000\u0085\u202e\u{e0001}\u2028"ß';
  const json = printableJson(JSON.stringify({ text }, null, 2));
  assert.doesNotMatch(json, /[\p{Cf}\p{Zl}\u0080-\u009f]/u);
  assert.deepEqual(JSON.parse(json), { text });
  assert.equal(printable('Zwei\nZeilen\u2028, ✓ größer'), 'Zwei\\u{a}Zeilen\\u{2028}, ✓ größer');
});
