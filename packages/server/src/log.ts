/**
 * The operator's log: JSON lines of declared fields. The operator reads it and must learn nothing about a patient, so
 * there is no free text: a field that is not declared here is a type error, and is dropped at run time; a value without
 * its field's form is replaced by `?`. Messages of errors are not logged, only their codes and places in our code.
 */

interface Values {
  token: string;
  tokens: readonly string[];
  number: number;
  boolean: boolean;
}

const FIELDS = {
  /** Drawn by us for each request. */
  requestId: 'token',
  method: 'token',
  /** The template, such as `/attestations/:id`; never the path that was asked for. */
  route: 'token',
  status: 'number',
  /** An error or verification code, or several. */
  code: 'token',
  codes: 'tokens',
  /** Where in our code a defect showed: file, line and column. */
  at: 'token',
  durationMs: 'number',
  bytes: 'number',
  count: 'number',
  attempt: 'number',
  /** Kind of job, child process or object. */
  kind: 'token',
  /** Random or keyed reference of a job, model or result. */
  ref: 'token',
  index: 'number',
  port: 'number',
  pid: 'number',
  mode: 'token',
  open: 'boolean',
  reasons: 'tokens',
  warnings: 'tokens',
  state: 'token',
  trust: 'token',
  evidenceId: 'token',
  codeHash: 'token',
  digest: 'token',
  version: 'token',
} as const satisfies Record<string, keyof Values>;

export type LogFields = { readonly [N in keyof typeof FIELDS]?: Values[(typeof FIELDS)[N]] | null };

/** `event`: kebab-case name of what happened. */
type Log = (event: string, fields?: LogFields) => void;

export interface Logger {
  info: Log;
  /** Somebody should look when it repeats. */
  warn: Log;
  /** Somebody should look now. */
  error: Log;
}

// codes, templates, digests and references; no spaces, so that no name or sentence fits
const isToken = (value: unknown) => typeof value === 'string' && /^[\w.:/{}*-]{0,128}$/.test(value);

const FORMS: Record<keyof Values, (value: unknown) => boolean> = {
  token: isToken,
  tokens: (value) => Array.isArray(value) && value.every(isToken),
  number: Number.isFinite,
  boolean: (value) => typeof value === 'boolean',
};

/** `write` takes one line; by default standard error, which is not buffered away when the process dies. */
export function createLogger(
  write: (line: string) => void = (line) => process.stderr.write(line),
  now: () => Date = () => new Date(),
): Logger {
  const at =
    (level: keyof Logger): Log =>
    (event, fields = {}) => {
      const line: Record<string, unknown> = { time: now().toISOString(), level, event: isToken(event) ? event : '?' };
      for (const [name, value] of Object.entries(fields)) {
        if (!Object.hasOwn(FIELDS, name) || value === null || value === undefined) continue;
        line[name] = FORMS[FIELDS[name as keyof typeof FIELDS]](value) ? value : '?';
      }
      write(`${JSON.stringify(line)}\n`);
    };
  return { info: at('info'), warn: at('warn'), error: at('error') };
}

/** Where an unexpected error arose, as `packages/…/file.ts:line:column` of our own code; its message is left out. */
export function placeOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown';
  const { stack = '', message } = error;
  const at = stack.indexOf(message); // a stack begins with the message, which may hold anything, even lines like a stack's
  const frames = at < 0 ? '' : stack.slice(at + message.length);
  return /(packages\/[\w./-]+:\d+:\d+)/.exec(frames)?.[1] ?? 'unknown';
}
