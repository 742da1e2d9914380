/**
 * Three classes, named by what the caller must do. `code` is one of a closed list that `docs/reference/errors.md`
 * explains; `message` says what happened and what to do, in ids and sizes, never in patient data.
 */

import type { VerificationCode } from './codes.ts';
import { MalformedError } from './formats/bytes.ts';

export class AbatonError<Code extends string = string> extends Error {
  readonly code: Code;

  constructor(code: Code, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** Fix it: the input, the settings or the call is wrong, and will be wrong again. Exit code 1. */
export class ConfigurationError<Code extends string = string> extends AbatonError<Code> {}

/** Retry: something needed is not available now. Exit code 2. */
export class UnavailableError<Code extends string = string> extends AbatonError<Code> {}

/** Stop: a security check did not hold. Exit code 3. */
export class RejectedError<Code extends string = string> extends AbatonError<Code> {}

/** One check of the evidence failed. `expected` and `seen` are for people. */
export class VerificationError extends RejectedError<VerificationCode> {
  readonly expected: string;
  readonly seen: string;

  constructor(code: VerificationCode, expected: string, seen: string) {
    super(code, `expected ${expected}, seen ${seen}`);
    this.expected = expected;
    this.seen = seen;
  }
}

/** Throws VerificationError. */
export function refuse(code: VerificationCode, expected: string, seen: string): never {
  throw new VerificationError(code, expected, seen);
}

/** Runs `read`; input that does not follow its format is refused with `code`. */
export function reading<T>(code: VerificationCode, what: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof MalformedError) refuse(code, `a well-formed ${what}`, error.message);
    throw error;
  }
}
