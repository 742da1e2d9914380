/** What people on the LAN side see of a verdict: /healthz of the gateway. */
import { summarizeVerdict, type TrustLabel, type Verdict } from '@abaton/verify';

export interface VerdictSummary {
  headline: string;
  trust: TrustLabel;
  codeHash: string | null;
  evidenceId: string | null;
  /** When it was judged. */
  at: string;
  /** Codes of the checks that failed. */
  codes: string[];
}

export const summarize = (verdict: Verdict): VerdictSummary => ({
  headline: summarizeVerdict(verdict).headline,
  trust: verdict.trust,
  codeHash: verdict.codeHash,
  evidenceId: verdict.evidenceId,
  at: new Date().toISOString(),
  codes: verdict.checks.flatMap(({ code }) => (code ? [code] : [])),
});
