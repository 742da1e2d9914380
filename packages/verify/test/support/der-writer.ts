/** Writes DER, independently of the reader under test. */
export const tlv = (tag: number, ...parts: Uint8Array[]): Buffer => {
  const value = Buffer.concat(parts);
  const { length } = value;
  const head = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...head]), value]);
};

export const sequence = (...parts: Uint8Array[]) => tlv(0x30, ...parts);
export const octets = (value: Uint8Array) => tlv(0x04, value);
export const bits = (value: Uint8Array, unused = 0) => tlv(0x03, Buffer.from([unused]), value);
export const TRUE = tlv(0x01, Buffer.from([0xff]));
export const context = (number: number, ...parts: Uint8Array[]) => tlv(0xa0 + number, ...parts);
export const utf8 = (text: string) => tlv(0x0c, Buffer.from(text));

export const integer = (value: number | Uint8Array) => {
  const bytes = typeof value === 'number' ? Buffer.from([value >> 8, value & 0xff]) : Buffer.from(value);
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start++;
  const short = bytes.subarray(start);
  return tlv(0x02, short[0]! >= 0x80 ? Buffer.concat([Buffer.from([0]), short]) : short);
};

export const oid = (dotted: string) => {
  const [first, second, ...rest] = dotted.split('.').map(Number);
  const octetsOf = (arc: number): number[] =>
    arc < 0x80 ? [arc] : [...octetsOf(Math.floor(arc / 128)).map((octet) => octet | 0x80), arc & 0x7f];
  return tlv(0x06, Buffer.from([first! * 40 + second!, ...rest.flatMap(octetsOf)]));
};

/** UTCTime `YYMMDDHHMMSSZ`. */
export const utcTime = (ms: number) =>
  tlv(0x17, Buffer.from(`${new Date(ms).toISOString().replace(/[-:T]/g, '').slice(2, 14)}Z`));
