/** Takes exact pieces off a stream of bytes that somebody else writes: bounded, and with an end that cannot be missed. */
import { RejectedError } from '@abaton/verify';
import type { ClientCode } from '../codes.ts';

/** A sealed message was changed, cut off, or does not follow its format. `message` holds names and sizes only. */
export function invalid(message: string): never {
  throw new RejectedError<ClientCode>('SEALED_INVALID', message);
}

export class StreamReader {
  readonly #source: AsyncIterator<Uint8Array>;
  #held: Uint8Array = new Uint8Array();
  #offset = 0;
  /** Bytes that may still be taken; the owner sets it anew for each part of a message. */
  allowance = Number.POSITIVE_INFINITY;

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** Bytes taken so far. */
  get offset(): number {
    return this.#offset;
  }

  async atEnd(): Promise<boolean> {
    while (this.#held.length === 0) {
      const { done, value } = await this.#source.next();
      if (done) return true;
      this.#held = value;
    }
    return false;
  }

  /** At least one byte and at most `maxBytes`, as they come; none at the end. */
  async some(maxBytes: number): Promise<Uint8Array> {
    if (await this.atEnd()) return new Uint8Array();
    const length = Math.min(maxBytes, this.#held.length);
    if (length > this.allowance) invalid('A part of a sealed message is too long.');
    const taken = this.#held.subarray(0, length);
    this.#held = this.#held.subarray(length);
    this.#offset += length;
    this.allowance -= length;
    return taken;
  }

  /** Throws SEALED_INVALID when the stream ends before. Nothing is allocated beyond the allowance. */
  async exactly(length: number): Promise<Uint8Array> {
    if (length > this.allowance) invalid('A part of a sealed message is too long.');
    if (this.#held.length >= length) return length === 0 ? new Uint8Array() : this.some(length);
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length; ) {
      const part = await this.some(length - at);
      if (part.length === 0) invalid('A sealed message is cut off.');
      bytes.set(part, at);
      at += part.length;
    }
    return bytes;
  }

  /** All that is left. Throws SEALED_INVALID when that is more than `maxBytes`. */
  async rest(maxBytes: number): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    let length = 0;
    for (let part = await this.some(maxBytes); part.length > 0; part = await this.some(maxBytes)) {
      length += part.length;
      if (length > maxBytes) invalid('A part of a sealed message is too long.');
      parts.push(part);
    }
    return concat(...parts);
  }

  /** RFC 9000 section 16: the top two bits of the first byte say whether 1, 2, 4 or 8 bytes hold the number. */
  async varint(): Promise<number> {
    const [first] = await this.exactly(1);
    let value = first! & 0x3f;
    for (const byte of await this.exactly((1 << (first! >> 6)) - 1)) value = value * 256 + byte;
    return Number.isSafeInteger(value) ? value : invalid('A length in a sealed message is too large.');
  }

  /** Lets the source go, unless it has ended. */
  async cancel(): Promise<void> {
    await this.#source.return?.();
  }
}

/** RFC 9000 section 16, in the fewest bytes; up to 2^30 - 1, which nothing here comes near. */
export function varint(value: number): Uint8Array {
  if (value < 0x40) return Uint8Array.of(value);
  if (value < 0x4000) return Uint8Array.of(0x40 | (value >> 8), value);
  if (value < 0x40000000) return Uint8Array.of(0x80 | (value >> 24), value >> 16, value >> 8, value);
  throw new RangeError('varint');
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
