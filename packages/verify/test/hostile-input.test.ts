/** Whatever comes in, a verdict comes out, soon, and it is "no". */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  CHECKS,
  ConfigurationError,
  parseEvidence,
  parsePolicy,
  VerificationError,
  VerifiedCache,
  verifyEvidence,
} from '../src/index.ts';
import { good, pins, put } from './support/judge.ts';
import { runs } from './support/property.ts';
import { simulateGpu } from './support/simulated-gpu.ts';
import { NOW_MS } from './support/simulated-platform.ts';

const cache = new VerifiedCache();
const judge = (evidence: unknown) =>
  verifyEvidence({
    ...{ evidence, cache, nowMs: NOW_MS, policy: { ...good.policy, ...pins } },
    expect: { nonce: good.evidence.reportData.nonce, tlsSpkiSha256: good.evidence.reportData.tlsSpkiSha256 },
    acceptedRootsSha256: [good.rootSha256],
  });

const refuses = async (evidence: unknown, { gpu = false } = {}): Promise<void> => {
  const verdict = await judge(evidence);
  assert.equal(verdict.send, 'nothing');
  assert.deepEqual(
    verdict.checks.map(({ id }) => id),
    Object.keys(CHECKS).filter((id) => gpu || !id.startsWith('gpu-')),
  );
  for (const { status, code } of verdict.checks) assert.equal(code !== undefined, status === 'fail');
};

/** Paths of all members, at all depths. */
const paths = (value: unknown, at = ''): string[] =>
  typeof value === 'object' && value !== null
    ? Object.entries(value).flatMap(([name, member]) => [`${at}${name}`, ...paths(member, `${at}${name}.`)])
    : [];
const anyPath = fc.constantFrom(...paths(good.evidence));
const odd = fc.oneof(fc.jsonValue(), fc.constantFrom('', '00', 'ff'.repeat(5000), -1, 1e308, [], {}, null, '\ud800'));

test('any JSON value', async () => {
  await fc.assert(
    fc.asyncProperty(fc.jsonValue(), (value) => refuses(value)),
    runs(50),
  );
  for (const value of [undefined, null, [], {}, 'x', 1, JSON.parse('{"__proto__": {"version": 1}}')])
    await refuses(value);
});

test('any member of good evidence replaced by anything', async () => {
  const property = fc.asyncProperty(anyPath, odd, async (path, value) => {
    const evidence = structuredClone(good.evidence);
    const before = JSON.stringify(evidence);
    put(evidence, path, () => value);
    const verdict = await judge(evidence);
    // Requests, and what the registers do not cover, may be anything; nothing else may.
    const free = /^requested|^eventLog\.[012]\.(event|event_type|event_payload)$/.test(path);
    if (JSON.stringify(evidence) !== before && !free && !/^eventLog\.\d+\.digest$/.test(path))
      assert.equal(verdict.send, 'nothing', path);
  });
  await fc.assert(property, runs(100));
});

test('any member of good evidence removed, or one added', async () => {
  await fc.assert(
    fc.asyncProperty(anyPath, fc.boolean(), async (path, add) => {
      const evidence = structuredClone(good.evidence);
      const parent = path.split('.').slice(0, -1).join('.');
      const change = (old: unknown) => (Array.isArray(old) ? [...old, 'x'] : { ...(old as object), extra: 1 });
      if (add && parent) put(evidence, parent, change);
      else if (add) Object.assign(evidence, { extra: 1 });
      else put(evidence, path, () => undefined);
      await refuses(evidence);
    }),
    runs(50),
  );
});

test('random quotes, and good quotes with random stretches', async () => {
  const quote = Buffer.from(good.evidence.quote, 'hex');
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 6000 }), fc.nat(quote.length - 1), async (bytes, at) => {
      await refuses({ ...good.evidence, quote: Buffer.from(bytes).toString('hex') });
      const spliced = Buffer.concat([quote.subarray(0, at), bytes, quote.subarray(at + bytes.length)]);
      if (!spliced.equals(quote)) await refuses({ ...good.evidence, quote: spliced.toString('hex') });
    }),
    runs(25),
  );
});

test('random CRLs and chains', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 500 }), fc.string(), async (bytes, text) => {
      const collateral = good.evidence.collateral!;
      const crl = Buffer.concat([Buffer.from(collateral.pck_crl, 'hex').subarray(0, bytes[0] ?? 0), bytes]).toString(
        'hex',
      );
      await refuses({ ...good.evidence, collateral: { ...collateral, pck_crl: crl } });
      await refuses({ ...good.evidence, collateral: { ...collateral, tcb_info_issuer_chain: text } });
      await refuses({ ...good.evidence, collateral: { ...collateral, tcb_info: text } });
    }),
    runs(25),
  );
});

