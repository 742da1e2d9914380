/** What the page and the badge say of the server's own proofs, at one moment. */
import type { TrustLabel } from '@abaton/verify';
import { GRACE_MS } from '../../tee/attestation-state.ts';
import { continuityOf } from '../../trust/continuity.ts';
import type { ReportLedger } from '../../trust/report-ledger.ts';
import type { Summary } from '../../trust/summary-line.ts';

export interface Standing {
  /**
   * `stale`: the newest is older than interval + grace, and speaks for nothing any more. `incident`: whatever the
   * newest says, the door is closed until an officer has said why it had to be.
   */
  state: 'pending' | 'verified' | 'failed' | 'stale' | 'incident';
  newest: Summary | null;
  /** By their time, also where the clock was set back; `newest` is the one that was made last. */
  newestFirst: readonly Summary[];
  /**
   * Of the newest proof that shows one: a failure without a quote has no root, and must not hide that it is simulated.
   */
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

/**
 * A walk over a month of reports takes a millisecond; in a second the shares change by a hundred-thousandth at most.
 */
const KEPT_MS = 1000;

export interface StandingOptions {
  intervalMs: number;
  nowMs: () => number;
  incidentOpen: () => boolean;
}

/** Returns what stands now. The walk over the reports is made once a second, and when there is a new one. */
export function createStanding(reports: ReportLedger, options: StandingOptions): () => Standing {
  const lifeMs = options.intervalMs + GRACE_MS;
  let kept: { walk: Walk; atMs: number } | null = null;
  return () => {
    const nowMs = options.nowMs();
    const newest = reports.summaries().at(-1) ?? null;
    if (kept?.walk.newest !== newest || Math.abs(nowMs - kept.atMs) >= KEPT_MS)
      kept = { walk: walkOver(reports.summaries(), nowMs, lifeMs), atMs: nowMs };
    const isOld = newest !== null && nowMs - newest.atMs > lifeMs;
    const ofProofs = newest?.state === 'verified' && isOld ? 'stale' : (newest?.state ?? 'pending');
    return { state: options.incidentOpen() ? 'incident' : ofProofs, ...kept.walk };
  };
}

type Walk = Omit<Standing, 'state'>;

function walkOver(summaries: readonly Summary[], nowMs: number, lifeMs: number): Walk {
  const of = (ms: number) => (ms > 0 ? continuityOf(summaries, { fromMs: nowMs - ms, toMs: nowMs }, lifeMs) : 0);
  const [first] = summaries;
  return {
    newest: summaries.at(-1) ?? null,
    newestFirst: summaries.toReversed().sort((a, b) => b.atMs - a.atMs),
    trust: summaries.findLast(({ trust }) => trust !== 'none')?.trust ?? 'none',
    continuity: {
      last24h: of(DAY_MS),
      last30d: of(30 * DAY_MS),
      since: first?.at ?? null,
      sinceFirst: first ? of(nowMs - first.atMs) : 0,
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
