/** Exit codes of every command: 0 ok, 1 usage or configuration, 2 unavailable, 3 verification rejected. */
import { AbatonError, RejectedError, UnavailableError } from '@abaton/verify';

export const EXIT = { ok: 0, usage: 1, unavailable: 2, rejected: 3 } as const;

/** The exit code that a failure deserves. What is not ours is a defect, and counts as unavailable. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof RejectedError) return EXIT.rejected;
  if (error instanceof UnavailableError) return EXIT.unavailable;
  return error instanceof AbatonError ? EXIT.usage : EXIT.unavailable;
}

/** One line for people: what happened, what to do. */
export function messageOf(error: unknown): string {
  if (error instanceof AbatonError) return `${error.code}: ${error.message}`;
  return error instanceof Error ? error.message : String(error);
}
