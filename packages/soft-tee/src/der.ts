/** DER (ITU-T X.690) writer for the few structures that the X.509 library has no class for. */

type Der = Buffer<ArrayBuffer>;

function tlv(tag: number, ...parts: Uint8Array[]): Der {
  const content = Buffer.concat(parts);
  const n = content.length;
  if (n > 0xffff) throw new RangeError(`DER content of ${n} bytes`);
  // X.690 8.1.3: short form below 128, then the count of length bytes and the length itself.
  const length = n < 0x80 ? [n] : n < 0x100 ? [0x81, n] : [0x82, n >> 8, n & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), content]);
}

export const sequence = (...parts: Uint8Array[]): Der => tlv(0x30, ...parts);
export const octetString = (bytes: Uint8Array): Der => tlv(0x04, bytes);
export const enumerated = (value: number): Der => tlv(0x0a, Buffer.from([value]));
export const boolean = (value: boolean): Der => tlv(0x01, Buffer.from([value ? 0xff : 0]));

/** A whole number from 0 to 2^53 - 1; a leading zero keeps it positive (X.690 8.3). */
export function integer(value: number): Der {
  const hex = value.toString(16);
  const bytes = Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex');
  return tlv(0x02, bytes[0]! & 0x80 ? Buffer.concat([Buffer.from([0]), bytes]) : bytes);
}

/** `oid` in dotted form; each arc after the first two in base 128 (X.690 8.19). */
export function objectIdentifier(oid: string): Der {
  const [first, second, ...arcs] = oid.split('.').map(Number);
  const bytes = [first! * 40 + second!];
  for (const arc of arcs) {
    const digits = [arc & 0x7f];
    for (let rest = arc >>> 7; rest > 0; rest >>>= 7) digits.unshift((rest & 0x7f) | 0x80);
    bytes.push(...digits);
  }
  return tlv(0x06, Buffer.from(bytes));
}
