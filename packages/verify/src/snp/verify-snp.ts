/**
 * AMD SEV-SNP, one named step per line: from a report to what the platform has signed, and how old its firmware is. AMD
 * signs no list of what is current, so the policy has to say it: without, that check does not run.
 */
import { askedFor, type Checklist, NotAsked } from '../checklist.ts';
import type { VerifyContext } from '../context.ts';
import { reading } from '../errors.ts';
import { parseCrl, verifyCrl, verifyCrlDates, verifyNotRevoked } from '../pki/crl.ts';
import { verifyDates } from '../pki/x509.ts';
import { AMD_ROOTS_SHA256, verifyRoot } from '../roots.ts';
import { authenticateSnpChain, verifySnpChip, verifySnpSignature } from './snp-certificates.ts';
import { verifySnpPolicy } from './snp-policy.ts';
import { parseSnpReport, type SnpReport } from './snp-report.ts';
import { verifySnpTcb, writeSnpTcb } from './snp-tcb.ts';

export interface SnpPlatform {
  /** What the platform has signed; null when that could not be established. */
  report: SnpReport | null;
  /** The firmware levels; AMD has no advisories in a form that could be listed. */
  level: { status: string; advisories: string[] } | null;
  /** Of the root that stands behind `report`, hex. */
  rootSha256: string | null;
}

export async function verifySnp(
  checklist: Checklist,
  given: {
    report: Uint8Array | NotAsked | null;
    /** PEM. */
    certificates: string | NotAsked | null;
    /** DER. */
    crl: Uint8Array | NotAsked | null;
  },
  { policy, nowMs, acceptedRootsSha256, cache }: VerifyContext,
): Promise<SnpPlatform> {
  const step = checklist.step.bind(checklist);
  const read = await step('quote-format', [given.report], parseSnpReport);

  // Who says it: a chip, up to AMD's root
  const chain = await step('certificate-chain', [given.certificates], async (pem) => {
    const chain = await cache.once('SNP chain', [pem], () => authenticateSnpChain(pem));
    verifyDates([chain.leaf, chain.ca, chain.root], nowMs);
    return chain;
  });
  await step('trust-root', [chain], ({ rootSha256 }) => verifyRoot(rootSha256, AMD_ROOTS_SHA256, acceptedRootsSha256));
  await step('revocation-lists', [chain, given.crl], async ({ kind, leaf, ca, root }, der) => {
    const crl = reading('CRL_INVALID', 'CRL', () => parseCrl(der));
    await verifyCrl(crl, root);
    verifyCrlDates(crl, nowMs);
    verifyNotRevoked(ca, crl);
    // The CA of a VLEK issues no list of its own: it could only be on the root's. Every VCEK has the serial number 0, so
    // that no list can name one: AMD takes a chip back by raising the TCB that it certifies (snp-tcb.ts).
    if (kind === 'VLEK') verifyNotRevoked({ ...leaf, issuer: crl.issuer }, crl);
  });
  const report = await step('quote-signature', [read, chain], verifySnpSignature);

  // How old it is, and which one
  await step('tcb-status', [report, chain], (report, { product }) => {
    const minimum = policy.snpMinimumTcb.find((each) => each.product === product);
    return minimum
      ? verifySnpTcb(report, product, minimum)
      : new NotAsked(`no minimum TCB of ${product} in the policy`);
  });
  await step('platform-id', [report, chain, askedFor(policy.platformIds, 'not pinned')], verifySnpChip);

  // What the host may do with the guest
  await step('td-attributes', [report], (report) => verifySnpPolicy(report, policy.snpAliasCheck));
  const level = report && chain && { status: writeSnpTcb(chain.tcb), advisories: [] };
  return { report, level, rootSha256: report && (chain?.rootSha256 ?? null) };
}
