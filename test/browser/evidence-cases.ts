/** What is judged in both engines: the evidence of others that tests have, and the simulated platform bent in each part. */
import { parsePolicy, type VerifyEvidenceInput } from '../../packages/verify/src/index.ts';
import { good, pins } from '../../packages/verify/test/support/judge.ts';
import { type ExpectedResult, expectedResults, loadFiles } from '../../packages/verify/test/support/samples.ts';
import * as data from '../../packages/verify/test/support/shared-data.ts';
import { goodDevice, gpuRootSha256, simulateGpu } from '../../packages/verify/test/support/simulated-gpu.ts';
import { goodPlatform, NOW_MS, simulate } from '../../packages/verify/test/support/simulated-platform.ts';
import { goodSnp, simulateSnp } from '../../packages/verify/test/support/simulated-snp.ts';
import type { Input } from './functions.ts';

export type Judge = 'verifyEvidence' | 'verifyFiles';
/** One more kind of evidence is one more row. */
export type Case<N extends Judge> = [name: string, input: Input<N>];

const ZEROS = '00'.repeat(32);
const policy = parsePolicy({ version: 1 });
const unsealed = { nonce: ZEROS, tlsSpkiSha256: null };

/** Evidence of guests on real hardware. */
export function realEvidence(): Case<'verifyEvidence'>[] {
  const { near, dcap } = { near: data.nearTcbInfo(), dcap: data.dcapCollateral() };
  const { mrtd, rtmr0, rtmr1, rtmr2 } = near;
  const listed = {
    ...policy,
    codeHashes: [`sha256:${near.compose_hash}`],
    osMeasurements: [{ name: 'dstack', mrtd, rtmr0, rtmr1, rtmr2 }],
  };
  const nearMpc = data.wrap(data.nearQuote(), data.nearCollateral(), near);
  return [
    ['near-mpc', { evidence: nearMpc, policy: listed, nowMs: data.NEAR_MS, expect: unsealed }],
    [
      'near-mpc, a year later',
      { evidence: nearMpc, policy: listed, nowMs: Date.parse('2027-08-20'), expect: unsealed },
    ],
    ['dcap-qvl', { evidence: data.wrap(data.dcapQuote(), dcap), policy, nowMs: data.DCAP_MS, expect: unsealed }],
    [
      'dcap-qvl with newer collateral',
      { evidence: data.wrap(data.dcapQuote(), data.nearCollateral()), policy, nowMs: data.NEAR_MS, expect: unsealed },
    ],
    ['no collateral', { evidence: data.wrap(data.nearQuote(), null), policy, nowMs: data.NEAR_MS, expect: unsealed }],
  ];
}

/** The samples of others and the result that is expected of each (packages/verify/test/expected-results.test.ts). */
export const realFiles = (): [...Case<'verifyFiles'>, ExpectedResult['checks']][] =>
  expectedResults().map(({ files, now, checks }) => [
    `${now} ${Object.values(files).join(' + ')}`,
    { files: loadFiles(files), policy, nowMs: Date.parse(now) },
    checks,
  ]);

const { nonce, tlsSpkiSha256 } = good.evidence.reportData;
const simulated = (evidence: unknown, rootSha256 = good.rootSha256): VerifyEvidenceInput => ({
  ...{ evidence, nowMs: NOW_MS, policy: { ...good.policy, ...pins }, acceptedRootsSha256: [rootSha256] },
  expect: { nonce, tlsSpkiSha256 },
});
export const goodInput = simulated(good.evidence);

/** Each member of a TDX platform changed before it is signed, and each member of the evidence after. */
export function bentEvidence(): Case<'verifyEvidence'>[] {
  const before = bends(goodPlatform, (bend): VerifyEvidenceInput => {
    const { evidence, rootSha256 } = simulate(bend);
    return simulated(evidence, rootSha256);
  });
  const after = leaves(good.evidence).map((path): Case<'verifyEvidence'> => {
    const evidence = structuredClone(good.evidence);
    change(evidence, path);
    return [`${path} after signing`, simulated(evidence)];
  });
  return [['good', goodInput], ...before, ...after];
}

/** The same for a SEV-SNP platform and a GPU, before signing. */
export function bentFiles(): Case<'verifyFiles'>[] {
  const snpMinimumTcb = [{ product: 'Milan', bootLoader: 4, tee: 1, snp: 24, microcode: 219 }];
  const options = { policy: parsePolicy({ version: 1, snpMinimumTcb, gpu: {} }), nowMs: NOW_MS };
  const goodMilan = () => goodSnp('Milan', 'VCEK', 3);
  const snp = bends(goodMilan, (bend): Input<'verifyFiles'> => {
    const platform = goodMilan();
    bend(platform);
    const { report, certificates, crl, rootSha256 } = simulateSnp(platform);
    return { ...options, files: { snpReport: report, certificates, crl }, acceptedRootsSha256: [rootSha256] };
  });
  const gpu = bends(goodDevice, (bend): Input<'verifyFiles'> => {
    const [gpuEvidence, gpuNonce] = [[simulateGpu(bend)], goodDevice().nonce];
    return { ...options, files: { gpuEvidence, gpuNonce }, acceptedRootsSha256: [gpuRootSha256] };
  });
  return [...snp, ...gpu];
}

/** What `build` makes of each change to a good platform; none where the simulator itself cannot write it. */
const bends = <P extends object, I>(goodOne: () => P, build: (bend: (platform: P) => void) => I): [string, I][] =>
  leaves(goodOne()).flatMap((path): [string, I][] => {
    try {
      return [[`${path} before signing`, build((platform) => change(platform, path))]];
    } catch {
      return [];
    }
  });

type Json = Record<string, unknown>;

/** Paths of all that is no object with members. */
function leaves(value: unknown, at = ''): string[] {
  if (value instanceof Uint8Array || typeof value !== 'object' || value === null) return [at.slice(0, -1)];
  return Object.entries(value).flatMap(([name, member]) => leaves(member, `${at}${name}.`));
}

function change(target: object, path: string): void {
  const names = path.split('.');
  const last = names.pop()!;
  const holder = names.reduce((member, name) => member[name] as Json, target as Json);
  holder[last] = changed(holder[last]);
}

function changed(value: unknown): unknown {
  if (typeof value === 'number') return value + 1;
  if (typeof value === 'bigint') return value ^ 1n;
  if (typeof value === 'boolean') return !value;
  if (typeof value === 'string') return value === '' ? 'x' : value.slice(0, -1) + (value.endsWith('0') ? '1' : '0');
  return value === null ? ZEROS : Buffer.from('changed');
}
