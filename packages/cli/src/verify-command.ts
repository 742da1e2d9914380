/** `abaton verify`: what may be sent to a server; or whether evidence in files holds. With the checks behind it. */
import { writeFileSync } from 'node:fs';
import { verifyAttestation } from '@abaton/client';
import { ConfigurationError, summarizeVerdict, VERIFICATION_CODES, type Verdict, verifyFiles } from '@abaton/verify';
import { type EvidenceFileFlags, readEvidenceFiles } from './evidence-files.ts';
import { printable, printableJson } from './printable.ts';
import { acceptedRoots, readPolicy, readTrust, type TrustFlags } from './trust-options.ts';

export interface VerifyFlags extends TrustFlags, EvidenceFileFlags {
  now?: string;
  save?: string;
  json?: boolean;
}

const SUBJECTS = ['evidence', 'quote', 'snpReport', 'gpuEvidence', 'rim'] as const;

export async function runVerify(url: string | undefined, flags: VerifyFlags): Promise<number> {
  const nowMs = flags.now === undefined ? Date.now() : parseDate(flags.now);
  const verdict = await verify(url, flags, nowMs);
  const judgedAt = new Date(nowMs).toISOString();
  const { headline, exitCode } = summarizeVerdict(verdict);
  const at = `Judged at ${judgedAt}${flags.now === undefined ? '' : ' (--now)'}${flags.policy ? ` by ${flags.policy}` : ''}`;
  process.stdout.write(
    flags.json
      ? `${printableJson(JSON.stringify({ ...verdict, judgedAt, headline }))}\n`
      : `${renderVerdict(verdict)}\n\n  ${printable(at)}\n`,
  );
  return exitCode;
}

async function verify(url: string | undefined, flags: VerifyFlags, nowMs: number): Promise<Verdict> {
  const usage = (message: string): never => {
    throw new ConfigurationError('USAGE', message);
  };
  const subjects = SUBJECTS.filter((name) => flags[name] !== undefined);
  if (url !== undefined) {
    if (subjects.length > 0) usage('Give an address or files, not both.');
    if (flags.now) usage('--now is for files; a server is verified at the present time.');
    const { save } = flags;
    return verifyAttestation({
      ...readTrust(url, flags),
      ...(save && { onEvidence: (evidence) => saveEvidence(save, evidence) }),
    });
  }
  if (subjects.length === 0)
    usage('Give an address, or one of --evidence, --quote, --snp-report, --gpu-evidence, --rim.');
  if (flags.save) usage('--save keeps the evidence of a service: give its address.');
  if ([flags.evidence, flags.quote, flags.snpReport].filter(Boolean).length > 1)
    usage('Give one of --evidence, --quote, --snp-report.');
  return verifyFiles(readEvidenceFiles(flags), {
    policy: readPolicy(flags),
    nowMs,
    acceptedRootsSha256: acceptedRoots(flags),
  });
}

function saveEvidence(file: string, evidence: unknown): void {
  try {
    writeFileSync(file, `${JSON.stringify(evidence)}\n`, { flag: 'wx' });
  } catch (cause) {
    throw new ConfigurationError('USAGE', `${file} cannot be written, or exists already.`, { cause });
  }
}

/** 2026-08-20, or with a time in UTC. Certificates and collateral are judged at this time. */
function parseDate(text: string): number {
  const whole = /^\d{4}-\d\d-\d\d$/.test(text) ? `${text}T00:00:00Z` : text;
  const ms = Date.parse(whole);
  if (Number.isNaN(ms) || new Date(ms).toISOString().replace('.000', '') !== whole)
    // 31 February is no date
    throw new ConfigurationError('USAGE', '--now must be a date in UTC, such as 2026-08-20T12:00:00Z.');
  return ms;
}

const MARK = { pass: '✓', fail: '✗', 'not-run': '·' } as const;

