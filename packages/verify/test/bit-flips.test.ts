/**
 * One flipped bit at every offset of a quote and of its collateral changes the verdict. SLOW=1 flips all 8 bits of every
 * byte; otherwise one seeded bit of every byte of the quote, and of sampled bytes of the collateral.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { type TdxCollateral, type TdxEvidence, type Verdict, VerifiedCache, verifyEvidence } from '../src/index.ts';
import { good, pins } from './support/judge.ts';
import { runs, SLOW } from './support/property.ts';
import * as data from './support/shared-data.ts';
import { NOW_MS } from './support/simulated-platform.ts';

interface Range {
  from: number;
  to: number;
  reason: string;
}
const RANGES: Record<'quote' | 'crl' | 'chain' | 'json', Range[]> = JSON.parse(
  readFileSync(new URL('vectors/flip-ranges.json', import.meta.url), 'utf8'),
);

const { seed } = runs();
let state = seed;
const random = (below: number): number => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0; // Numerical Recipes' generator: no need of a better one
  return Math.floor((state / 2 ** 32) * below);
};

const cache = new VerifiedCache();
const simulated = (evidence: TdxEvidence): Promise<Verdict> =>
  verifyEvidence({
    ...{ evidence, cache, nowMs: NOW_MS, policy: { ...good.policy, ...pins } },
    expect: { nonce: good.evidence.reportData.nonce, tlsSpkiSha256: good.evidence.reportData.tlsSpkiSha256 },
    acceptedRootsSha256: [good.rootSha256],
  });
const real = (evidence: TdxEvidence): Promise<Verdict> =>
  verifyEvidence({
    ...{ evidence, cache, nowMs: data.DCAP_MS, policy: { ...good.policy, osMeasurements: [], codeHashes: [] } },
    expect: { nonce: '00'.repeat(32), tlsSpkiSha256: null },
  });

/** What the verdict says, without the digest of the quote itself. */
const meaning = ({ evidenceId: _, ...verdict }: Verdict): string => JSON.stringify(verdict);

/** Flips bits of `bytes`, verifies what `build` makes of them, and lists the offsets where the verdict stayed the same. */
async function sweep(
  bytes: Uint8Array,
  offsets: readonly number[],
  build: (flipped: Buffer) => TdxEvidence,
  judge: (evidence: TdxEvidence) => Promise<Verdict>,
): Promise<number[]> {
  const baseline = meaning(await judge(build(Buffer.from(bytes))));
  const accepted: number[] = [];
  const flips = offsets.flatMap((at) => (SLOW ? [0, 1, 2, 3, 4, 5, 6, 7] : [random(8)]).map((bit) => ({ at, bit })));
  const worker = async (): Promise<void> => {
    for (let flip = flips.pop(); flip; flip = flips.pop()) {
      const flipped = Buffer.from(bytes);
      flipped[flip.at]! ^= 1 << flip.bit;
      const verdict = await judge(build(flipped));
      if (meaning(verdict) === baseline) accepted.push(flip.at);
      // A flip that is accepted *and* changes what is said would be worse than any range.
      else assert.ok(verdict.checks.some(({ status }) => status === 'fail') && !verdict.valid, `offset ${flip.at}`);
    }
  };
  await Promise.all(Array.from({ length: 8 }, worker)); // WebCrypto verifies on other threads
  return accepted.sort((a, b) => a - b);
}

const outside = (accepted: number[], ranges: readonly Range[]) =>
  accepted.filter((at) => !ranges.some(({ from, to }) => at >= from && at <= to));

const all = (bytes: Uint8Array) => Array.from(bytes.keys());
const sample = (bytes: Uint8Array, count: number) =>
  SLOW ? all(bytes) : Array.from({ length: count }, () => random(bytes.length));
const note = `seed ${seed}`;

test(`bytes of a simulated quote (${note})`, async () => {
  const quote = Buffer.from(good.evidence.quote, 'hex');
  assert.equal((await simulated(good.evidence)).send, 'synthetic-only');
  const build = (flipped: Buffer) => ({ ...good.evidence, quote: flipped.toString('hex') });
  const offsets = data.skip ? all(quote) : sample(quote, 500); // the real quote below is swept in full
  assert.deepEqual(outside(await sweep(quote, offsets, build, simulated), RANGES.quote), []);
});

test(`every byte of a real quote (${note})`, { skip: data.skip }, async () => {
  const quote = data.dcapQuote();
  const evidence = data.wrap(quote, data.dcapCollateral());
  const before = (await real(evidence)).checks.findIndex(({ status }) => status === 'fail');
  assert.equal((await real(evidence)).checks[before]?.id, 'event-log'); // the platform itself holds
  const sensitive = async (each: TdxEvidence) => {
    const verdict = await real(each);
    return { ...verdict, checks: verdict.checks.slice(0, before) };
  };
  const build = (flipped: Buffer) => ({ ...evidence, quote: flipped.toString('hex') });
  assert.deepEqual(outside(await sweep(quote, all(quote), build, sensitive), RANGES.quote), []);
});

const MEMBERS: [member: keyof TdxCollateral, kind: 'crl' | 'chain' | 'json', encoding: 'hex' | 'latin1'][] = [
  ['pck_crl', 'crl', 'hex'],
  ['root_ca_crl', 'crl', 'hex'],
  ['pck_crl_issuer_chain', 'chain', 'latin1'],
  ['tcb_info_issuer_chain', 'chain', 'latin1'],
  ['qe_identity_issuer_chain', 'chain', 'latin1'],
  ['tcb_info', 'json', 'latin1'],
  ['tcb_info_signature', 'json', 'hex'],
  ['qe_identity', 'json', 'latin1'],
  ['qe_identity_signature', 'json', 'hex'],
];

for (const [member, kind, encoding] of MEMBERS)
  test(`bytes of ${member} (${note})`, async () => {
    const bytes = Buffer.from(good.evidence.collateral![member], encoding);
    const build = (flipped: Buffer): TdxEvidence => ({
      ...good.evidence,
      collateral: { ...good.evidence.collateral!, [member]: flipped.toString(encoding) },
    });
    assert.deepEqual(outside(await sweep(bytes, sample(bytes, 60), build, simulated), RANGES[kind]), []);
  });

test(`truncated at every length (${note})`, async () => {
  const quote = Buffer.from(good.evidence.quote, 'hex');
  const padding = 70; // of the simulated quote: what is cut off there leaves the same quote
  const lengths = sample(quote.subarray(0, quote.length - padding), 200);
  for (const length of lengths) {
    const verdict = await simulated({
      ...good.evidence,
      quote: quote.subarray(0, Math.max(length, 1)).toString('hex'),
    });
    assert.equal(verdict.checks[1]?.code, 'QUOTE_MALFORMED', `${length}`);
  }
});
