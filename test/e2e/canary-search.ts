/**
 * Finds planted identifiers in bytes, however they are written: as text, hex, base64 at any alignment, UTF-16, and
 * inside gzip, zlib and raw deflate data. Used by the canary test (I2) and tested by it: a search that finds nothing
 * because it looks for nothing would be a false green.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync, inflateRawSync, inflateSync } from 'node:zlib';

export interface Finding {
  canary: string;
  encoding: string;
}

const MAX_INFLATED_BYTES = 8 * 2 ** 20;

/** Every spelling of one identifier that is searched for. */
export function spellings(canary: Buffer): { encoding: string; bytes: Buffer }[] {
  const text = canary.toString('latin1');
  const forms = [
    { encoding: 'raw', bytes: canary },
    { encoding: 'hex', bytes: Buffer.from(canary.toString('hex')) },
    { encoding: 'HEX', bytes: Buffer.from(canary.toString('hex').toUpperCase()) },
    { encoding: 'utf-16le', bytes: Buffer.from(text, 'utf16le') },
    { encoding: 'utf-16be', bytes: Buffer.from(text, 'utf16le').swap16() },
    { encoding: 'percent', bytes: Buffer.from(encodeURIComponent(text)) },
  ];
  for (let shift = 0; shift < 3; shift++) {
    // Only the characters that do not depend on what stands before and after the identifier.
    const encoded = Buffer.concat([Buffer.alloc(shift), canary]).toString('base64');
    const from = Math.ceil((shift * 8) / 6);
    const to = Math.floor(((shift + canary.length) * 8) / 6);
    const core = encoded.slice(from, to);
    forms.push({ encoding: `base64+${shift}`, bytes: Buffer.from(core) });
    forms.push({ encoding: `base64url+${shift}`, bytes: Buffer.from(core.replaceAll('+', '-').replaceAll('/', '_')) });
  }
  return forms;
}

/** A search for many identifiers at once. */
export function createSearch(canaries: readonly Buffer[]): (haystack: Buffer) => Finding[] {
  const needles = canaries.flatMap((canary) =>
    spellings(canary).map((form) => ({ ...form, canary: canary.toString('latin1') })),
  );
  const scan = (haystack: Buffer, where: string): Finding[] =>
    needles
      .filter(({ bytes }) => haystack.includes(bytes))
      .map(({ canary, encoding }) => ({ canary, encoding: where + encoding }));
  return (haystack) => [
    ...scan(haystack, ''),
    ...[haystack, ...base64Parts(haystack)].flatMap(inflatedParts).flatMap((part) => scan(part, 'deflated ')),
  ];
}

/** Long runs of base64 or base64url, decoded: compressed data may be written as text. */
function base64Parts(haystack: Buffer): Buffer[] {
  const runs = haystack.toString('latin1').match(/[A-Za-z0-9+/_-]{24,}={0,2}/g) ?? [];
  return runs.map((run) => Buffer.from(run, 'base64'));
}

/** Whatever inflates from a gzip or zlib header, and the whole as raw deflate. */
function inflatedParts(haystack: Buffer): Buffer[] {
  const parts: Buffer[] = [];
  const attempt = (inflate: typeof gunzipSync, bytes: Buffer) => {
    try {
      parts.push(inflate(bytes, { maxOutputLength: MAX_INFLATED_BYTES, finishFlush: 2 }));
    } catch {}
  };
  for (let at = haystack.indexOf(0x1f); at >= 0; at = haystack.indexOf(0x1f, at + 1))
    if (haystack[at + 1] === 0x8b && haystack[at + 2] === 8) attempt(gunzipSync, haystack.subarray(at));
  // RFC 1950: CM 8 with a 32 KiB window, and a header that is a multiple of 31
  for (let at = haystack.indexOf(0x78); at >= 0; at = haystack.indexOf(0x78, at + 1))
    if (((0x78 << 8) | (haystack[at + 1] ?? 0)) % 31 === 0) attempt(inflateSync, haystack.subarray(at));
  attempt(inflateRawSync, haystack);
  return parts;
}

/** All files below a folder, name and content as one buffer: names leak too. */
export function readTree(folder: string): { path: string; bytes: Buffer }[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true }).map((entry) => {
    const path = join(entry.parentPath, entry.name);
    return {
      path,
      bytes: entry.isFile() ? Buffer.concat([Buffer.from(`${path}\n`), readFileSync(path)]) : Buffer.from(path),
    };
  });
}
