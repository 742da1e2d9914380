/** `abaton verify URL`: what may be sent, and the checks behind it. */
import { verifyAttestation } from '@abaton/client';
import { summarizeVerdict, VERIFICATION_CODES, type Verdict } from '@abaton/verify';
import { printable } from './printable.ts';
import { readTrust, type TrustFlags } from './trust-options.ts';

export async function runVerify(url: string, flags: TrustFlags & { json?: boolean }): Promise<number> {
  const verdict = await verifyAttestation(readTrust(url, flags));
  const { headline, exitCode } = summarizeVerdict(verdict);
  process.stdout.write(flags.json ? `${JSON.stringify({ ...verdict, headline })}\n` : `${renderVerdict(verdict)}\n`);
  return exitCode;
}

const MARK = { pass: '✓', fail: '✗', 'not-run': '·' } as const;

/** Each failure with its meaning; and what was not asked, when that alone stands in the way. */
function whyNot({ valid, checks }: Verdict): string[] {
  if (valid) return [];
  const failed = checks.flatMap(({ code }) => (code ? [`${code}: ${VERIFICATION_CODES[code]}`] : []));
  const unlisted = checks.some(({ id, seen }) => id === 'os-measurement' && seen === 'none is listed');
  return failed.length > 0 || !unlisted ? failed : ['No OS measurement is listed: give --policy FILE.'];
}

/** The verdict for people. */
export function renderVerdict(verdict: Verdict): string {
  const { headline } = summarizeVerdict(verdict);
  const hipaa = verdict.compliance.hipaa;
  const lines = [
    verdict.valid ? '✓ AI service verified:' : '✗ Verification failed',
    `  TEE Type: ${verdict.teeType ?? 'none'}${verdict.trust === 'simulated' ? ' (SIMULATED)' : ''}`,
    `  GPU TEE: ${verdict.gpuTeeEnabled ? 'attested' : 'not attested'}`,
    `  HIPAA controls: ${hipaa ? `${hipaa.pass} pass, ${hipaa.fail} fail, ${hipaa.notRun} not run, ${hipaa.stale} stale (${hipaa.profile}, ${hipaa.at})` : 'no signed statement'}${verdict.requested.hipaa ? '; requested by the manifest' : ''}`,
    `  Trust root: ${verdict.trust}${verdict.trustRootSha256 ? ` (${verdict.trustRootSha256.slice(0, 16)}…)` : ''}`,
    `  Code: ${verdict.codeHash ?? 'not established'}`,
    `  ${headline}`,
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
