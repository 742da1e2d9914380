/** The refusal that carries its verdict; both ways of connecting throw it. */
import { RejectedError, type Verdict } from '@abaton/verify';
import type { ClientCode } from './codes.ts';

/** Throws NOT_VERIFIED with this verdict in `verdict` when the evidence does not hold. */
export class NotVerifiedError extends RejectedError<ClientCode> {
  readonly verdict: Verdict;

  constructor(verdict: Verdict) {
    const failed = verdict.checks.filter((check) => check.status === 'fail');
    super(
      'NOT_VERIFIED',
      `The evidence was refused, and nothing was sent: ${failed.map((check) => check.code).join(', ') || 'a required check did not run'}.`,
    );
    this.verdict = verdict;
  }
}
