/**
 * Every sample of others, alone and together, at several dates: for each check what becomes of it. The table is
 * vectors/expected-results.json; a sample that no row names is a gap.
 */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { parsePolicy, VerifiedCache, verifyFiles } from '../src/index.ts';
import { expectedResults, loadFiles, skip } from './support/samples.ts';
import { root } from './support/shared-data.ts';

const policy = parsePolicy({ version: 1 });
const cache = new VerifiedCache();
const rows = expectedResults();

for (const { files, now, checks, tcbStatus = null, advisories = [] } of rows)
  test(`${now.slice(0, 10)} ${[Object.values(files)].flat(2).join(' + ')}`, { skip }, async () => {
    const verdict = await verifyFiles(loadFiles(files), { policy, nowMs: Date.parse(now), cache });
    const seen = verdict.checks.map(({ id, status, code }) => [id, code ?? status]);
    assert.deepEqual(Object.fromEntries(seen), checks);
    assert.deepEqual([verdict.tcbStatus, verdict.advisories], [tcbStatus, advisories]);
    assert.equal(
      verdict.valid,
      verdict.checks.every(({ status }) => status !== 'fail') &&
        seen.some(
          ([id, outcome]) => ['quote-signature', 'gpu-signature', 'gpu-rims'].includes(id!) && outcome === 'pass',
        ),
    );
    assert.equal(verdict.send, 'nothing');
  });

/** Evidence, RIMs, reports and quotes; the rest is certificates and documents that go with them, or copies of them. */
const SAMPLE =
  /^(attestation\/(?!derived).*(quote[^/]*|report\.bin|attestation\.(bin|json)|\.dat)|gpu-attestation\/[^/]+\/(evidence|rims)\/.*)$/;
const NO_SAMPLE = /collateral|CertChain|quote_collateral/;

test('no sample is left out', { skip }, () => {
  const named = new Set(rows.flatMap(({ files }) => Object.values(files).flat()));
  const samples = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter(
    (path) => SAMPLE.test(path) && /\.\w+$|tdx_quote$/.test(path) && !NO_SAMPLE.test(path),
  );
  assert.ok(samples.length > 30);
  assert.deepEqual(
    samples.filter((path) => !named.has(path)),
    [],
  );
});