/** Each failure with its meaning; when nothing failed, what was demanded and did not run. */
function whyNot({ scope, valid, checks }: Verdict): string[] {
  if (valid) return [];
  const failed = checks.flatMap(({ code }) => (code ? [`${code}: ${VERIFICATION_CODES[code]}`] : []));
  if (failed.length > 0) return failed;
  if (
    scope === 'evidence-only' &&
    !checks.some(({ id, status }) => /signature$|^gpu-rims$/.test(id) && status === 'pass')
  )
    return ['No signature could be checked: give the certificates.'];
  const unlisted = checks.some(({ id, seen }) => id === 'os-measurement' && seen === 'none is listed');
  if (scope === 'service' && unlisted)
    return ['No OS measurement is listed: a policy has to name some (osMeasurements).'];
  return ['Something was given or demanded and could not be checked: see what did not run.'];
}

/** What a person wants to know first; of files, what they are about. */
function facts(verdict: Verdict): string[] {
  const { teeType, trust, trustRootSha256, gpus, compliance, requested, codeHash, tcbStatus, advisories, scope } =
    verdict;
  const simulated = trust === 'simulated' ? ' (SIMULATED)' : '';
  const { hipaa } = compliance;
  const controls = hipaa
    ? `${hipaa.pass} pass, ${hipaa.fail} fail, ${hipaa.notRun} not run, ${hipaa.stale} stale (${hipaa.profile}, ${hipaa.at})`
    : 'none shown';
  const devices = gpus.map(({ arch, driverVersion, vbiosVersion }) =>
    [arch, driverVersion && `driver ${driverVersion}`, `VBIOS ${vbiosVersion}`].filter(Boolean).join(' '),
  );
  const guest = [
    `TEE Type: ${teeType ?? 'none'}${simulated}`,
    `Trust root: ${trust}${trustRootSha256 ? ` (${trustRootSha256.slice(0, 16)}…)` : ''}`,
    `Code: ${codeHash ?? 'not established'}`,
  ];
  const grace = verdict.checks.find(({ id }) => id === 'tcb-status')?.seen?.match(/accepted until .*/)?.[0];
  const tcb = tcbStatus ? [`TCB: ${[tcbStatus, ...advisories, ...(grace ? [grace] : [])].join(', ')}`] : [];
  if (scope === 'service')
    return [
      ...[guest[0]!, `GPU TEE: ${verdict.gpuTeeEnabled ? 'attested' : 'not attested'}`],
      `HIPAA controls: ${controls}${requested?.hipaa ? '; the manifest asks for them, which proves nothing' : ''}`,
      ...guest.slice(1),
      ...tcb,
    ];
  return [
    ...(verdict.checks.some(({ id }) => id === 'quote-format') ? [...guest, ...tcb] : []),
    ...devices.map((device, index) => `Device ${index}: ${device}`),
    ...unsaid(verdict),
  ];
}

/** What files hold without, and had better not: it is to be seen before the many checks below. */
function unsaid({ checks, teeType }: Verdict): string[] {
  const open = (id: string) => checks.some((check) => check.id === id && check.status === 'not-run');
  return [
    ...(open('qe-identity') && teeType === 'intel-tdx'
      ? ['Without collateral: whether an enclave of Intel has signed it, and how old the platform is, was not checked']
      : []),
    ...(open('gpu-measurements') && !open('gpu-signature')
      ? ['Without reference measurements (RIM): what runs on the devices was not checked']
      : []),
  ];
}

/** The verdict for people. */
export function renderVerdict(verdict: Verdict): string {
  const { scope, valid } = verdict;
  const { headline } = summarizeVerdict(verdict);
  const simulated = verdict.trust === 'simulated' ? ' (SIMULATED)' : '';
  const opening = `${scope === 'service' ? 'AI service verified' : 'Evidence checked (evidence only)'}${simulated}:`;
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
  return lines.map(printable).join('\n');
}
