/**
 * ASN.1 DER (ITU-T X.690 section 10 and 11), for reading X.509. One encoding per value: definite and shortest lengths,
 * shortest integers, TRUE is FF, and nothing after the end. Readers descend one level at a time and only where they
 * are told to, so that nested input costs neither stack nor time.
 */
import { bytesToHex, malformed } from './bytes.ts';

export const TAG = {
  BOOLEAN: 0x01,
  INTEGER: 0x02,
  BIT_STRING: 0x03,
  OCTET_STRING: 0x04,
  OID: 0x06,
  UTC_TIME: 0x17,
  GENERALIZED_TIME: 0x18,
  SEQUENCE: 0x30,
  ENUMERATED: 0x0a,
  CONTEXT_0: 0xa0,
  CONTEXT_1: 0xa1,
  CONTEXT_2: 0xa2,
  CONTEXT_3: 0xa3,
} as const;

export interface Der {
  tag: number;
  value: Uint8Array;
  /** Tag, length and value: what signatures and name comparisons cover. */
  raw: Uint8Array;
}

const MAX_LENGTH_OCTETS = 3; // 16 MiB: far above every limit on the size of the input

function readElement(bytes: Uint8Array, at: number): Der {
  const tag = bytes[at];
  let length = bytes[at + 1];
  if (tag === undefined || length === undefined) return malformed('DER: truncated');
  let start = at + 2;
  if (length >= 0x80) {
    const octets = bytes.subarray(start, start + length - 0x80);
    if (octets.length === 0 || octets.length > MAX_LENGTH_OCTETS) malformed('DER: length is indefinite or too long');
    start += length - 0x80;
    length = octets.reduce((value, octet) => value * 256 + octet, 0);
    if (octets[0] === 0 || length < 0x80) malformed('DER: length is not in its shortest form');
  }
  if (start + length > bytes.length) malformed('DER: truncated');
  return { tag, value: bytes.subarray(start, start + length), raw: bytes.subarray(at, start + length) };
}

/** Reads exactly one element with this tag. */
export function parseDer(bytes: Uint8Array, tag: number): Der {
  const fields = new DerFields(bytes);
  const element = fields.next(tag);
  fields.end();
  return element;
}

/** Reads the elements of a constructed value; every one must have this tag. */
export function parseDerList(bytes: Uint8Array, tag: number): Der[] {
  const fields = new DerFields(bytes);
  const list: Der[] = [];
  while (!fields.done) list.push(fields.next(tag));
  return list;
}

/** Reads the fields of a SEQUENCE in their order. */
export class DerFields {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(contents: Uint8Array) {
    this.#bytes = contents;
  }

  get done(): boolean {
    return this.#at === this.#bytes.length;
  }

  next(tag: number): Der {
    const element = readElement(this.#bytes, this.#at);
    if (element.tag !== tag) malformed(`DER: tag ${hex(tag)} expected, ${hex(element.tag)} seen`);
    this.#at += element.raw.length;
    return element;
  }

  optional(tag: number): Der | null {
    return this.#bytes[this.#at] === tag ? this.next(tag) : null;
  }

  end(): void {
    if (!this.done) malformed('DER: bytes after the end');
  }
}

const hex = (tag: number): string => tag.toString(16).padStart(2, '0');

/** Dotted form of an OBJECT IDENTIFIER. */
export function oidOf({ value }: Der): string {
  const arcs: number[] = [];
  let arc = 0;
  let first = true; // octet of its arc
  for (const octet of value) {
    if (first && octet === 0x80) malformed('DER: object identifier is not in its shortest form');
    arc = arc * 128 + (octet & 0x7f);
    if (arc > 0xffffffff) malformed('DER: object identifier is too large');
    first = octet < 0x80;
    if (first) {
      arcs.push(arc);
      arc = 0;
    }
  }
  const [head] = arcs;
  if (!first || head === undefined) return malformed('DER: object identifier is truncated');
  const root = Math.min(Math.floor(head / 40), 2);
  return [root, head - root * 40, ...arcs.slice(1)].join('.');
}

/** Octets of a non-negative INTEGER, without the octet that only carries the sign. */
export function integerBytes({ value }: Der): Uint8Array {
  const [first, second] = value;
  if (first === undefined || first >= 0x80) return malformed('DER: integer is empty or negative');
  if (value.length === 1 || first !== 0) return value;
  if (second! < 0x80) malformed('DER: integer is not in its shortest form');
  return value.subarray(1);
}

export function integerOf(der: Der): number {
  const bytes = integerBytes(der);
  if (bytes.length > 4) malformed('DER: integer is too large');
  return bytes.reduce((value, octet) => value * 256 + octet, 0);
}

/** A serial number: lower-case hex, compared as text. */
export const serialOf = (der: Der): string => bytesToHex(integerBytes(der));

/** A BIT STRING of whole octets. */
export function bitStringBytes({ value }: Der): Uint8Array {
  if (value[0] !== 0) malformed('DER: bit string has unused bits');
  return value.subarray(1);
}

/** An optional BOOLEAN with default FALSE: DER leaves FALSE out. */
export function defaultFalse(der: Der | null): boolean {
  if (der && (der.value.length !== 1 || der.value[0] !== 0xff)) malformed('DER: boolean is not TRUE in DER');
  return der !== null;
}

/** UTCTime `YYMMDDHHMMSSZ` or GeneralizedTime `YYYYMMDDHHMMSSZ` (RFC 5280 section 4.1.2.5), in ms. */
export function timeOf(fields: DerFields): number {
  const utc = fields.optional(TAG.UTC_TIME);
  const text = String.fromCharCode(...(utc ?? fields.next(TAG.GENERALIZED_TIME)).value.subarray(0, 20));
  const full = utc ? `${text.slice(0, 2) < '50' ? '20' : '19'}${text}` : text;
  const parts = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(full);
  if (!parts) return malformed('DER: time is not in the form of RFC 5280');
  const [, year, month, day, hour, minute, second] = parts;
  return parseUtcTime(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
}

/** For formats that have GeneralizedTime alone. */
export function generalizedTimeOf(fields: DerFields): number {
  return timeOf(new DerFields(fields.next(TAG.GENERALIZED_TIME).raw));
}

/** `YYYY-MM-DDTHH:MM:SSZ`, in ms. Refuses a 31st of June, which Date would move to July. */
export function parseUtcTime(text: string): number {
  const ms = Date.parse(text);
  if (Number.isNaN(ms) || new Date(ms).toISOString() !== text.replace('Z', '.000Z')) malformed('time does not exist');
  return ms;
}
