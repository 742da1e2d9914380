/**
 * The gateway's log: JSON lines of codes, counts and times. There is no free text, so that nothing of a patient can get
 * in: a value that is no short token, number or list of tokens is replaced by `?`.
 */
import { AbatonError } from '@abaton/verify';

export type LogFields = Readonly<Record<string, string | number | boolean | null | readonly string[]>>;

export interface Logger {
  info(event: string, fields?: LogFields): void;
  /** Somebody should look when it repeats. */
  warn(event: string, fields?: LogFields): void;
  /** Somebody should look now. */
  error(event: string, fields?: LogFields): void;
}

/** Codes, ids and digests: no spaces, so that no name or sentence fits. */
const isToken = (value: unknown): boolean => typeof value === 'string' && /^[\w.:/-]{0,128}$/.test(value);

const isPlain = (value: unknown): boolean =>
  value === null || typeof value === 'boolean' || Number.isFinite(value) || isToken(value);

/** `write` takes one line. */
export function createLogger(write: (line: string) => void): Logger {
  const at =
    (level: string) =>
    (event: string, fields: LogFields = {}) => {
      const safe = Object.entries(fields).map(([name, value]) => {
        const known = Array.isArray(value) ? value.every(isToken) : isPlain(value);
        return [name, known ? value : '?'];
      });
      write(`${JSON.stringify({ time: new Date().toISOString(), level, event, ...Object.fromEntries(safe) })}\n`);
    };
  return { info: at('info'), warn: at('warn'), error: at('error') };
}

/** What may be logged of an error: its code, and where in our code it arose. Its message may hold anything. */
export const traceOf = (error: unknown): { code: string; at: string } => ({ code: codeOf(error), at: placeOf(error) });

/** Of ours, of the operating system or of Node; `INTERNAL` for a defect without one. */
function codeOf(error: unknown): string {
  if (error instanceof AbatonError) return error.code;
  return (error as NodeJS.ErrnoException | null)?.code ?? 'INTERNAL';
}

/** `packages/…/file.ts:line:column` of our own code. */
function placeOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown';
  const { stack = '', message } = error;
  const at = stack.indexOf(message); // a stack begins with the message, which may hold lines like a stack's
  const frames = at < 0 ? '' : stack.slice(at + message.length);
  return /(packages\/[\w./-]+:\d+:\d+)/.exec(frames)?.[1] ?? 'unknown';
}
