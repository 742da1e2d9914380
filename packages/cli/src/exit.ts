/** Exit codes of every command: 0 ok, 1 usage or configuration, 2 unavailable, 3 verification rejected. */
import { NotVerifiedError } from '@abaton/client';
import { AbatonError, RejectedError, UnavailableError, type Verdict } from '@abaton/verify';
import { CommanderError } from 'commander';
import { printable } from './printable.ts';

export const EXIT = { ok: 0, usage: 1, unavailable: 2, rejected: 3 } as const;

/** The exit code that a failure deserves. What is not ours is a defect, and counts as unavailable. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof RejectedError) return EXIT.rejected;
  if (error instanceof UnavailableError) return EXIT.unavailable;
  return error instanceof AbatonError ? EXIT.usage : EXIT.unavailable;
}

/** What `--json` prints instead of a result: with the verdict, when that is the reason. */
export function jsonOfError(error: unknown): { error: { code: string; message: string }; verdict?: Verdict } {
  const code = error instanceof AbatonError ? error.code : error instanceof CommanderError ? 'USAGE' : 'INTERNAL';
  const message = error instanceof Error ? error.message.replace(/^error: /, '') : String(error); // commander's prefix
  return { error: { code, message }, ...(error instanceof NotVerifiedError ? { verdict: error.verdict } : {}) };
}

/** One line for people: what happened, what to do. */
export function messageOf(error: unknown): string {
  if (error instanceof AbatonError) return printable(`${error.code}: ${error.message}`);
  return printable(error instanceof Error ? error.message : String(error));
}
