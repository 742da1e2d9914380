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
export function formatSummaryLine({ id, at, state, codes, trust, previous }: Summary, key: Uint8Array): string {
  const json = canonicalize({ id, at, state, codes, trust, previous });
  return `\n${json} ${macOf(key, json).toString('base64url')}\n`;
}

/** Every whole line that this key has written, in order. The rest (torn, changed, of another key) is left out. */
export function readSummaryLines(text: string, key: Uint8Array): Summary[] {
  return text.split('\n').flatMap((line): Summary[] => {
    const space = line.lastIndexOf(' ');
    const [json, mac] = [line.slice(0, Math.max(space, 0)), Buffer.from(line.slice(space + 1), 'base64url')];
    const expected = macOf(key, json);
    return mac.length === expected.length && timingSafeEqual(mac, expected) ? [JSON.parse(json) as Summary] : [];
  });
}
