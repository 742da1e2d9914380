/**
 * SEV-SNP on simulated platforms (support/simulated-snp.ts). Milan of version 3 with a VCEK exists as real data too
 * (snp-report-amd.test.ts); the chains and reports of Genoa and Turin, of other versions, and of every VLEK are synthetic.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { Checklist, NotAsked } from '../src/checklist.ts';
import { computeReportData, parsePolicy, type SnpEvidence, VerifiedCache, verifyEvidence } from '../src/index.ts';
import { SNP_PRODUCTS } from '../src/policy.ts';
import { verifySnp } from '../src/snp/verify-snp.ts';
import { failures, good as tdx } from './support/judge.ts';
import { allPass, bend, CHECKS, cache, judge, MINIMUM } from './support/judge-snp.ts';
import { runs } from './support/property.ts';
import { NOW_MS } from './support/simulated-platform.ts';
import { goodSnp, type SnpSimulation, simulateSnp, type Tcb } from './support/simulated-snp.ts';

const KINDS = ['VCEK', 'VLEK'] as const;
const DAY_MS = 86_400_000;

for (const product of SNP_PRODUCTS)
  for (const kind of KINDS)
    for (const version of [2, 3, 4, 5])
      test(`a good report of ${product}, version ${version}, ${kind} (synthetic)`, async () => {
        const { platform, status, simulation } = await judge({ product, kind, version });
        assert.deepEqual(status, allPass);
        assert.equal(platform.rootSha256, simulation.rootSha256);
        assert.equal(platform.report?.version, version);
        assert.equal(platform.report?.product, version === 2 ? null : product);
        assert.equal(
          platform.level?.status,
          `fmc ${product === 'Turin' ? 1 : 0}, bootLoader 4, tee 1, snp 24, microcode 219`,
        );
        assert.deepEqual(Buffer.from(platform.report!.measurement), Buffer.alloc(48, 0xcd));
        assert.deepEqual(Buffer.from(platform.report!.hostData), Buffer.alloc(32, 0xd5));
        assert.deepEqual(Buffer.from(platform.report!.reportData), Buffer.alloc(64, 0x5e));
      });

test('what was not asked for says so', async () => {
  const none = await judge({
    policy: { snpMinimumTcb: [], platformIds: null },
    crl: new NotAsked('no revocation list'),
  });
  assert.deepEqual(none.failed, []);
  const silent = ['tcb-status', 'platform-id', 'revocation-lists'];
  for (const id of CHECKS) assert.equal(none.status[id], silent.includes(id) ? 'not-run' : 'pass', id);
  assert.equal(none.seen('tcb-status'), 'no minimum TCB of Milan in the policy');
  assert.equal(none.seen('platform-id'), 'not pinned');
  assert.equal(none.seen('revocation-lists'), 'no revocation list');
  const other = await judge({ policy: { snpMinimumTcb: [{ product: 'Genoa', ...MINIMUM }] } });
  assert.equal(other.status['tcb-status'], 'not-run'); // the minimum of another product is none
});

test('an old platform is told which firmware is behind', async () => {
  const { checks } = await judge(
    bend(({ report, leaf }) => {
      const old: Partial<Tcb> = { snp: 23, microcode: 200 };
      Object.assign(report.reportedTcb, old);
      Object.assign(leaf.tcb, old);
      report.launchTcb.bootLoader = 3;
    }),
  );
  const check = checks.find(({ id }) => id === 'tcb-status');
  assert.equal(
    check?.expected,
    'reported snp 24 or later, reported microcode 219 or later, launch bootLoader 4 or later',
  );
  assert.equal(check?.seen, 'reported snp 23, reported microcode 200, launch bootLoader 3');
});

test('choices of guest and platform are written down', async () => {
  const { seen } = await judge(
    bend(({ report }) => {
      report.policy = 0x3d3_0137n;
      report.platformInfo = 0xffn;
    }),
  );
  assert.equal(
    seen('td-attributes'),
    'policy 0000000003d30137 (ABI 1.55, SMT allowed, single socket, AES-256-XTS, RAPL off, ciphertext hiding, no page swap), ' +
      'platform 00000000000000ff (SMT, TSME, ECC, RAPL off, ciphertext hiding, no memory alias, IOMMU write safe, TIO)',
  );
});

test('a masked chip is the one of its VCEK', async () => {
  const { seen, simulation } = await judge(bend(({ report }) => report.chipId.fill(0)));
  assert.ok(simulation.report.subarray(0x1a0, 0x1e0).every((byte) => byte === 0));
  assert.equal(seen('platform-id'), goodSnp('Milan', 'VCEK', 3).report.chipId.toString('hex'));
});

test('certificates are verified once, dates each time', async () => {
  const kept = new VerifiedCache();
  const { report, certificates, crl, rootSha256 } = simulateSnp(goodSnp('Milan', 'VCEK', 3));
  const at = async (nowMs: number) => {
    const checklist = new Checklist();
    const context = { policy: parsePolicy({ version: 1 }), nowMs, acceptedRootsSha256: [rootSha256], cache: kept };
    await verifySnp(checklist, { report, certificates, crl }, context);
    return failures(checklist.checks());
  };
  assert.deepEqual(await at(NOW_MS), []);
  assert.equal(kept.size, 1);
  assert.deepEqual(await at(NOW_MS + 5000 * DAY_MS), ['certificate-chain: CERTIFICATE_INVALID']);
  assert.deepEqual(await at(NOW_MS + 60 * DAY_MS), ['revocation-lists: CRL_EXPIRED']);
  assert.equal(kept.size, 1);
});

for (const [product, kind, version] of [
  ['Turin', 'VLEK', 5],
  ['Genoa', 'VCEK', 2],
] as const)
  test(`no byte of a report of ${product} can change (synthetic)`, async () => {
    const simulation = simulateSnp(goodSnp(product, kind, version));
    const accepted: number[] = [];
    for (let offset = 0; offset < simulation.report.length; offset++) {
      const report = Buffer.from(simulation.report);
      report[offset]! ^= 1 << (offset % 8);
      if ((await judgeBytes({ ...simulation, report })).length === 0) accepted.push(offset);
    }
    assert.deepEqual(accepted, []);
  });

test('no byte of a revocation list can change', async () => {
  const simulation = simulateSnp(goodSnp('Milan', 'VCEK', 3));
  for (let offset = 0; offset < simulation.crl.length; offset++) {
    const crl = Buffer.from(simulation.crl);
    crl[offset]! ^= 1 << (offset % 8);
    const [failed, ...rest] = await judgeBytes({ ...simulation, crl });
    assert.match(failed ?? 'none', /^revocation-lists: CRL_INVALID$/, `${offset}`);
    assert.deepEqual(rest, []);
  }
});

test('random reports, chains and lists are refused, and nothing is thrown', async () => {
  const simulation = simulateSnp(goodSnp('Milan', 'VCEK', 3));
  const bytes = fc.oneof(fc.uint8Array({ maxLength: 1300 }), fc.uint8Array({ minLength: 1184, maxLength: 1184 }));
  const property = fc.asyncProperty(bytes, fc.string({ maxLength: 4000 }), async (bytes, text) => {
    assert.notDeepEqual(await judgeBytes({ ...simulation, report: Buffer.from(bytes) }), []);
    assert.notDeepEqual(await judgeBytes({ ...simulation, crl: Buffer.from(bytes) }), []);
    assert.notDeepEqual(await judgeBytes({ ...simulation, certificates: text }), []);
  });
  await fc.assert(property, runs(25));
});

async function judgeBytes({ report, certificates, crl, rootSha256 }: SnpSimulation): Promise<string[]> {
  const checklist = new Checklist();
  const context = { policy: parsePolicy({ version: 1 }), nowMs: NOW_MS, acceptedRootsSha256: [rootSha256], cache };
  await verifySnp(checklist, { report, certificates, crl }, context);
  return failures(checklist.checks());
}

test('a whole service on Milan: synthetic data may be sent, and only with everything in place', async () => {
  const appCompose = '{"name":"abaton"}';
  const composeHash = createHash('sha256').update(appCompose).digest('hex');
  const mrConfig = JSON.stringify({
    ...{ version: 3, app_id: composeHash.slice(0, 40), compose_hash: composeHash },
    ...{ key_provider: 'kms', key_provider_id: '3059' },
  });
  const { reportData, requested } = tdx.evidence;
  const bent = goodSnp('Milan', 'VCEK', 3);
  bent.report.reportData = Buffer.from(computeReportData(reportData));
  bent.report.hostData = createHash('sha256').update('dstack-mr-config-v3:\0').update(mrConfig).digest();
  const { report, certificates, crl, rootSha256 } = simulateSnp(bent);
  const evidence: SnpEvidence = {
    ...{ version: 1, teeType: 'amd-sev-snp', appCompose, reportData, gpu: null, requested, mrConfig },
    ...{ report: report.toString('hex'), certificates, crl: crl.toString('hex') },
  };
  const policy = {
    version: 1,
    codeHashes: [`sha256:${composeHash}`],
    osMeasurements: [{ name: 'simulated', launchMeasurement: 'cd'.repeat(48) }],
    snpMinimumTcb: [{ product: 'Milan', ...MINIMUM }],
  };
  const verdict = (change: Partial<SnpEvidence> = {}, pins = {}, roots = [rootSha256]) =>
    verifyEvidence({
      ...{ evidence: { ...evidence, ...change }, policy: parsePolicy({ ...policy, ...pins }), nowMs: NOW_MS },
      expect: { nonce: reportData.nonce, tlsSpkiSha256: reportData.tlsSpkiSha256 },
      ...{ acceptedRootsSha256: roots, cache },
    });
  const good = await verdict();
  assert.deepEqual(failures(good.checks), []);
  assert.equal(good.send, 'synthetic-only');
  assert.equal(good.trust, 'simulated');
  assert.equal(good.teeType, 'amd-sev-snp');
  assert.equal(good.codeHash, `sha256:${composeHash}`);
  assert.equal(good.tcbStatus, 'fmc 0, bootLoader 4, tee 1, snp 24, microcode 219');
  for (const [bad, failed] of [
    [await verdict({}, {}, []), ['trust-root: ROOT_UNTRUSTED']],
    [await verdict({ crl: null }), []],
    [await verdict({}, { snpMinimumTcb: [] }), []],
    [await verdict({}, { platformIds: ['ab'.repeat(64)] }), ['platform-id: PLATFORM_UNLISTED']],
    [await verdict({ mrConfig: `${mrConfig} ` }), ['mr-config: MR_CONFIG_MISMATCH']],
    [await verdict({ appCompose: '{}' }), ['app-compose: APP_COMPOSE_MISMATCH']],
  ] as const) {
    assert.deepEqual(failures(bad.checks), failed);
    assert.equal(bad.send, 'nothing');
    assert.equal(bad.valid, false);
  }
});
