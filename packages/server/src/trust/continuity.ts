/** How much of a stretch of time the server's own proofs cover: what the trust page draws and the badge sums up. */
import type { Summary } from './summary-line.ts';

/** What of a report counts here. */
export type Proof = Pick<Summary, 'id' | 'atMs' | 'state' | 'previous'>;

/** Half-open: from `fromMs`, up to and without `toMs`. */
export interface Span {
  fromMs: number;
  toMs: number;
}

/**
 * The covered spans in [fromMs, toMs): ascending, apart from each other. A verified proof covers the time from its own
 * `at` for `lifeMs` (interval + grace), and no longer than to the next report, which speaks for itself: a failed one
 * ends what the one before it covered. A proof that the next report does not name as its previous covers nothing, for
 * the report that is missing between them may have been a failure, on a disk that belongs to the operator. `proofs` in
 * the order in which they were made; a clock that was set back makes none of them count twice. `state` 'failed': what
 * failures cover likewise.
 */
export function coveredSpans(
  proofs: readonly Proof[],
  window: Span,
  lifeMs: number,
  state: Proof['state'] = 'verified',
): Span[] {
  const spans: Span[] = [];
  for (const [i, proof] of proofs.entries()) {
    const next = proofs[i + 1];
    if (proof.state !== state || (next && next.previous !== proof.id)) continue;
    const fromMs = Math.max(proof.atMs, window.fromMs);
    const toMs = Math.min(proof.atMs + lifeMs, next?.atMs ?? window.toMs, window.toMs);
    if (toMs > fromMs) spans.push({ fromMs, toMs });
  }
  spans.sort((a, b) => a.fromMs - b.fromMs);
  const merged: Span[] = [];
  for (const span of spans) {
    const last = merged.at(-1);
    if (last && span.fromMs <= last.toMs) last.toMs = Math.max(last.toMs, span.toMs);
    else merged.push(span);
  }
  return merged;
}

/**
 * Continuity: the covered part of the time in [fromMs, toMs), 0 to 1. Time from before the first report counts as not
 * covered, also when the server did not exist yet.
 */
export function continuityOf(proofs: readonly Proof[], window: Span, lifeMs: number): number {
  const coveredMs = coveredSpans(proofs, window, lifeMs).reduce((sum, { fromMs, toMs }) => sum + toMs - fromMs, 0);
  return coveredMs / (window.toMs - window.fromMs);
}
