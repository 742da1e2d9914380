/** Media types with parameters, and what a client accepts (RFC 9110 sections 8.3.1 and 12.5.1). */
import { errorOf } from '../../errors.ts';

export interface MediaType {
  /** `type/subtype` in lower case. */
  type: string;
  /** Names in lower case; values as sent, without quotes. */
  parameters: ReadonlyMap<string, string>;
}

/**
 * Reads one media type; null if there is none. More lenient than the grammar in one place: clients send
 * `type=application/dicom` without the quotes that the slash asks for (as OHIF 3.13 does, and PS3.18 allows it in 8.7.3).
 */
export function parseMediaType(text: string | undefined): MediaType | null {
  const [type, ...rest] = splitOutsideQuotes(text ?? '', ';');
  if (!type || !/^[\w!#$&^+.*-]+\/[\w!#$&^+.*-]+$/.test(type)) return null;
  const parameters = new Map<string, string>();
  for (const parameter of rest) {
    const equals = parameter.indexOf('=');
    if (equals < 1) continue;
    const value = parameter.slice(equals + 1).trim();
    parameters.set(parameter.slice(0, equals).trim().toLowerCase(), unquote(value));
  }
  return { type: type.toLowerCase(), parameters };
}

/** What the client accepts, best first; types with q=0 are left out. Absent: anything. */
export function parseAccept(header: string | undefined): MediaType[] {
  if (!header?.trim()) return [{ type: '*/*', parameters: new Map() }];
  return splitOutsideQuotes(header, ',')
    .map((text) => parseMediaType(text))
    .filter((type) => type !== null)
    .map((type) => ({ type, q: Number(type.parameters.get('q') ?? 1) }))
    .filter(({ q }) => q > 0)
    .sort((a, b) => b.q - a.q)
    .map(({ type }) => type);
}

/** Throws NOT_ACCEPTABLE unless the client takes `type`; `alias` is a more general name of the same thing. */
export function requireAccepted(header: string | undefined, type: string, alias: string): void {
  const taken = ['*/*', `${type.split('/')[0]}/*`, type, alias];
  if (!parseAccept(header).some((accepted) => taken.includes(accepted.type)))
    throw errorOf('NOT_ACCEPTABLE', `This resource is available as ${type}.`);
}

function splitOutsideQuotes(text: string, separator: string): string[] {
  const pieces = [''];
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const char = text[i]!;
    if (quoted && char === '\\') pieces[pieces.length - 1] += char + (text[++i] ?? '');
    else if (char === separator && !quoted) pieces.push('');
    else {
      if (char === '"') quoted = !quoted;
      pieces[pieces.length - 1] += char;
    }
  }
  return pieces.map((piece) => piece.trim()).filter((piece) => piece !== '');
}

const unquote = (value: string): string => (/^".*"$/.test(value) ? value.slice(1, -1).replace(/\\(.)/g, '$1') : value);
