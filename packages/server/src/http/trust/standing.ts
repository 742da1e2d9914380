/** What the page and the badge say of the server's own proofs, at one moment. */
import type { TrustLabel } from '@abaton/verify';
import { continuityOf } from '../../trust/continuity.ts';
import type { ReportLedger } from '../../trust/report-ledger.ts';
import type { Summary } from '../../trust/summary-line.ts';

export interface Standing {
  /** `stale`: the newest is older than interval + grace, and speaks for nothing any more. */
  state: 'pending' | 'verified' | 'failed' | 'stale';
  newest: Summary | null;
  /** Of the newest proof that shows one: a failure without a quote has no root, and must not hide that it is simulated. */
  trust: TrustLabel;
  continuity: Continuity;
}

/** Covered part of the last 24 hours and of the last 30 days, 0 to 1 (trust/continuity.ts). */
export interface Continuity {
  last24h: number;
  last30d: number;
  /** ISO 8601: the oldest report that is kept; before it nothing is covered. Null when there is none. */
  since: string | null;
}

export const DAY_MS = 86_400_000;

/** How long a proof counts after its interval: as long as a slow guest agent and PCCS may take for the next (gate-keeper.ts). */
export const GRACE_MS = 20_000;

export function standingOf(reports: ReportLedger, intervalMs: number, nowMs: number): Standing {
  const lifeMs = intervalMs + GRACE_MS;
  const [summaries, proofs] = [reports.summaries(), reports.proofs()];
  const newest = summaries.at(-1) ?? null;
  const of = (days: number) => continuityOf(proofs, { fromMs: nowMs - days * DAY_MS, toMs: nowMs }, lifeMs);
  const isOld = newest !== null && nowMs - Date.parse(newest.at) > lifeMs;
  return {
    state: newest === null ? 'pending' : newest.state === 'verified' && isOld ? 'stale' : newest.state,
    newest,
    trust: summaries.findLast(({ trust }) => trust !== 'none')?.trust ?? 'none',
    continuity: { last24h: of(1), last30d: of(30), since: summaries[0]?.at ?? null },
  };
}

/** With two decimals, rounded down: 100 % is said of nothing less. */
export const percent = (part: number): string => `${(Math.floor(part * 10_000) / 100).toFixed(2)} %`;
