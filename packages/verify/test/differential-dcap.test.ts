/** The same quotes judged here, by @phala/dcap-qvl (JavaScript) and by @phala/dcap-qvl-web (Rust in WebAssembly). */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { initSync, js_verify } from '@phala/dcap-qvl-web';
import { type DcapCase, dcapCases, KNOWN_DISAGREEMENTS, ourStatus } from './support/dcap-cases.ts';
import { qvl, skip } from './support/shared-data.ts';

const wasm = readFileSync(createRequire(import.meta.url).resolve('@phala/dcap-qvl-web/dcap-qvl-web_bg.wasm'));
initSync({ module: wasm });

const written = ({ status, advisory_ids }: { status: string; advisory_ids: string[] }) =>
  [status, ...advisory_ids.toSorted()].join(' ');

const OTHERS: Record<string, (each: DcapCase) => string> = {
  'dcap-qvl': ({ quote, collateral, nowMs }) => written(qvl.verify(Buffer.from(quote), collateral, nowMs / 1000)),
  'dcap-qvl-web': ({ quote, collateral, nowMs }) =>
    written(js_verify(Uint8Array.from(quote), collateral, BigInt(nowMs / 1000))),
};
const ask = (name: string, each: DcapCase): string | null => {
  try {
    return OTHERS[name]!(each);
  } catch {
    return null; // they refuse by throwing, each in its own way
  }
};

for (const each of skip ? [] : dcapCases())
  test(`${each.name}`, async () => {
    const ours = await ourStatus(each);
    for (const other of Object.keys(OTHERS)) {
      const theirs = ask(other, each);
      if (theirs !== ours)
        assert.ok(each.name in KNOWN_DISAGREEMENTS && ours === null, `${other}: ${theirs}, here: ${ours}`);
    }
  });

test('every disagreement is real: one of them still accepts', { skip }, () => {
  for (const each of dcapCases())
    if (each.name in KNOWN_DISAGREEMENTS)
      assert.ok(
        Object.keys(OTHERS).some((other) => ask(other, each) !== null),
        each.name,
      );
});

test('both accept what is good', { skip }, () => {
  const [near] = dcapCases();
  assert.deepEqual([ask('dcap-qvl', near!), ask('dcap-qvl-web', near!)], ['UpToDate', 'UpToDate']);
});
