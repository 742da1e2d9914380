/**
 * One guest under dstack, whichever platform it runs on: what the platform has signed (tdx/, snp/), and what follows from
 * it about the operating system and the application inside (dstack/). One named step per line.
 */
import { askedFor, type Checklist, type NotAsked } from './checklist.ts';
import type { VerifyContext } from './context.ts';
import { verifyAppCompose } from './dstack/app-compose.ts';
import { type MeasuredApp, verifyEventLog } from './dstack/event-log.ts';
import { type AppIdentity, verifyHostData, verifyMrConfigId } from './dstack/mr-config.ts';
import { verifySnpOs, verifyTdxOs } from './dstack/os-image.ts';
import type { TdxCollateral, TdxEvent } from './evidence.ts';
import { verifyListed } from './policy.ts';
import { verifySnp } from './snp/verify-snp.ts';
import { verifyTdx } from './tdx/verify-tdx.ts';

/** What there is to go by: null where an earlier check has failed, NotAsked where nothing was given. */
type Given<T> = T | NotAsked | null;

export interface TdxFiles {
  quote: Given<Uint8Array>;
  /** 'none': the evidence should have carried it. */
  collateral: Given<TdxCollateral | 'none'>;
  eventLog: Given<readonly TdxEvent[]>;
  appCompose: Given<string>;
}

export interface SnpFiles {
  report: Given<Uint8Array>;
  /** PEM */
  certificates: Given<string>;
  /** DER */
  crl: Given<Uint8Array>;
  /** The MrConfigV3 document, as text. */
  mrConfig: Given<string>;
  appCompose: Given<string>;
}

export interface Guest {
  teeType: 'intel-tdx' | 'amd-sev-snp';
  /** What the guest asked the platform to sign; null when the signature could not be established. */
  reportData: Uint8Array | null;
  /** Of the root that stands behind it, hex. */
  rootSha256: string | null;
  level: { status: string; advisories: string[] } | null;
  /** `sha256:` + hex, as attested; whether it is listed is another question. */
  codeHash: string | null;
  /** What the guest measured before it started the application; null under SEV-SNP, which has no such registers. */
  measured: MeasuredApp | null;
}

export async function verifyTdxGuest(checklist: Checklist, files: TdxFiles, context: VerifyContext): Promise<Guest> {
  const step = checklist.step.bind(checklist);
  const { td, level, rootSha256 } = await verifyTdx(checklist, files, context);
  const measured = await step('event-log', [td, files.eventLog], (td, events) => verifyEventLog(events, td));
  await step('mr-config', [td, measured], (td, app) => verifyMrConfigId(td.mrConfigId, app));
  await step('os-measurement', [td, listed(context.policy.osMeasurements)], verifyTdxOs);
  const codeHash = await verifyApp(checklist, measured, files.appCompose, context);
  return { teeType: 'intel-tdx', reportData: td?.reportData ?? null, rootSha256, level, codeHash, measured };
}

export async function verifySnpGuest(checklist: Checklist, files: SnpFiles, context: VerifyContext): Promise<Guest> {
  const step = checklist.step.bind(checklist);
  const { report, level, rootSha256 } = await verifySnp(checklist, files, context);
  const app = await step('mr-config', [report, files.mrConfig], ({ hostData }, text) => verifyHostData(hostData, text));
  await step('os-measurement', [report, listed(context.policy.osMeasurements)], ({ measurement }, images) =>
    verifySnpOs(measurement, images),
  );
  const codeHash = await verifyApp(checklist, app, files.appCompose, context);
  const reportData = report?.reportData ?? null;
  return { teeType: 'amd-sev-snp', reportData, rootSha256, level, codeHash, measured: null };
}

/** Returns the code hash. */
async function verifyApp(
  checklist: Checklist,
  app: AppIdentity | null,
  appCompose: Given<string>,
  { policy }: VerifyContext,
): Promise<string | null> {
  const step = checklist.step.bind(checklist);
  const digest = await step('app-compose', [app, appCompose], ({ composeHash }, text) =>
    verifyAppCompose(text, composeHash),
  );
  const codeHash = digest && `sha256:${digest}`;
  await step('code-hash', [codeHash, listed(policy.codeHashes)], (seen, allowed) =>
    verifyListed('CODE_HASH_MISMATCH', seen, allowed),
  );
  await step('key-provider', [app, askedFor(policy.keyProviders, 'not pinned')], ({ keyProvider }, allowed) =>
    verifyListed('KEY_PROVIDER_UNLISTED', written(keyProvider), allowed.map(written)),
  );
  return codeHash;
}

const written = ({ name, id }: AppIdentity['keyProvider']): string => `${name} ${id}`;

const listed = <T>(entries: readonly T[]) => askedFor(entries.length > 0 ? entries : null, 'none is listed');
