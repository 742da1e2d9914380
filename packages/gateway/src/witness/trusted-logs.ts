/**
 * Which keys a witness trusts for which log. A key counts for the log that it is named after; one that is named `P/<year>`
 * also for `P/<later year>`, since the key of a year signs the logs of the years after it (server, audit/log-keys.ts).
 */
import { type LogCode, parseVkey, RejectedError, type Vkey } from '@abaton/verify';

export interface TrustedLogs {
  /** Empty: no such log is known. */
  keysOf(origin: string): Vkey[];
}

/** A log may begin that much before its year by our clock. It bounds how many logs one key can name. */
const YEARS_AHEAD = 1;
const MAX_ORIGIN_BYTES = 255; // opaque<1..2^8-1> of tlog-cosignature, "ML-DSA-44 signed message"

/** `hospital.example/audit/2026` → that family and year; null when it names no year. */
export function parseYearly(origin: string): { family: string; year: number } | null {
  const [, family, year] = /^(.+)\/(\d{4})$/.exec(origin) ?? [];
  return family === undefined ? null : { family, year: Number(year) };
}

/** `vkeys`: C2SP verifier keys. Throws VKEY_INVALID. */
export function trustLogs(vkeys: readonly string[], nowMs: () => number = Date.now): TrustedLogs {
  const keys = [...new Set(vkeys)].map(parseVkey);
  for (const { name, id } of keys) {
    if (keys.filter((other) => other.name === name && other.id === id).length > 1)
      throw new RejectedError<LogCode>('VKEY_INVALID', 'Two keys of logs share one name and id.');
    if (Buffer.byteLength(name) > MAX_ORIGIN_BYTES)
      throw new RejectedError<LogCode>('VKEY_INVALID', `The name of a log has ${MAX_ORIGIN_BYTES} bytes at most.`);
  }
  const isOf = (name: string, origin: string): boolean => {
    if (name === origin) return true;
    const [of, log] = [parseYearly(name), parseYearly(origin)];
    if (!of || !log || of.family !== log.family || log.year <= of.year) return false;
    return log.year <= new Date(nowMs()).getUTCFullYear() + YEARS_AHEAD;
  };
  return { keysOf: (origin) => keys.filter(({ name }) => isOf(name, origin)) };
}
