/**
 * Files instead of a service: a quote, a report, GPU evidence or reference measurements, each alone or together. Every
 * check that they allow is run, by the same functions as for a service; the others say that nothing was given. Whatever
 * comes out, nothing may be sent on it: a file has no nonce of yours, and ends no channel.
 */
import { Checklist, NotAsked } from './checklist.ts';
import { openContext, type VerifyContext } from './context.ts';
import { verifyGpuBoot } from './dstack/gpu-boot.ts';
import { parseCollateral, parseEventLog } from './evidence.ts';
import { gpusOf } from './gpu/gpu-devices.ts';
import { verifyGpu } from './gpu/verify-gpu.ts';
import type { Policy } from './policy.ts';
import { requiredOfFiles } from './required-checks.ts';
import { fingerprint } from './roots.ts';
import { conclude, type Verdict } from './verdict.ts';
import type { VerifiedCache } from './verified-cache.ts';
import { type Guest, verifySnpGuest, verifyTdxGuest } from './verify-guest.ts';

/** Absent members were not given. JSON members are parsed JSON, from anybody. */
export interface EvidenceFiles {
  /** TDX quote. */
  quote?: Uint8Array;
  /** DCAP collateral, JSON. */
  collateral?: unknown;
  /** dstack's event log, JSON. */
  eventLog?: unknown;
  /** The raw app_compose. */
  appCompose?: string;
  /** SEV-SNP report. */
  snpReport?: Uint8Array;
  /** PEM: VCEK, ASK, ARK; or VLEK, ASVK, ARK. */
  certificates?: string;
  /** AMD's revocation list, DER. */
  crl?: Uint8Array;
  /** dstack's MrConfigV3 document. */
  mrConfig?: string;
  /** NVIDIA's evidence list, JSON. */
  gpuEvidence?: unknown;
  /** 32 bytes, hex, that the GPUs were asked for. */
  gpuNonce?: string;
  /** Reference measurements, XML. */
  rims?: readonly string[];
  /** DER */
  ocspResponses?: readonly Uint8Array[];
}

const NOT_GIVEN = new NotAsked('not given');
const ONLY_A_SERVICE = new NotAsked('only a service can show it');
/** What makes evidence fresh, and yours. */
const OF_A_SERVICE = ['report-data', 'nonce', 'channel'] as const;
/**
 * Never throws on hostile files: every refusal is a failed check. Throws TypeError for a quote and a report, which are of two
 * guests: a programming error.
 */
export async function verifyFiles(
  files: EvidenceFiles,
  options: { policy: Policy; nowMs: number; acceptedRootsSha256?: readonly string[]; cache?: VerifiedCache },
): Promise<Verdict> {
  const context = openContext(options);
  if (files.quote && files.snpReport) throw new TypeError('give a quote or an SNP report, not both');
  const checklist = new Checklist();
  const guest = await verifyGuestFiles(checklist, files, context);
  const given = (Object.keys(files) as (keyof EvidenceFiles)[]).filter((name) => {
    const file = files[name];
    return file !== undefined && !(Array.isArray(file) && name !== 'gpuEvidence' && file.length === 0);
  });
  const gpus =
    !given.includes('gpuEvidence') && !given.includes('rims')
      ? null
      : await verifyGpu(
          checklist,
          {
            evidence: given.includes('gpuEvidence') ? { json: files.gpuEvidence } : NOT_GIVEN,
            nonce: files.gpuNonce ?? NOT_GIVEN,
            rims: files.rims ?? [],
            ocspResponses: files.ocspResponses ?? [],
          },
          context,
        );
  if (guest && gpus)
    await checklist.step(
      'gpu-boot',
      [gpus.shown, files.eventLog === undefined ? NOT_GIVEN : guest.measured],
      ({ devices }, app) => verifyGpuBoot(app, gpusOf(devices).length),
    );
  for (const id of guest && gpus ? [...OF_A_SERVICE, 'gpu-binding' as const] : guest ? OF_A_SERVICE : [])
    await checklist.step(id, [ONLY_A_SERVICE], () => {});
  const required = requiredOfFiles(given, context.policy);
  const run = checklist.checks().map(({ id }) => id);
  for (const id of required.filter((each) => !run.includes(each))) await checklist.step(id, [NOT_GIVEN], () => {});
  const signed = files.quote ?? files.snpReport;
  return {
    ...conclude('evidence-only', checklist.checks(), guest, gpus, () => required),
    requested: null,
    evidenceId: signed ? fingerprint(signed) : null,
  };
}

async function verifyGuestFiles(
  checklist: Checklist,
  files: EvidenceFiles,
  context: VerifyContext,
): Promise<Guest | null> {
  const appCompose = files.appCompose ?? NOT_GIVEN;
  if (files.snpReport)
    return verifySnpGuest(
      checklist,
      {
        report: files.snpReport,
        certificates: files.certificates ?? NOT_GIVEN,
        crl: files.crl ?? NOT_GIVEN,
        mrConfig: files.mrConfig ?? NOT_GIVEN,
        appCompose,
      },
      context,
    );
  if (!files.quote) return null;
  const read = <T>(json: unknown, parse: (json: unknown) => T) => (json === undefined ? NOT_GIVEN : parse(json));
  const parsed = await checklist.step('evidence-format', [], () => ({
    collateral: read(files.collateral, parseCollateral),
    eventLog: read(files.eventLog, parseEventLog),
  }));
  const { collateral, eventLog } = parsed ?? { collateral: null, eventLog: null };
  return verifyTdxGuest(checklist, { quote: files.quote, collateral, eventLog, appCompose }, context);
}