test('the largest evidence that is read at all is judged in bounded time', async () => {
  const event = { ...good.evidence.eventLog.at(-1)!, event_payload: 'ab'.repeat(16 * 1024), digest: '' };
  const evidence = {
    ...good.evidence,
    eventLog: Array.from({ length: 256 }, () => event),
    appCompose: 'x'.repeat(256 * 1024),
    gpu: {
      evidence: Array(24).fill(simulateGpu()),
      rims: Array(32).fill(`<a>${'<b></b>'.repeat(9000)}</a>`),
      ocspResponses: Array(64).fill('30'.repeat(16 * 1024)),
    },
    collateral: { ...good.evidence.collateral!, pck_crl: '30'.repeat(512 * 1024), tcb_info: '['.repeat(256 * 1024) },
  };
  assert.doesNotThrow(() => parseEvidence(evidence));
  const startMs = Date.now();
  await refuses(evidence, { gpu: true });
  assert.ok(Date.now() - startMs < 20_000); // a guard against hanging, not a measurement
});

test('evidence is refused with the name of the member', () => {
  const refused = (path: string, value: unknown, pattern: RegExp) => {
    const evidence = structuredClone(good.evidence);
    put(evidence, path, () => value);
    assert.throws(
      () => parseEvidence(evidence),
      (error: unknown) =>
        error instanceof VerificationError && error.code === 'EVIDENCE_MALFORMED' && pattern.test(error.seen),
    );
  };
  refused('reportData.nonce', 'x', /^evidence\.reportData\.nonce must be 64 lower-case hex digits$/);
  refused('eventLog.2.event', 5, /^evidence\.eventLog\[2\]\.event must be text/);
  refused('collateral.pck_crl', undefined, /^evidence\.collateral\.pck_crl must be/);
  refused('requested', { hipaa: true }, /^evidence\.requested\.baaSigned must be true or false$/);
  refused(
    'reportData',
    { ...good.evidence.reportData, more: 1 },
    /^evidence\.reportData has an unknown member "more"$/,
  );
});

const MILAN = { product: 'Milan', bootLoader: 4, tee: 0, snp: 23, microcode: 213 };

test('a policy is read with strict defaults, and refused with the name of the member', () => {
  const digest = 'AB'.repeat(32);
  assert.deepEqual(parsePolicy({ version: 1, manifestSha256: [digest] }), {
    ...{ version: 1, codeHashes: [], osMeasurements: [], manifestSha256: [digest.toLowerCase()], policySha256: null },
    ...{ modelRegistrySha256: null, keyProviders: null, tcbStatuses: ['UpToDate'], tcbGrace: [], advisories: [] },
    ...{ minTcbEvaluationDataNumber: 0, maxCollateralAgeDays: null, platformIds: null, snpMinimumTcb: [] },
    ...{ snpAliasCheck: 'optional', gpu: null },
  });
  assert.deepEqual(parsePolicy(JSON.parse(JSON.stringify(good.policy))), good.policy);
  for (const [policy, pattern] of [
    [null, /^policy must be an object\.$/],
    [{}, /^policy\.version must be 1\.$/],
    [{ version: 2 }, /^policy\.version must be 1\.$/],
    [{ version: 1, codeHash: [] }, /^policy has an unknown member "codeHash"\.$/],
    [{ version: 1, codeHashes: ['ab'.repeat(32)] }, /^policy\.codeHashes\[0\] must be sha256: and 64/],
    [{ version: 1, osMeasurements: [{ name: 'x', mrtd: '00' }] }, /^policy\.osMeasurements\[0\]\.mrtd must be 96/],
    [{ version: 1, tcbStatuses: ['Revoked'] }, /^policy\.tcbStatuses\[0\] must be UpToDate or/],
    [{ version: 1, advisories: ['CVE-1'] }, /^policy\.advisories\[0\] must be an advisory/],
    [{ version: 1, minTcbEvaluationDataNumber: '20' }, /^policy\.minTcbEvaluationDataNumber must be a whole number/],
    [{ version: 1, gpu: { count: 0 } }, /^policy\.gpu\.count must be a whole number from 1 to 64\.$/],
    [{ version: 1, gpu: { debug: true } }, /^policy\.gpu has an unknown member "debug"\.$/],
    [{ version: 1, platformIds: ['ab'] }, /^policy\.platformIds\[0\] must be 32 lower-case hex digits\.$/],
    [{ version: 1, osMeasurements: [{ name: 'x', launchMeasurement: '00' }] }, /launchMeasurement must be 96/],
    [
      { version: 1, tcbGrace: [{ status: 'Revoked', until: '2030-01-01T00:00:00Z' }] },
      /^policy\.tcbGrace\[0\]\.status/,
    ],
    [{ version: 1, tcbGrace: [{ status: 'OutOfDate', until: '2030-02-30T00:00:00Z' }] }, /time does not exist/],
    [{ version: 1, snpMinimumTcb: [MILAN, MILAN] }, /names a product twice\.$/],
    [
      { version: 1, tcbGrace: Array(2).fill({ status: 'OutOfDate', until: '2030-02-01T00:00:00Z' }) },
      /names a status twice\.$/,
    ],
  ] as const)
    assert.throws(
      () => parsePolicy(policy),
      (error: unknown) =>
        error instanceof ConfigurationError && error.code === 'POLICY_INVALID' && pattern.test(error.message),
      String(pattern),
    );
});
