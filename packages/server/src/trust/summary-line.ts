/**
 * What is kept of a report for a month: one line, canonical JSON, a space, HMAC-SHA256 in base64url. The disk is the
 * operator's: without the key, which only this TEE derives, nobody can write a proof that never was.
 */
import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto';
import { canonicalize, type TrustLabel } from '@abaton/verify';

export interface Summary {
  id: string;
  /** ISO 8601, UTC */
  at: string;
  /** The same in milliseconds; not in the line. */
  atMs: number;
  state: 'verified' | 'failed';
  codes: string[];
  trust: TrustLabel;
  previous: string | null;
}

/** From the seed of the log key. The lines stay readable for as long as that key. */
export const summaryKey = (seed: Uint8Array): Uint8Array =>
  new Uint8Array(hkdfSync('sha256', seed, '', 'abaton/attestation-summaries/v1', 32));

const macOf = (key: Uint8Array, json: string): Buffer => createHmac('sha256', key).update(json).digest();

/** Between line feeds: what a crash left of an earlier line cannot run into this one. */
export function formatSummaryLine(summary: Omit<Summary, 'atMs'>, key: Uint8Array): string {
  const { id, at, state, codes, trust, previous } = summary;
  const json = canonicalize({ id, at, state, codes, trust, previous });
  return `\n${json} ${macOf(key, json).toString('base64url')}\n`;
}

/** A line: JSON, and 32 bytes in base64url. One after the other, since a file may be nothing but line feeds. */
const LINE = /^(\{.+\}) ([\w-]{43})$/gm;

/** Every whole line that this key has written, in order. The rest (torn, changed, of another key) is left out. */
export function readSummaryLines(text: string, key: Uint8Array): Summary[] {
  const summaries: Summary[] = [];
  for (const [, json, mac] of text.matchAll(LINE)) {
    if (!timingSafeEqual(Buffer.from(mac!, 'base64url'), macOf(key, json!))) continue;
    const summary = JSON.parse(json!) as Omit<Summary, 'atMs'>;
    summaries.push({ ...summary, atMs: Date.parse(summary.at) });
  }
  return summaries;
}
