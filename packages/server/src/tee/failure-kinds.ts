/**
 * What a failed proof of our own means for the door. The kinds of failed checks are those of every verifier (`verify`,
 * failure-kinds.ts); here they are joined by what keeps a proof from being made or recorded.
 *
 * - `integrity`: the door closes at once and stays closed until an officer has said why (latch.ts).
 * - `transient`: the last verified proof stands for one interval more; then the door closes, and opens by itself with the
 *   next proof that verifies.
 * - `configuration`: the door closes at once, and opens by itself when that is mended.
 */
import { type FailureKind, kindOfFailedCheck } from '@abaton/verify';
import { ERRORS, type ErrorCode } from '../errors.ts';

/** What is to be retried is late, what is to be mended is configuration: errors.ts has the class of each code. */
const KINDS_OF_CLASSES = { retry: 'transient', fix: 'configuration', stop: 'integrity' } as const;

/** A clock that is wrong, and a defect of ours, do not pass by waiting; nor does either accuse the platform. */
const CONFIGURATION: readonly string[] = ['CLOCK_BEHIND_LOG', 'INTERNAL'] satisfies ErrorCode[];

/** A code that nothing names is not known to be harmless. `not-run:…`: nothing was refused, but something not looked at. */
export function kindOfCode(code: string): FailureKind {
  if (code.startsWith('not-run:') || CONFIGURATION.includes(code)) return 'configuration';
  const kind = kindOfFailedCheck(code);
  if (kind) return kind;
  return Object.hasOwn(ERRORS, code) ? KINDS_OF_CLASSES[ERRORS[code as ErrorCode].class] : 'integrity';
}

export const isIntegrity = (code: string): boolean => kindOfCode(code) === 'integrity';

/** The gravest kind of a failed proof. */
export function kindOfFailure(codes: readonly string[]): FailureKind {
  const kinds = codes.map(kindOfCode);
  if (kinds.length === 0 || kinds.includes('integrity')) return 'integrity';
  return kinds.includes('configuration') ? 'configuration' : 'transient';
}
