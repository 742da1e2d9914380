/** The badge for other people's pages: one SVG without script, style or anything to load. */
import { markup } from './markup.ts';
import { longestOf, percent, type Standing } from './standing.ts';

// Dark enough for white text of 11 px: contrast of 4.5 and more (WCAG 2.2, 1.4.3).
const COLOURS = {
  verified: '#0b6e4f',
  failed: '#b3261e',
  incident: '#b3261e',
  stale: '#5a6675',
  pending: '#5a6675',
} as const;
const SIMULATED = '#8a5a00';
const CHAR_PX = 6.6; // of Verdana at 11 px, on average; `textLength` makes it so for every font
const PADDING_PX = 8;

export function renderBadge({ state, trust, continuity }: Standing, nowMs: number): string {
  const simulated = trust === 'simulated';
  const label = 'attestation';
  const root = simulated ? 'SIMULATED' : trust === 'none' ? 'no root' : trust;
  const { label: span, part } = longestOf(continuity, nowMs);
  const value = `${root} · ${state} · ${span} ${percent(part)}`;
  const [labelPx, valuePx] = [label, value].map((text) => Math.round(text.length * CHAR_PX)) as [number, number];
  const [left, right] = [labelPx + 2 * PADDING_PX, valuePx + 2 * PADDING_PX];
  const colour = simulated && state === 'verified' ? SIMULATED : COLOURS[state];
  return markup`<svg xmlns="http://www.w3.org/2000/svg" width="${left + right}" height="22" role="img" aria-label="${label}: ${value}">
<title>${label}: ${value}</title>
<rect width="${left + right}" height="22" rx="4" fill="${colour}"/>
<path d="M4 0H${left}V22H4a4 4 0 0 1-4-4V4a4 4 0 0 1 4-4z" fill="#2b3440"/>
<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">
<text x="${PADDING_PX}" y="15" textLength="${labelPx}">${label}</text>
<text x="${left + PADDING_PX}" y="15" textLength="${valuePx}">${value}</text>
</g>
</svg>
`.text;
}
