/**
 * The last 24 hours of the server's own proofs, as a strip. Height tells failed from verified for who sees no colour.
 */
import { coveredSpans, type Proof, type Span } from '../../trust/continuity.ts';
import { type Markup, markup } from './markup.ts';
import { DAY_MS, percent } from './standing.ts';

const WIDTH = 1440; // one unit is a minute
const HEIGHT = 40;
const FAILED_HEIGHT = 22;
const MIN_FAILED_WIDTH = 6; // or a failure of seconds would not be seen

/** `covered`: what `continuityOf` says of these 24 hours. */
export function renderTimeline(proofs: readonly Proof[], covered: number, lifeMs: number, nowMs: number): Markup {
  const window: Span = { fromMs: nowMs - DAY_MS, toMs: nowMs };
  const verified = coveredSpans(proofs, window, lifeMs);
  const failed = coveredSpans(proofs, window, lifeMs, 'failed');
  const bar = ({ fromMs, toMs }: Span, kind: string, height: number, minWidth: number): Markup => {
    const x = ((fromMs - window.fromMs) / DAY_MS) * WIDTH;
    const width = Math.max(((toMs - fromMs) / DAY_MS) * WIDTH, minWidth);
    const left = Math.min(x, WIDTH - width);
    return markup`<rect class="${kind}" x="${left.toFixed(2)}" y="${HEIGHT - height}" width="${width.toFixed(2)}" height="${height}"/>`;
  };
  const label = `Last 24 hours: ${percent(covered)} covered by verified proofs, ${failed.length} times failed`;
  return markup`<svg class="timeline" viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" role="img" aria-label="${label}">
<rect class="track" width="${WIDTH}" height="${HEIGHT}"/>
${verified.map((span) => bar(span, 'verified', HEIGHT, 1))}
${failed.map((span) => bar(span, 'failed', FAILED_HEIGHT, MIN_FAILED_WIDTH))}
</svg>`;
}
