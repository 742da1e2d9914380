/** What the page and the badge say of the server's own proofs, at one moment. */
import type { TrustLabel } from '@abaton/verify';
import { continuityOf } from '../../trust/continuity.ts';
import type { ReportLedger } from '../../trust/report-ledger.ts';
import type { Summary } from '../../trust/summary-line.ts';

export interface Standing {
  /**
   * `stale`: the newest is older than interval + grace, and speaks for nothing any more. `incident`: whatever the newest says,
   * the door is closed until an officer has said why it had to be.
   */
  state: 'pending' | 'verified' | 'failed' | 'stale' | 'incident';
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
  /** Covered part of the time since then, 0 to 1: what says more than the last 30 days while there are fewer. */
  sinceFirst: number;
}

export const DAY_MS = 86_400_000;

/** How long a proof counts after its interval: as long as a slow guest agent and PCCS may take for the next (gate-keeper.ts). */
export const GRACE_MS = 20_000;

export function standingOf(
  reports: ReportLedger,
  { intervalMs, nowMs, incidentOpen }: { intervalMs: number; nowMs: number; incidentOpen: boolean },
): Standing {
  const lifeMs = intervalMs + GRACE_MS;
  const [summaries, proofs] = [reports.summaries(), reports.proofs()];
  const newest = summaries.at(-1) ?? null;
  const of = (ms: number) => (ms > 0 ? continuityOf(proofs, { fromMs: nowMs - ms, toMs: nowMs }, lifeMs) : 0);
  const since = summaries[0]?.at ?? null;
  const isOld = newest !== null && nowMs - Date.parse(newest.at) > lifeMs;
  return {
    state: incidentOpen ? 'incident' : newest?.state === 'verified' && isOld ? 'stale' : (newest?.state ?? 'pending'),
    newest,
    trust: summaries.findLast(({ trust }) => trust !== 'none')?.trust ?? 'none',
    continuity: {
      last24h: of(DAY_MS),
      last30d: of(30 * DAY_MS),
      since,
      sinceFirst: since === null ? 0 : of(nowMs - Date.parse(since)),
    },
  };
}

/** The longest stretch that can be spoken of: 30 days, or since the first report. */
export function longestOf({ last30d, since, sinceFirst }: Continuity, nowMs: number): { label: string; part: number } {
  if (since === null || nowMs - Date.parse(since) >= 30 * DAY_MS) return { label: '30 days', part: last30d };
  return { label: `since ${since.slice(0, '2026-11-24'.length)}`, part: sinceFirst };
}

/** With two decimals, rounded down: 100 % is said of nothing less. */
export const percent = (part: number): string => `${(Math.floor(part * 10_000) / 100).toFixed(2)} %`;
