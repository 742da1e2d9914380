/**
 * The specification of what this package believes: from an evidence document to a verdict, one named step per line.
 * Read on in verify-guest.ts, then tdx/verify-tdx.ts or snp/verify-snp.ts, then gpu/verify-gpu.ts: the same form.
 */
import { type ExpectedChannel, isBound, verifyChannel } from './channel.ts';
import { askedFor, Checklist } from './checklist.ts';
import { openContext, type VerifyContext } from './context.ts';
import type { MeasuredApp } from './dstack/event-log.ts';
import { verifyGpuBoot } from './dstack/gpu-boot.ts';
import { refuse } from './errors.ts';
import { type Evidence, parseEvidence, type ReportDataPreimage } from './evidence.ts';
import { hexToBytes } from './formats/bytes.ts';
import { gpusOf } from './gpu/gpu-devices.ts';
import { computeGpuEvidenceSha256, computeGpuNonce } from './gpu/gpu-evidence.ts';
import { type VerifiedGpus, verifyGpu } from './gpu/verify-gpu.ts';
import { type Policy, verifyListed } from './policy.ts';
import { verifyReportData } from './report-data.ts';
import { requiredOfService } from './required-checks.ts';
import { fingerprint } from './roots.ts';
import { conclude, type Verdict } from './verdict.ts';
import type { VerifiedCache } from './verified-cache.ts';
import { type Guest, verifySnpGuest, verifyTdxGuest } from './verify-guest.ts';

export interface VerifyEvidenceInput {
  /** A parsed evidence document, from anybody. */
  evidence: unknown;
  policy: Policy;
  /** The time, in ms since 1970. */
  nowMs: number;
  /** `nonce`: the 32 bytes that were sent with the request, hex. Without a channel nothing may be sent. */
  expect: { nonce: string } & ExpectedChannel;
  /** SHA-256 of root certificates (DER) of simulated platforms and GPUs, hex. They never change the label `simulated`. */
  acceptedRootsSha256?: readonly string[];
  /** Saves verifying the same collateral, GPU certificates and RIMs again. */
  cache?: VerifiedCache;
}

/** Never throws on hostile evidence: every refusal is a failed check. Rejects only on a programming error. */
export async function verifyEvidence(input: VerifyEvidenceInput): Promise<Verdict> {
  const { policy, expect } = input;
  const context = openContext(input);
  const checklist = new Checklist();
  const step = checklist.step.bind(checklist);

  // What it says
  const evidence = await step('evidence-format', [], () => parseEvidence(input.evidence));

  // Who says it: a platform with a guest in it, and what the guest runs
  const guest = await verifyGuest(checklist, evidence, context);

  // For whom and what it was said
  const said = await step('report-data', [guest.reportData, evidence], (signed, { reportData }) =>
    verifyReportData(reportData, signed),
  );
  await step('nonce', [said], ({ nonce }) => verifyListed('NONCE_MISMATCH', nonce, [expect.nonce]));
  await step('channel', [said, askedFor(isBound(expect) ? expect : null, 'not bound')], verifyChannel);
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

  // Which GPUs it uses, and that they are its own
  const gpus = await verifyOwnGpus(checklist, evidence, guest, said, context);

  return {
    ...conclude('service', checklist.checks(), guest, gpus, (trust) => requiredOfService(policy, guest.teeType, trust)),
    requested: evidence?.requested ?? null,
    evidenceId:
      evidence && fingerprint(hexToBytes(evidence.teeType === 'intel-tdx' ? evidence.quote : evidence.report)),
  };
}

/** Evidence that cannot be read is reported under TDX, with nothing established. */
async function verifyGuest(checklist: Checklist, evidence: Evidence | null, context: VerifyContext): Promise<Guest> {
  if (evidence?.teeType === 'amd-sev-snp')
    return verifySnpGuest(
      checklist,
      {
        ...evidence,
        report: hexToBytes(evidence.report),
        crl: askedFor(evidence.crl === null ? null : hexToBytes(evidence.crl), 'no revocation list'),
      },
      context,
    );
  const files = evidence
    ? { ...evidence, quote: hexToBytes(evidence.quote), collateral: evidence.collateral ?? ('none' as const) }
    : { quote: null, collateral: null, eventLog: null, appCompose: null };
  return verifyTdxGuest(checklist, files, context);
}

async function verifyOwnGpus(
  checklist: Checklist,
  evidence: Evidence | null,
  guest: Guest,
  said: ReportDataPreimage | null,
  context: VerifyContext,
): Promise<VerifiedGpus | null> {
  const step = checklist.step.bind(checklist);
  if (!evidence?.gpu) {
    // Also when the quote names it: who passes the document on must not be able to leave bad evidence out.
    const asked = askedFor(context.policy.gpu ?? said?.gpuEvidenceSha256 ?? null, 'not required');
    await step('gpu', [evidence, asked], () => refuse('GPU_EVIDENCE_MISSING', 'GPU evidence', 'none'));
    return null;
  }
  const { rims, ocspResponses, evidence: list } = evidence.gpu;
  const nonce = said && computeGpuNonce(said.nonce, said.tlsSpkiSha256);
  const given = { evidence: { json: list }, nonce, rims, ocspResponses: ocspResponses.map(hexToBytes) };
  const gpus = await verifyGpu(checklist, given, context);
  const measured = guest.teeType === 'intel-tdx' ? guest.measured : askedFor<MeasuredApp>(null, 'no register for it');
  await step('gpu-boot', [gpus.shown, measured], ({ devices }, app) => verifyGpuBoot(app, gpusOf(devices).length));
  await step('gpu-binding', [said, gpus.shown], ({ gpuEvidenceSha256 }, { list }) =>
    verifyListed('GPU_BINDING_MISMATCH', gpuEvidenceSha256 ?? 'none', [computeGpuEvidenceSha256(list)]),
  );
  return gpus;
}
