/**
 * One flipped bit at every offset of a quote and of its collateral changes the verdict. SLOW=1 flips all 8 bits of every
 * byte; otherwise one seeded bit of every byte of the quote, and of sampled bytes of the collateral.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type TdxCollateral, type TdxEvidence, type Verdict, VerifiedCache, verifyEvidence } from '../src/index.ts';
import { good, pins } from './support/judge.ts';
import * as data from './support/shared-data.ts';
import { NOW_MS } from './support/simulated-platform.ts';
import { all, outside, RANGES, sample, seed, sweep } from './support/sweep.ts';

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
