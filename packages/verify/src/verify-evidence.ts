/**
 * The specification of what this package believes, one named step per line. A step runs when what it needs has been
 * established by the steps before it; so a revoked certificate, an old platform and the wrong code are told apart.
 */

import { askedFor, Checklist } from './checklist.ts';
import { verifyEventLog } from './dstack/event-log.ts';
import { attestedCodeHash, verifyListed, verifyOsMeasurement, verifyTdAttributes } from './dstack/measurements.ts';
import { refuse } from './errors.ts';
import type { TdxCollateral } from './evidence.ts';
import { parseEvidence } from './evidence-format.ts';
import { hexToBytes } from './formats/bytes.ts';
import type { Policy } from './policy.ts';
import { verifyReportData } from './report-data.ts';
import { fingerprint, trustLabelOf, verifyRoot } from './roots.ts';
import { verifyLists, verifyPckChain, verifyTcb } from './tdx/collateral.ts';
import { CollateralCache } from './tdx/collateral-cache.ts';
import { verifyQeIdentity, verifyTdxModule } from './tdx/platform.ts';
import { verifyQuoteSignature } from './tdx/quote-signature.ts';
import { combineLevels, platformLevel, type TcbLevel, verifyTcbLevel } from './tdx/tcb.ts';
import { parseTdxQuote } from './tdx/tdx-quote.ts';
import { conclude, type Verdict } from './verdict.ts';

export interface VerifyEvidenceInput {
  /** A parsed evidence document, from anybody. */
  evidence: unknown;
  policy: Policy;
  /** The time, in ms since 1970. */
  nowMs: number;
  expect: {
    /** The 32 bytes that were sent with the request, hex. */
    nonce: string;
    /** SHA-256 of the SubjectPublicKeyInfo of the TLS peer, hex. Null: not bound to a channel, and then nothing may be sent. */
    tlsSpkiSha256: string | null;
  };
  /** SHA-256 of the root certificate (DER) of a software TEE, hex. It never changes the label `simulated`. */
  acceptSimulatedRootSha256?: string;
  /** Saves verifying the signatures of the same collateral again. */
  cache?: CollateralCache;
}

/** Never throws on hostile evidence: every refusal is a failed check. Rejects only on a programming error. */
export async function verifyEvidence(input: VerifyEvidenceInput): Promise<Verdict> {
  const { policy, nowMs, expect, cache = new CollateralCache() } = input;
  const checklist = new Checklist();
  const step = checklist.step.bind(checklist);
  const found: { level: TcbLevel | null; codeHash: string | null } = { level: null, codeHash: null };

  // What it says
  const evidence = await step('evidence-format', [], () => parseEvidence(input.evidence));
  const quote = await step('quote-format', [evidence], ({ quote }) => parseTdxQuote(hexToBytes(quote)));

  // Who says it: a platform, up to a root, by collateral that the same root has signed
  await step('trust-root', [quote], ({ pckChain }) => verifyRoot(pckChain[2], input.acceptSimulatedRootSha256));
  const chain = await step('certificate-chain', [quote], ({ pckChain }) => verifyPckChain(pckChain, nowMs));
  const collateral = evidence && askedFor(evidence.collateral, 'no collateral');
  const lists = await step('revocation-lists', [chain, collateral], async (chain, collateral) =>
    verifyLists(await cache.lists(collateral, chain.rootDer), chain, nowMs),
  );
  const tcb = await step('collateral', [chain, evidence], async (chain, { collateral }) =>
    verifyTcb(await cache.tcb(present(collateral), chain.rootDer), chain, lists, nowMs),
  );
  const signed = await step('quote-signature', [quote, chain], (quote, { leaf }) => verifyQuoteSignature(quote, leaf));

  // How old the platform is
  const qe = await step('qe-identity', [signed, tcb], ({ qe }, { qeIdentity }) => verifyQeIdentity(qe, qeIdentity));
  const module = await step('tdx-module', [signed, tcb], ({ td }, { tcbInfo }) => verifyTdxModule(td, tcbInfo));
  await step(
    'tcb-status',
    [chain, signed, tcb, qe, module],
    ({ platform }, { td }, { tcbInfo, qeIdentity }, qe, module) => {
      found.level = combineLevels(platformLevel(tcbInfo, platform, td.teeTcbSvn), module, qe);
      return verifyTcbLevel(found.level, [tcbInfo, qeIdentity], policy);
    },
  );

  // What runs there
  await step('td-attributes', [signed], ({ td }) => verifyTdAttributes(td));
  const app = await step('event-log', [signed, evidence], ({ td }, { eventLog }) => verifyEventLog(eventLog, td));
  await step('os-measurement', [signed, listed(policy.osMeasurements)], ({ td }, images) =>
    verifyOsMeasurement(td, images),
  );
  await step(
    'code-hash',
    [signed, app, evidence, listed(policy.codeHashes)],
    ({ td }, app, { appCompose }, allowed) => {
      found.codeHash = attestedCodeHash(appCompose, app, td);
      return verifyListed('CODE_HASH_MISMATCH', found.codeHash, allowed);
    },
  );

  // For whom and what it was said
  const said = await step('report-data', [signed, evidence], ({ td }, { reportData }) =>
    verifyReportData(reportData, td.reportData),
  );
  await step('nonce', [said], ({ nonce }) => verifyListed('NONCE_MISMATCH', nonce, [expect.nonce]));
  await step('channel', [said, askedFor(expect.tlsSpkiSha256, 'not bound')], ({ tlsSpkiSha256 }, spki) =>
    verifyListed('CHANNEL_MISMATCH', tlsSpkiSha256, [spki]),
  );
  await step('manifest', [said, askedFor(policy.manifestSha256, 'not pinned')], ({ manifestSha256 }, pins) =>
    verifyListed('MANIFEST_MISMATCH', manifestSha256, pins),
  );
  await step('access-policy', [said, askedFor(policy.policySha256, 'not pinned')], ({ policySha256 }, pins) =>
    verifyListed('ACCESS_POLICY_MISMATCH', policySha256, pins),
  );
  await step(
    'model-registry',
    [said, askedFor(policy.modelRegistrySha256, 'not pinned')],
    ({ modelRegistrySha256 }, pins) => verifyListed('MODEL_REGISTRY_MISMATCH', modelRegistrySha256, pins),
  );
  await step('gpu', [evidence, askedFor(policy.gpuRequired || null, 'not required')], () =>
    refuse('GPU_EVIDENCE_MISSING', 'GPU evidence', 'none'),
  );

  const checks = checklist.checks();
  const trustRootSha256 = signed && chain && fingerprint(chain.rootDer);
  const trust = trustRootSha256 ? trustLabelOf(trustRootSha256) : 'none';
  return {
    ...conclude(checks, trust, policy.gpuRequired),
    teeType: quote && 'intel-tdx',
    gpuTeeEnabled: false, // version 1 of the evidence carries none
    compliance: { hipaa: null }, // nor a signed statement
    requested: evidence?.requested ?? { hipaa: false, baaSigned: false, attestationPublic: false },
    trust,
    trustRootSha256,
    evidenceId: evidence && fingerprint(hexToBytes(evidence.quote)),
    codeHash: found.codeHash,
    tcbStatus: found.level?.status ?? null,
    advisories: found.level?.advisories ?? [],
    checks,
  };
}

const listed = <T>(entries: readonly T[]) => askedFor(entries.length > 0 ? entries : null, 'none is listed');

const present = (collateral: TdxCollateral | null): TdxCollateral =>
  collateral ?? refuse('COLLATERAL_MISSING', 'collateral in the evidence', 'none');
