/** `abaton verify`: what may be sent to a server; or whether evidence in files holds. With the checks behind it. */
import { verifyAttestation } from '@abaton/client';
import { ConfigurationError, summarizeVerdict, VERIFICATION_CODES, type Verdict, verifyFiles } from '@abaton/verify';
import { type EvidenceFileFlags, readEvidenceFiles } from './evidence-files.ts';
import { printable } from './printable.ts';
import { acceptedRoots, readPolicy, readTrust, type TrustFlags } from './trust-options.ts';

export interface VerifyFlags extends TrustFlags, EvidenceFileFlags {
  now?: string;
  json?: boolean;
}

const SUBJECTS = ['quote', 'snpReport', 'gpuEvidence', 'rim'] as const;

export async function runVerify(url: string | undefined, flags: VerifyFlags): Promise<number> {
  const verdict = await verify(url, flags);
  const { headline, exitCode } = summarizeVerdict(verdict);
  process.stdout.write(flags.json ? `${JSON.stringify({ ...verdict, headline })}\n` : `${renderVerdict(verdict)}\n`);
  return exitCode;
}

function verify(url: string | undefined, flags: VerifyFlags): Promise<Verdict> {
  const usage = (message: string): never => {
    throw new ConfigurationError('USAGE', message);
  };
  const subjects = SUBJECTS.filter((name) => flags[name] !== undefined);
  if (url !== undefined) {
    if (subjects.length > 0) usage('Give an address or files, not both.');
    if (flags.now) usage('--now is for files; a server is verified at the present time.');
    return verifyAttestation(readTrust(url, flags));
  }
  if (subjects.length === 0) usage('Give an address, or one of --quote, --snp-report, --gpu-evidence, --rim.');
  if (flags.quote && flags.snpReport) usage('Give --quote or --snp-report, not both.');
  return verifyFiles(readEvidenceFiles(flags), {
    policy: readPolicy(flags),
    nowMs: flags.now === undefined ? Date.now() : parseDate(flags.now),
    acceptedRootsSha256: acceptedRoots(flags),
  });
}

/** 2026-08-20, or with a time in UTC. Certificates and collateral are judged at this time. */
function parseDate(text: string): number {
  const ms = /^\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\dZ)?$/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(ms)) throw new ConfigurationError('USAGE', '--now must be a date such as 2026-08-20T12:00:00Z.');
  return ms;
}

const MARK = { pass: '✓', fail: '✗', 'not-run': '·' } as const;

/** Each failure with its meaning; and what was not asked, when that alone stands in the way. */
function whyNot({ valid, checks }: Verdict): string[] {
  if (valid) return [];
  const failed = checks.flatMap(({ code }) => (code ? [`${code}: ${VERIFICATION_CODES[code]}`] : []));
  const unlisted = checks.some(({ id, seen }) => id === 'os-measurement' && seen === 'none is listed');
  return failed.length > 0 || !unlisted ? failed : ['No OS measurement is listed: give --policy FILE.'];
}

/** What a person wants to know first; of files, what they are about. */
function facts(verdict: Verdict): string[] {
  const { teeType, trust, trustRootSha256, gpus, compliance, requested, codeHash, tcbStatus, advisories, scope } =
    verdict;
  const simulated = trust === 'simulated' ? ' (SIMULATED)' : '';
  const { hipaa } = compliance;
  const controls = hipaa
    ? `${hipaa.pass} pass, ${hipaa.fail} fail, ${hipaa.notRun} not run, ${hipaa.stale} stale (${hipaa.profile}, ${hipaa.at})`
    : 'no signed statement';
  const devices = gpus.map(({ arch, driverVersion, vbiosVersion }) =>
    [arch, driverVersion && `driver ${driverVersion}`, `VBIOS ${vbiosVersion}`].filter(Boolean).join(' '),
  );
  const guest = [
    `TEE Type: ${teeType ?? 'none'}${simulated}`,
    `Trust root: ${trust}${trustRootSha256 ? ` (${trustRootSha256.slice(0, 16)}…)` : ''}`,
    `Code: ${codeHash ?? 'not established'}`,
  ];
  if (scope === 'service')
    return [
      ...[guest[0]!, `GPU TEE: ${verdict.gpuTeeEnabled ? 'attested' : 'not attested'}`],
      `HIPAA controls: ${controls}${requested.hipaa ? '; requested by the manifest' : ''}`,
      ...guest.slice(1),
    ];
  return [
    ...(teeType || devices.length === 0 ? guest : []),
    ...(tcbStatus ? [`TCB: ${[tcbStatus, ...advisories].join(', ')}`] : []),
    ...devices.map((device, index) => `GPU ${index}: ${device}`),
  ];
}

/** The verdict for people. */
export function renderVerdict(verdict: Verdict): string {
  const { scope, valid } = verdict;
  const { headline } = summarizeVerdict(verdict);
  const opening = scope === 'service' ? 'AI service verified:' : 'Evidence checked (evidence only):';
  const lines = [
    valid ? `✓ ${opening}` : '✗ Verification failed',
    ...[...facts(verdict), headline].map((fact) => `  ${fact}`),
    ...whyNot(verdict).map((reason) => `    ${reason}`),
    '',
  ];
  for (const check of verdict.checks) {
    const notRun = check.seen ? `: not run (${check.seen})` : ': not run';
    const why = { fail: `: ${check.code}`, 'not-run': notRun, pass: '' }[check.status];
    lines.push(`  ${MARK[check.status]} ${check.title}${why}`);
    if (check.status === 'fail' && check.expected !== undefined)
      lines.push(`      expected ${check.expected}`, `      seen     ${check.seen ?? 'nothing'}`);
  }
  return printable(lines.join('\n'));
}
