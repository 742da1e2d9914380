/**
 * A verdict on a real TDX quote against `@phala/dcap-qvl` (JavaScript) on the same quote and collateral, in turns in the
 * same run. `ratio`: our median time, chain and collateral authenticated before, over theirs, which authenticates them each
 * time; `coldRatio` lets ours do so too. Beside it: GPU evidence with cached chains (reports alone: no RIM is compared), the
 * size of the browser bundle, and whether memory stays flat over many verdicts (100,000 with BENCH_VERDICTS=100000).
 */
import { createRequire } from 'node:module';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { type EvidenceFiles, parsePolicy, VerifiedCache, verifyFiles } from '@abaton/verify';
import { createProgress } from '../packages/cli/src/progress.ts';
import { loadFiles, skip } from '../packages/verify/test/support/samples.ts';
import { verifierSize } from '../test/browser/bundle.ts';
import type { Figures } from './main.ts';
import { mean, quantile, takeTurns } from './statistics.ts';

const { verify: verifyByQvl }: typeof import('@phala/dcap-qvl') = createRequire(
  new URL('../packages/verify/package.json', import.meta.url),
)('@phala/dcap-qvl');

const ROUNDS = 100;
const VERDICTS = Number(process.env.BENCH_VERDICTS ?? 2000);
const GOALS = { ratio: 0.3, gpuMs: 5, bundleGzipKiB: 60, heapGrowthMiB: 1 };
const policy = parsePolicy({ version: 1 });
const NOW = '2026-08-20T12:00:00Z';

export async function run(): Promise<Figures> {
  if (skip) throw new Error(`bench verify ${skip}`);
  const quote = loadFiles({
    quote: 'attestation/near-mpc/quote.json',
    collateral: 'attestation/near-mpc/collateral.json',
  });
  const gpu = loadFiles({
    gpuEvidence: 'gpu-attestation/attestation-sdk/evidence/hopper_evidence.json',
    gpuNonce: 'e97b23a1718095a0e9e35edca810768c70a6a5a389b705e753b197912bc11576',
  });
  const cache = new VerifiedCache();
  const judge =
    (files: EvidenceFiles, now: string, kept = cache) =>
    async () => {
      const { valid } = await verifyFiles(files, { policy, nowMs: Date.parse(now), cache: kept });
      if (!valid) throw new Error('the evidence does not hold');
    };
  const theirs = async () => {
    const { status } = verifyByQvl(Buffer.from(quote.quote!), quote.collateral as never, Date.parse(NOW) / 1000);
    if (status !== 'UpToDate') throw new Error(`dcap-qvl says ${status}`);
  };
  const times = await takeTurns(ROUNDS, [
    judge(quote, NOW),
    () => judge(quote, NOW, new VerifiedCache())(),
    theirs,
    judge(gpu, NOW),
  ]);
  const { gzipBytes } = await verifierSize();
  const bundleGzipKiB = gzipBytes / 1024;
  const [warmMs, coldMs, qvlMs, gpuMs] = times.map((each) => quantile(each, 0.5)) as [number, number, number, number];
  const memory = await measureMemory(judge(quote, NOW));
  const figures = { ratio: warmMs / qvlMs, gpuMs, bundleGzipKiB, ...memory };
  return {
    ...figures,
    coldRatio: coldMs / qvlMs,
    p50Ms: warmMs,
    p99Ms: quantile(times[0]!, 0.99),
    perSecond: 1000 / mean(times[0]!),
    coldMs,
    qvlMs,
    ...Object.fromEntries(
      Object.entries(GOALS).map(([name, goal]) => [`${name}Goal${goal}`, figures[name as keyof typeof GOALS] <= goal]),
    ),
  };
}

/** Heap and resident memory after garbage collection, at a tenth of the verdicts, at half of them and at the end. */
async function measureMemory(judge: () => Promise<void>) {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const read = async () => {
    for (let times = 0; times < 3; times++) {
      collect();
      await new Promise((resolve) => setTimeout(resolve, 50)); // finalisers of keys run between
    }
    const { heapUsed, rss } = process.memoryUsage();
    return { heapMiB: heapUsed / 2 ** 20, rssMiB: rss / 2 ** 20 };
  };
  const progress = createProgress('memory');
  let done = 0;
  const proceed = async (share: number) => {
    while (done < VERDICTS * share) {
      await Promise.all(Array.from({ length: 8 }, judge));
      done += 8;
      if (done % 400 === 0) progress.note(`${done} of ${VERDICTS} verdicts`);
    }
    return read();
  };
  const tenth = await proceed(0.1);
  const half = await proceed(0.5);
  const end = await proceed(1);
  progress.end();
  return {
    verdicts: done,
    heapTenthMiB: tenth.heapMiB,
    heapHalfMiB: half.heapMiB,
    heapEndMiB: end.heapMiB,
    heapGrowthMiB: end.heapMiB - tenth.heapMiB,
    rssTenthMiB: tenth.rssMiB,
    rssHalfMiB: half.rssMiB,
    rssEndMiB: end.rssMiB,
    rssGrowthMiB: end.rssMiB - tenth.rssMiB,
  };
}
