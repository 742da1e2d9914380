/** What goes between the test and the page: JSON, and bytes in it. Both engines read their inputs from it. */
import { bytesToHex, hexToBytes } from '../../packages/verify/src/formats/bytes.ts';

const BYTES = '$bytes';

export const encode = (value: unknown): string =>
  JSON.stringify(value, function (this: Record<string, unknown>, name, written: unknown) {
    const member = this[name]; // before toJSON, which Buffer has
    return member instanceof Uint8Array ? { [BYTES]: bytesToHex(member) } : written;
  });

export const decode = (text: string): unknown =>
  JSON.parse(text, (_, member: unknown) =>
    typeof member === 'object' && member !== null && BYTES in member ? hexToBytes(String(member[BYTES])) : member,
  );

/** What became of a call. Every other error is a bug, and is not an outcome. */
export type Outcome<T> = { value: T } | { refused: string };
