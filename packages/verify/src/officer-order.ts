/**
 * What an officer of the manifest signs to make a server do something, as the text of a C2SP signed note:
 *
 *     abaton officer order v1
 *     <origin of the audit log>
 *     <time of signing, ISO 8601 UTC with milliseconds>
 *     <id of the order: 32 hex digits, random>
 *     <the order: JSON of RFC 8785, one line, {"do":"…",…}>
 *
 * Origin and id bind it to one carrying out by one server; the time bounds how long it may lie about unused.
 */
import { RejectedError } from './errors.ts';
import { canonicalize, type JsonValue } from './formats/jcs.ts';

export interface OrderBody {
  /** What is to be done: a verb of small letters and hyphens. */
  readonly do: string;
  readonly [member: string]: JsonValue;
}

export interface OfficerOrder {
  origin: string;
  signedMs: number;
  /** 32 hex digits. */
  id: string;
  order: OrderBody;
}

const TITLE = 'abaton officer order v1';
export const MAX_ORDER_CHARS = 4096; // some ids and dates; what is longer is no order but a document

export const formatOfficerOrder = ({ origin, signedMs, id, order }: OfficerOrder): string =>
  `${[TITLE, origin, new Date(signedMs).toISOString(), id, canonicalize(order)].join('\n')}\n`;

/** Throws ORDER_INVALID. Whose signature it bears, and whether it is stale or used, is for the caller to say. */
export function parseOfficerOrder(text: string): OfficerOrder {
  const [title, origin = '', time = '', id = '', line = '', ...rest] = text.split('\n');
  if (title !== TITLE || rest.length !== 1 || rest[0] !== '') return refuse(`it is no "${TITLE}"`);
  const signedMs = Date.parse(time);
  if (!Number.isFinite(signedMs) || new Date(signedMs).toISOString() !== time)
    return refuse('its time is not written as 2026-08-20T12:00:00.000Z');
  if (!/^[0-9a-f]{32}$/.test(id)) return refuse('its id does not have 32 hex digits');
  return { origin, signedMs, id, order: parseBody(line) };
}

function parseBody(line: string): OrderBody {
  if (line.length > MAX_ORDER_CHARS) return refuse(`it is longer than ${MAX_ORDER_CHARS} characters`);
  // Unicode Cc, Cf, Zl, Zp: what is read later must be what was signed
  if (/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(line)) return refuse('it holds characters that cannot be seen');
  try {
    const value: unknown = JSON.parse(line);
    // one text for one order: no member twice, no other spelling
    if (isBody(value) && canonicalize(value) === line) return value;
  } catch {}
  return refuse('it is not a canonical JSON object (RFC 8785) that says what to do');
}

const isBody = (value: unknown): value is OrderBody =>
  typeof value === 'object' &&
  value !== null &&
  'do' in value &&
  typeof value.do === 'string' &&
  /^[a-z][a-z-]{0,39}$/.test(value.do);

const refuse = (why: string): never => {
  throw new RejectedError('ORDER_INVALID', `The order does not hold: ${why}.`);
};
