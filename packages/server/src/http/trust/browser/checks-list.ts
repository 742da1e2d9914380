/** Every check, in the verifier's order, with what was expected and what was seen. */
import type { Check } from '@abaton/verify';
import { element, terms } from './dom.ts';

const MARKS = { pass: '✓', fail: '✗', 'not-run': '·' } as const;
const WORDS = { pass: 'passed', fail: 'failed', 'not-run': 'did not run' } as const;

export function renderCheck({ id, title, status, code, expected, seen }: Check): HTMLElement {
  const details: [string, string][] = [];
  if (code !== undefined) details.push(['code', code]);
  if (expected !== undefined) details.push(['expected', expected]);
  if (seen !== undefined) details.push([status === 'not-run' ? 'why' : 'seen', seen]);
  return element(
    'li',
    { data: { check: id, status } },
    element('span', { className: 'mark', data: { status } }, MARKS[status]),
    element(
      'div',
      {},
      element('p', {}, title, ' ', element('span', { className: 'word' }, WORDS[status])),
      ...(details.length > 0 ? [element('dl', { className: 'details' }, ...terms(details))] : []),
    ),
  );
}

/** `21 passed, 0 failed, 4 did not run` */
export const tallyOf = (checks: readonly Check[]): string =>
  (['pass', 'fail', 'not-run'] as const)
    .map((status) => `${checks.filter((check) => check.status === status).length} ${WORDS[status]}`)
    .join(', ');
