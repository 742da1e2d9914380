/** JSON Canonicalization Scheme (RFC 8785): one text for one value, so that a digest of it means something. */
import { malformed } from './bytes.ts';

export type JsonValue =
  | null
  | boolean
  | number
  | string
  | readonly JsonValue[]
  | { readonly [name: string]: JsonValue };

/** Throws MalformedError for what JSON or the scheme has no form for: undefined, NaN, lone surrogates. */
export function canonicalize(value: unknown): string {
  if (value === null || typeof value === 'boolean') return String(value);
  if (typeof value === 'number' && Number.isFinite(value)) return JSON.stringify(value); // section 3.2.2.3 is ECMAScript's form
  if (typeof value === 'string' && value.isWellFormed()) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(canonicalize).join(',')}]`;
  if (typeof value !== 'object') return malformed(`no canonical JSON for ${typeof value}`);
  // The default order of sort() is that of UTF-16 code units, which section 3.2.3 asks for.
  const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${members.map(([name, member]) => `${canonicalize(name)}:${canonicalize(member)}`).join(',')}}`;
}
