/** Verifies simulated SEV-SNP platforms after changes before and after signing. */
import { Checklist, type NotAsked } from '../../src/checklist.ts';
import { type Policy, parsePolicy, VerifiedCache } from '../../src/index.ts';
import { SNP_PRODUCTS, type SnpProduct } from '../../src/policy.ts';
import { verifySnp } from '../../src/snp/verify-snp.ts';
import { failures, statusOf } from './judge.ts';
import { NOW_MS } from './simulated-platform.ts';
import { type BentSnp, goodSnp, type Kind, type SnpSimulation, simulateSnp } from './simulated-snp.ts';

/** The firmware of a good platform. */
export const MINIMUM = { fmc: 0, bootLoader: 4, tee: 1, snp: 24, microcode: 219 };

export interface Change {
  product?: SnpProduct;
  kind?: Kind;
  version?: number;
  /** Before signing. */
  bend?: (platform: BentSnp) => void;
  /** After signing. */
  tamper?: (simulation: SnpSimulation) => void;
  policy?: Partial<Policy>;
  /** Default: the root of the simulation. */
  pin?: readonly string[];
  crl?: NotAsked;
  nowMs?: number;
}

export const cache = new VerifiedCache();

export async function judge({ product = 'Milan', kind = 'VCEK', version = 3, ...change }: Change = {}) {
  const bent = goodSnp(product, kind, version);
  const { chipId } = structuredClone(bent.report);
  change.bend?.(bent);
  const simulation = simulateSnp(bent);
  change.tamper?.(simulation);
  const checklist = new Checklist();
  const policy = parsePolicy({
    version: 1,
    snpMinimumTcb: SNP_PRODUCTS.map((product) => ({ product, ...MINIMUM, fmc: product === 'Turin' ? 1 : 0 })),
    platformIds: [Buffer.from(chipId).toString('hex')],
  });
  const { report, certificates, crl } = simulation;
  const platform = await verifySnp(
    checklist,
    { report, certificates, crl: change.crl ?? crl },
    {
      policy: { ...policy, ...change.policy },
      nowMs: change.nowMs ?? NOW_MS,
      acceptedRootsSha256: change.pin ?? [simulation.rootSha256],
      cache,
    },
  );
  const checks = checklist.checks();
  const seen = (id: string) => checks.find((check) => check.id === id)?.seen;
  return { platform, checks, status: statusOf(checks), failed: failures(checks), seen, simulation };
}

export const CHECKS = [
  ...['quote-format', 'trust-root', 'certificate-chain', 'revocation-lists', 'quote-signature'],
  ...['tcb-status', 'platform-id', 'td-attributes'],
];
export const allPass = Object.fromEntries(CHECKS.map((id) => [id, 'pass']));

/** A change before signing. */
export const bend = (change: (platform: BentSnp) => void, rest: Omit<Change, 'bend'> = {}): Change => ({
  ...rest,
  bend: change,
});
