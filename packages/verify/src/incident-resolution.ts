/**
 * What an officer signs to end an incident of a server, as the text of a C2SP signed note:
 *
 *     abaton incident resolution v1
 *     <origin of the audit log>
 *     <id of the incident>
 *     <time of signing, ISO 8601 UTC with milliseconds>
 *     cause: <one line>
 *
 * Origin and id bind it to one incident of one log, so that a copy holds nowhere else; the time bounds how long it may lie
 * about unused.
 */
import { RejectedError } from './errors.ts';

export interface IncidentResolution {
  origin: string;
  /** 16 hex digits. */
  incidentId: string;
  signedMs: number;
  /** One line of 1 to 500 characters, all of which can be seen. */
  cause: string;
}

const TITLE = 'abaton incident resolution v1';
export const MAX_CAUSE_CHARS = 500; // a sentence or two: the report of an incident has its own place

/** No control, formatting or separating characters (Unicode Cc, Cf, Zl, Zp): what is read later must be what was signed. */
export const isCause = (text: string): boolean =>
  text.trim() !== '' && text.length <= MAX_CAUSE_CHARS && !/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(text);

export const formatIncidentResolution = ({ origin, incidentId, signedMs, cause }: IncidentResolution): string =>
  `${[TITLE, origin, incidentId, new Date(signedMs).toISOString(), `cause: ${cause}`].join('\n')}\n`;

/** Throws RESOLUTION_INVALID. Whose signature it bears, and whether it is stale, is for the caller to say. */
export function parseIncidentResolution(text: string): IncidentResolution {
  const [title, origin = '', incidentId = '', time = '', line = '', ...rest] = text.split('\n');
  if (title !== TITLE || rest.length !== 1 || rest[0] !== '') return refuse(`it is no "${TITLE}"`);
  const signedMs = Date.parse(time);
  if (!Number.isFinite(signedMs) || new Date(signedMs).toISOString() !== time)
    return refuse('its time is not written as 2026-08-20T12:00:00.000Z');
  const [, cause = ''] = /^cause: (.*)$/.exec(line) ?? [];
  if (!isCause(cause)) return refuse(`it names no cause of 1 to ${MAX_CAUSE_CHARS} characters that can be seen`);
  return { origin, incidentId, signedMs, cause };
}

const refuse = (why: string): never => {
  throw new RejectedError('RESOLUTION_INVALID', `The resolution does not hold: ${why}.`);
};
