/**
 * TCB_VERSION of SEV-SNP (56860, "TCB_VERSION"): one byte for the security version of each firmware part. The layout
 * changed with Turin, which has one part more.
 *
 *   byte             0            1            2     3    4-5  6    7
 *   Milan, Genoa     boot loader  TEE          -     -    -    SNP  microcode
 *   Turin            FMC          boot loader  TEE   SNP  -    -    microcode
 */
import { refuse } from '../errors.ts';
import type { SnpMinimumTcb, SnpProduct } from '../policy.ts';
import type { SnpReport } from './snp-report.ts';

export type SnpTcb = Omit<SnpMinimumTcb, 'product'>;

const PARTS = ['fmc', 'bootLoader', 'tee', 'snp', 'microcode'] as const;

export function parseSnpTcb(bytes: Uint8Array, product: SnpProduct): SnpTcb {
  const [b0, b1, b2, b3, , , b6, b7] = bytes as unknown as number[];
  return product === 'Turin'
    ? { fmc: b0!, bootLoader: b1!, tee: b2!, snp: b3!, microcode: b7! }
    : { fmc: 0, bootLoader: b0!, tee: b1!, snp: b6!, microcode: b7! };
}

/** For people. */
export const writeSnpTcb = (tcb: SnpTcb): string => PARTS.map((part) => `${part} ${tcb[part]}`).join(', ');

/**
 * Throws TCB_OUT_OF_DATE unless every part of all firmware that matters is at least at the minimum: what the key
 * certifies, what the host can go back to, and what held the guest at its launch. What runs is at least what is certified
 * and committed. Returns what is certified.
 */
export function verifySnpTcb(report: SnpReport, product: SnpProduct, minimum: SnpTcb): string {
  const reported = parseSnpTcb(report.reportedTcb, product);
  const committed = parseSnpTcb(report.committedTcb, product);
  const behind = [
    ...partsBehind('reported', reported, [minimum]),
    ...partsBehind('committed', committed, [minimum]),
    ...partsBehind('launch', parseSnpTcb(report.launchTcb, product), [minimum]),
    ...partsBehind('current', parseSnpTcb(report.currentTcb, product), [reported, committed]),
  ];
  if (behind.length > 0)
    refuse(
      'TCB_OUT_OF_DATE',
      behind.map(({ part, least }) => `${part} ${least} or later`).join(', '),
      behind.map(({ part, seen }) => `${part} ${seen}`).join(', '),
    );
  return writeSnpTcb(reported);
}

const partsBehind = (which: string, tcb: SnpTcb, floors: readonly SnpTcb[]) =>
  PARTS.map((part) => ({
    part: `${which} ${part}`,
    seen: tcb[part],
    least: Math.max(...floors.map((floor) => floor[part])),
  })).filter(({ seen, least }) => seen < least);
