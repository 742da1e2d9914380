/** Small parsers for JSON values. Each checks one value and returns it typed, or throws MalformedError naming its path. */
import { malformed } from './bytes.ts';

export type Parse<T> = (value: unknown, path: string) => T;
type Fields<T> = { [K in keyof T]-?: Parse<T[K]> };

const wrong = (path: string, what: string): never => malformed(`${path} must be ${what}`);

/** Text of at most `maxLength` UTF-16 units that matches. Lone surrogates are refused: they have no UTF-8. */
export const text =
  (maxLength: number, pattern = /^/, what = 'text'): Parse<string> =>
  (value, path) =>
    typeof value === 'string' && value.length <= maxLength && pattern.test(value) && value.isWellFormed()
      ? value
      : wrong(path, `${what}, at most ${maxLength} characters`);

/** Lower-case hex: one way to write the same bytes. */
export const hex =
  (minBytes: number, maxBytes = minBytes): Parse<string> =>
  (value, path) =>
    typeof value === 'string' &&
    value.length >= 2 * minBytes &&
    value.length <= 2 * maxBytes &&
    value.length % 2 === 0 &&
    /^[0-9a-f]*$/.test(value)
      ? value
      : wrong(
          path,
          minBytes === maxBytes
            ? `${2 * minBytes} lower-case hex digits`
            : `at most ${maxBytes} bytes in lower-case hex`,
        );

/** For documents that are signed, or kept by people: returned in lower case. */
export const hexOfAnyCase =
  (bytes: number): Parse<string> =>
  (value, path) =>
    hex(bytes)(typeof value === 'string' ? value.toLowerCase() : value, path);

export const integer =
  (min: number, max: number): Parse<number> =>
  (value, path) =>
    Number.isInteger(value) && (value as number) >= min && (value as number) <= max
      ? (value as number)
      : wrong(path, `a whole number from ${min} to ${max}`);

export const boolean: Parse<boolean> = (value, path) =>
  typeof value === 'boolean' ? value : wrong(path, 'true or false');

export const oneOf =
  <const T extends string | number>(...allowed: readonly T[]): Parse<T> =>
  (value, path) =>
    allowed.find((each) => each === value) ?? wrong(path, allowed.join(' or '));

export const nullable =
  <T>(parse: Parse<T>): Parse<T | null> =>
  (value, path) =>
    value === null ? null : parse(value, path);

/** For a member that may be absent; `absent` then stands for it. */
export const optional =
  <T>(parse: Parse<T>, absent: NoInfer<T>): Parse<T> =>
  (value, path) =>
    value === undefined ? absent : parse(value, path);

export const list =
  <T>(item: Parse<T>, maxLength: number): Parse<T[]> =>
  (value, path) =>
    Array.isArray(value) && value.length <= maxLength
      ? Array.from(value, (each, index) => item(each, `${path}[${index}]`)) // map would skip holes
      : wrong(path, `a list of at most ${maxLength}`);

/** `open`: members without a parser are ignored (documents of others, which grow); otherwise they are refused. */
export const object =
  <T extends object>(fields: Fields<T>, { open = false } = {}): Parse<T> =>
  (value, path) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return wrong(path, 'an object');
    for (const name of open ? [] : Object.keys(value))
      if (!Object.hasOwn(fields, name)) malformed(`${path} has an unknown member ${JSON.stringify(name.slice(0, 40))}`);
    const result: Partial<T> = {};
    for (const name of Object.keys(fields) as (keyof T & string)[]) {
      const member = fields[name](Object.hasOwn(value, name) ? value[name as never] : undefined, `${path}.${name}`);
      if (member !== undefined) result[name] = member;
    }
    return result as T;
  };

/** Reads JSON text. */
export function parseJson(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return malformed('text is not JSON');
  }
}

const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\]:]/g;

/** The same for what people write and sign: no member may stand twice. */
export function parseUniqueJson(json: string): unknown {
  const value = parseJson(json);
  const open: Set<string>[] = [];
  let last = '';
  for (const [token] of json.matchAll(TOKEN)) {
    if (token === '{' || token === '[') open.push(new Set());
    else if (token === '}' || token === ']') open.pop();
    else if (token === ':') {
      const name: string = JSON.parse(last);
      if (open.at(-1)!.has(name)) malformed(`member ${JSON.stringify(name.slice(0, 40))} stands twice`);
      open.at(-1)!.add(name);
    } else last = token;
  }
  return value;
}
