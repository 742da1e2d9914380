/**
 * From a finding to one headline. Green is only for hardware and a policy of the visitor's own, and even then clears
 * nothing.
 */
import { VERIFICATION_CODES } from '@abaton/verify';
import type { Demands } from './demands.ts';
import type { Finding } from './verification.ts';

export interface Outcome {
  kind: 'refused' | 'unpinned' | 'incomplete' | 'passed-simulated' | 'passed';
  headline: string;
  reason: string;
  /** What each failed check means. */
  meanings: string[];
}

const NOT_BOUND =
  'A page cannot see which key its own connection ends at, so nothing is cleared for sending here: run the command below.';

export function outcomeOf({ verdict, allButChannel }: Finding, { pinned }: Demands): Outcome {
  const { checks, trust } = verdict;
  const simulated = trust === 'simulated' ? ' (SIMULATED)' : '';
  const failed = checks.filter(({ status }) => status === 'fail');
  const meanings = failed.flatMap(({ code }) => (code ? [`${code}: ${VERIFICATION_CODES[code]}`] : []));
  const of = (kind: Outcome['kind'], headline: string, reason: string): Outcome => ({
    ...{ kind, headline: headline + simulated, reason, meanings },
  });
  if (failed.some(({ code }) => code === 'ROOT_UNTRUSTED') && trust === 'simulated')
    return of(
      'refused',
      'Refused: no hardware stands behind this',
      'A software TEE signed. If it is your own, name its root below; the checks then run to their end.',
    );
  if (failed.length > 0)
    return of(
      'refused',
      `Refused: ${failed.length === 1 ? 'one check has' : `${failed.length} checks have`} failed`,
      'Send nothing. What did not run, did not because of what failed.',
    );
  if (!pinned)
    return of(
      'unpinned',
      'A platform signed this, and nothing is pinned',
      'The signatures hold and the number is yours. Whether it is the code that you expect, only your policy can say.',
    );
  if (!allButChannel)
    return of(
      'incomplete',
      'Nothing has failed, but your policy leaves checks open',
      'A check that did not run is not a pass: see which below.',
    );
  return of(
    trust === 'simulated' ? 'passed-simulated' : 'passed',
    'Every check that a page can run has passed',
    NOT_BOUND,
  );
}
