/**
 * Intel TDX, one named step per line: from a quote to what the platform has signed, and how old that platform is. The
 * steps follow Intel's DCAP Quote Verification Library; each names its document. A step runs when what it needs has been
 * established by the steps before it; so a revoked certificate, an old platform and a debugged guest are told apart.
 */
import { askedFor, type Checklist, NotAsked } from '../checklist.ts';
import type { VerifyContext } from '../context.ts';
import { refuse } from '../errors.ts';
import type { TdxCollateral } from '../evidence.ts';
import { bytesToHex } from '../formats/bytes.ts';
import { verifyDates } from '../pki/x509.ts';
import { verifyListed } from '../policy.ts';
import { fingerprint, INTEL_SGX_ROOT_CA_SHA256, verifyRoot } from '../roots.ts';
import { digestOf } from '../verified-cache.ts';
import { authenticateLists, authenticatePckChain, authenticateTcb, verifyLists, verifyTcb } from './collateral.ts';
import { tcbSvnsOf, verifyQeIdentity, verifyTdxModule } from './qe-and-module.ts';
import { verifyQuoteSignature } from './quote-signature.ts';
import { combineLevels, platformLevel, type TcbLevel, verifyTcbLevel } from './tcb.ts';
import { verifyTdAttributes } from './td-attributes.ts';
import { parseTdxQuote, type TdReport } from './tdx-quote.ts';

export interface TdxPlatform {
  /** What the platform has signed; null when that could not be established. */
  td: TdReport | null;
  /** Status and advisories, allowed or not; null when they could not be established. */
  level: TcbLevel | null;
  /** Of the root that stands behind `td`, hex. */
  rootSha256: string | null;
}

/** `collateral`: 'none' stands for evidence that should have come with it. */
export async function verifyTdx(
  checklist: Checklist,
  given: { quote: Uint8Array | NotAsked | null; collateral: TdxCollateral | 'none' | NotAsked | null },
  { policy, nowMs, acceptedRootsSha256, cache }: VerifyContext,
): Promise<TdxPlatform> {
  const step = checklist.step.bind(checklist);
  let level: TcbLevel | null = null;
  const quote = await step('quote-format', [given.quote], parseTdxQuote);

  // Who says it: a platform, up to a root, by collateral that the same root has signed
  await step('trust-root', [quote], ({ pckChain }) =>
    verifyRoot(fingerprint(pckChain[2]), [INTEL_SGX_ROOT_CA_SHA256], acceptedRootsSha256),
  );
  const chain = await step('certificate-chain', [quote], async ({ pckChain }) => {
    const chain = await cache.once('PCK chain', pckChain.map(bytesToHex), () => authenticatePckChain(pckChain));
    verifyDates([chain.leaf, chain.ca, chain.root], nowMs);
    return chain;
  });
  const collateral = given.collateral === 'none' ? askedFor<TdxCollateral>(null, 'no collateral') : given.collateral;
  const known =
    chain && collateral && !(collateral instanceof NotAsked) ? [digestOf([bytesToHex(chain.rootDer), collateral])] : []; // once, for both steps: it is long
  const lists = await step('revocation-lists', [chain, collateral], async (chain, collateral) => {
    const authenticate = () => authenticateLists(collateral, chain.rootDer);
    return verifyLists(await cache.once('lists', known, authenticate), chain, policy.maxCollateralAgeDays, nowMs);
  });
  const tcb = await step('collateral', [chain, given.collateral], async (chain, collateral) => {
    if (collateral === 'none') return refuse('COLLATERAL_MISSING', 'collateral in the evidence', 'none');
    const authenticate = () => authenticateTcb(collateral, chain.rootDer);
    const authentic = await cache.once('tcb', known, authenticate);
    return verifyTcb(authentic, chain, lists, policy.maxCollateralAgeDays, nowMs);
  });
  const signed = await step('quote-signature', [quote, chain], (quote, { leaf }) => verifyQuoteSignature(quote, leaf));

  // How old it is
  const qe = await step('qe-identity', [signed, tcb], ({ qe }, { qeIdentity }) => verifyQeIdentity(qe, qeIdentity));
  const module = await step('tdx-module', [signed, tcb], ({ td }, { tcbInfo }) => verifyTdxModule(td, tcbInfo));
  await step('tcb-status', [chain, signed, tcb, qe, module], (chain, { td }, { tcbInfo, qeIdentity }, qe, module) => {
    const levels = tcbSvnsOf(td).map((svns) => platformLevel(tcbInfo, chain.platform, svns));
    level = combineLevels(...levels, module, qe);
    return verifyTcbLevel(level, [tcbInfo, qeIdentity], policy, nowMs);
  });
  await step('platform-id', [signed, chain, askedFor(policy.platformIds, 'not pinned')], (_, { platform }, listed) =>
    verifyListed('PLATFORM_UNLISTED', platform.ppid, listed),
  );

  // What the host may do with the guest
  await step('td-attributes', [signed], ({ td }) => verifyTdAttributes(td));
  return { td: signed?.td ?? null, level, rootSha256: signed && chain && fingerprint(chain.rootDer) };
}
