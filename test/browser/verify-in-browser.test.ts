/** The same evidence gets the same verdict in Chromium, from a minified bundle, and in Node, from the sources. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import type { Verdict } from '../../packages/verify/src/index.ts';
import { runs } from '../../packages/verify/test/support/property.ts';
import { skip as noData } from '../../packages/verify/test/support/samples.ts';
import { type Browser, callInBoth, skip, startBrowser } from './browser.ts';
import { verifierSize } from './bundle.ts';
import {
  bentEvidence,
  bentFiles,
  type Case,
  goodInput,
  type Judge,
  realEvidence,
  realFiles,
} from './evidence-cases.ts';
import type { Input } from './functions.ts';
import { decode, encode, type Outcome } from './wire.ts';

let browser: Browser;
before(async () => {
  if (!skip) browser = await startBrowser();
});
after(() => browser?.close());

/** Judging never throws, whatever the evidence. */
async function judge<N extends Judge>(name: N, input: Input<N>, what: string): Promise<Verdict> {
  const outcome: Outcome<Verdict> = await callInBoth(browser, name, input, what);
  assert.ok('value' in outcome, `${what}: ${JSON.stringify(outcome)}`);
  return outcome.value;
}

const codesOf = (verdicts: readonly Verdict[]) =>
  new Set(verdicts.flatMap(({ checks }) => checks.flatMap(({ code }) => code ?? [])));

test('evidence of real hardware', { skip: skip || noData }, async (t) => {
  for (const [name, input] of realEvidence())
    await t.test(name, async () => {
      const { trust, valid, checks } = await judge('verifyEvidence', input, name);
      assert.deepEqual([trust, valid], ['intel-tdx', false]); // made for others: the preimage is not ours
      assert.equal(checks.find(({ id }) => id === 'quote-signature')?.status, 'pass');
    });
});

test('files of real hardware: TDX, SEV-SNP, GPUs, switches, reference measurements', {
  skip: skip || noData,
}, async (t) => {
  const verdicts: Verdict[] = [];
  for (const [name, input, expected] of realFiles()) {
    const verdict = await judge('verifyFiles', input, name);
    assert.deepEqual(Object.fromEntries(verdict.checks.map(({ id, code, status }) => [id, code ?? status])), expected);
    verdicts.push(verdict);
  }
  const codes = codesOf(verdicts);
  t.diagnostic(`${verdicts.length} sets of files, ${codes.size} codes: ${[...codes].sort().join(' ')}`);
});

test('a simulated TDX platform, good and with each member changed before or after signing', { skip }, async (t) => {
  const verdicts: Verdict[] = [];
  for (const [name, input] of bentEvidence()) verdicts.push(await judge('verifyEvidence', input, name));
  assert.equal(verdicts[0]?.send, 'synthetic-only');
  const codes = codesOf(verdicts);
  t.diagnostic(`${verdicts.length} platforms, ${codes.size} codes: ${[...codes].sort().join(' ')}`);
  assert.ok(verdicts.length > 250 && codes.size > 20);
});

test('simulated SEV-SNP and GPUs, each member changed before signing', { skip }, async (t) => {
  const verdicts: Verdict[] = [];
  for (const [name, input] of bentFiles()) verdicts.push(await judge('verifyFiles', input, name));
  const codes = codesOf(verdicts);
  t.diagnostic(`${verdicts.length} sets of files, ${codes.size} codes: ${[...codes].sort().join(' ')}`);
  assert.ok(verdicts.length > 100 && codes.size >= 8);
});

test('an unsealed check: a browser does not see the certificate of its channel, and nothing may be sent', {
  skip,
}, async () => {
  const input = { ...goodInput, expect: { ...goodInput.expect, tlsSpkiSha256: null } };
  const { checks, valid, send } = await judge('verifyEvidence', input, 'unsealed');
  const { status, seen } = checks.find(({ id }) => id === 'channel')!;
  assert.deepEqual(
    { status, seen, valid, send },
    { status: 'not-run', seen: 'not bound', valid: false, send: 'nothing' },
  );
  assert.ok(checks.every(({ status }) => status !== 'fail'));
});

const { seed } = runs();

const lengthOf = ([holder, name]: [Record<string, unknown>, string]) => (holder[name] as string | Uint8Array).length;

/** Flips one bit of one text or byte string somewhere in the input: leaf 0 is the longest. */
function flip<T>(input: T, leaf: number, at: number, bit: number): T {
  const copy = decode(encode(input)) as T;
  const holders: [holder: Record<string, unknown>, name: string][] = [];
  const search = (value: unknown): void => {
    if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return;
    for (const [name, member] of Object.entries(value)) {
      if ((typeof member === 'string' || member instanceof Uint8Array) && member.length > 0)
        holders.push([value as Record<string, unknown>, name]);
      search(member);
    }
  };
  search(copy);
  holders.sort((a, b) => lengthOf(b) - lengthOf(a));
  const [holder, name] = holders[leaf % holders.length]!;
  const member = holder[name];
  const bytes = Buffer.from(member as string, 'latin1');
  bytes[at % bytes.length]! ^= 1 << bit;
  holder[name] = typeof member === 'string' ? bytes.toString('latin1') : Uint8Array.from(bytes);
  return copy;
}

// Half of them in the ten longest: quotes, reports, chains, lists, collateral.
const anyFlip = fc.record({ leaf: fc.oneof(fc.nat(9), fc.nat()), at: fc.nat(), bit: fc.nat(7) });

test(`flipped bits of real and simulated evidence (seed ${seed})`, { skip }, async () => {
  const cases: Case<'verifyEvidence'>[] = [['simulated', goodInput], ...(noData ? [] : realEvidence())];
  const flipped = fc.asyncProperty(fc.nat(cases.length - 1), anyFlip, async (index, { leaf, at, bit }) => {
    const [name, input] = cases[index]!;
    await judge('verifyEvidence', { ...input, evidence: flip(input.evidence, leaf, at, bit) }, name);
  });
  await fc.assert(flipped, { ...runs(200), seed });
});

test(`flipped bits of files (seed ${seed})`, { skip: skip || noData }, async () => {
  const cases = realFiles();
  const flipped = fc.asyncProperty(fc.nat(cases.length - 1), anyFlip, async (index, { leaf, at, bit }) => {
    const [name, input] = cases[index]!;
    await judge('verifyFiles', { ...input, files: flip(input.files, leaf, at, bit) }, name);
  });
  await fc.assert(flipped, { ...runs(100), seed });
});

test(`any JSON value (seed ${seed})`, { skip }, async () => {
  const anything = fc.asyncProperty(fc.jsonValue(), async (evidence) => {
    await judge('verifyEvidence', { ...goodInput, evidence }, 'JSON');
    await judge('verifyFiles', { ...goodInput, files: { quote: new Uint8Array(8), collateral: evidence } }, 'JSON');
  });
  await fc.assert(anything, { ...runs(50), seed });
});

test('the package weighs at most 60 KiB in a page (gzip)', async (t) => {
  const { minifiedBytes, gzipBytes } = await verifierSize();
  t.diagnostic(`${minifiedBytes} bytes minified, ${gzipBytes} bytes gzip`);
  assert.ok(gzipBytes <= 60 * 1024);
});
