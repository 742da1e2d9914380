/** Arguments of agent methods: exactly the fields that are declared, each in its form. */
import { RequestError } from './http.ts';
import type { Platform } from './platform.ts';

const refuse = (name: string, expected: string): never => {
  throw new RequestError(400, `${name} must be ${expected}`);
};
/** Latest moment that X.509 can state: 9999-12-31T23:59:59Z. */
const MAX_SECONDS = 253_402_300_799;

/** Fields by kind, each with protobuf's default. Queries carry texts only: '1700000000', 'true', repeated names. */
const FIELDS = {
  text: (value: unknown = '', name: string): string =>
    typeof value === 'string' && value.length <= 4096 ? value : refuse(name, 'text of at most 4096 characters'),
  names: (value: unknown = [], name: string): string[] => {
    const list = typeof value === 'string' ? [value] : value;
    const ok = Array.isArray(list) && list.length <= 100 && list.every((v) => /^[!-~]{1,255}$/.test(v));
    return ok ? list.map(String) : refuse(name, 'at most 100 names of at most 255 ASCII characters');
  },
  hex: (value: unknown = '', name: string): Buffer =>
    typeof value === 'string' && /^(?:[0-9a-f]{2})*$/i.test(value) ? Buffer.from(value, 'hex') : refuse(name, 'hex'),
  flag: (value: unknown = false, name: string): boolean => {
    const flag = value === 'true' ? true : value === 'false' ? false : value;
    return typeof flag === 'boolean' ? flag : refuse(name, 'true or false');
  },
  date: (value: unknown, name: string): Date | undefined => {
    if (value === undefined || value === null) return undefined;
    const seconds = typeof value === 'string' && /^\d{1,12}$/.test(value) ? Number(value) : value;
    return Number.isInteger(seconds) && (seconds as number) >= 0 && (seconds as number) <= MAX_SECONDS
      ? new Date((seconds as number) * 1000)
      : refuse(name, 'seconds since 1970');
  },
};
type Fields = Record<string, keyof typeof FIELDS>;
type Arguments<F extends Fields> = { [N in keyof F]: ReturnType<(typeof FIELDS)[F[N]]> };
export type Method = (platform: Platform, input: Record<string, unknown>) => unknown;

/** A method that takes exactly these fields. */
export const method =
  <F extends Fields>(fields: F, call: (platform: Platform, args: Arguments<F>) => unknown): Method =>
  (platform, input) => {
    const unknownName = Object.keys(input).find((name) => !Object.hasOwn(fields, name));
    if (unknownName !== undefined) throw new RequestError(400, `Unknown field ${unknownName.slice(0, 64)}`);
    const args = Object.entries(fields).map(([name, kind]) => [name, FIELDS[kind](input[name], name)]);
    return call(platform, Object.fromEntries(args) as Arguments<F>);
  };
