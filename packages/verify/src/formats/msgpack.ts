/**
 * MessagePack (github.com/msgpack/msgpack, spec.md), as far as dstack's attestations need it: maps with text keys, arrays,
 * text, binary, unsigned integers, booleans and nil. Each value has to be in its shortest form, so that nothing can be
 * changed unseen; floats, extensions and negative numbers are refused.
 */
import { decodeUtf8, malformed } from './bytes.ts';

const MAX_DEPTH = 16; // dstack's have 6

/** Reads one value that fills its input. Maps become Maps, binary becomes Uint8Array. Throws MalformedError. */
export function parseMsgpack(bytes: Uint8Array): unknown {
  const reader = new MsgpackReader(bytes);
  const value = reader.value(0);
  reader.end();
  return value;
}

class MsgpackReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  end(): void {
    if (this.#at !== this.#bytes.length) malformed('MessagePack: bytes after the end');
  }

  value(depth: number): unknown {
    if (depth > MAX_DEPTH) malformed('MessagePack: nested too deeply');
    const [type] = this.#take(1) as unknown as [number];
    if (type < 0x80) return type; // positive fixint
    if (type < 0x90) return this.#map(type & 0x0f, depth);
    if (type < 0xa0) return this.#array(type & 0x0f, depth);
    if (type < 0xc0) return decodeUtf8(this.#take(type & 0x1f));
    switch (type) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xc4: // bin 8
        return this.#take(this.#uint(1, 0));
      case 0xc5: // bin 16
        return this.#take(this.#uint(2, 0x100));
      case 0xc6: // bin 32
        return this.#take(this.#uint(4, 0x10000));
      case 0xcc: // uint 8
        return this.#uint(1, 0x80);
      case 0xcd: // uint 16
        return this.#uint(2, 0x100);
      case 0xce: // uint 32
        return this.#uint(4, 0x10000);
      case 0xd9: // str 8
        return decodeUtf8(this.#take(this.#uint(1, 0x20)));
      case 0xda: // str 16
        return decodeUtf8(this.#take(this.#uint(2, 0x100)));
      case 0xdb: // str 32
        return decodeUtf8(this.#take(this.#uint(4, 0x10000)));
      case 0xdc: // array 16
        return this.#array(this.#uint(2, 0x10), depth);
      case 0xdd: // array 32
        return this.#array(this.#uint(4, 0x10000), depth);
      case 0xde: // map 16
        return this.#map(this.#uint(2, 0x10), depth);
      case 0xdf: // map 32
        return this.#map(this.#uint(4, 0x10000), depth);
      default:
        return malformed(`MessagePack: type ${type.toString(16)} is not expected`);
    }
  }

  #take(length: number): Uint8Array {
    if (length > this.#bytes.length - this.#at) malformed('MessagePack: truncated');
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  /** Big-endian. Numbers below `min` have a shorter form. */
  #uint(length: 1 | 2 | 4, min: number): number {
    const value = this.#take(length).reduce((sum, byte) => sum * 256 + byte, 0);
    return value < min ? malformed('MessagePack: number is not in its shortest form') : value;
  }

  /** Every item takes at least one byte, so a hostile count costs no more than the input is long. */
  #bounded(count: number): number {
    return count > this.#bytes.length - this.#at ? malformed('MessagePack: truncated') : count;
  }

  #array(count: number, depth: number): unknown[] {
    return Array.from({ length: this.#bounded(count) }, () => this.value(depth + 1));
  }

  #map(count: number, depth: number): Map<string, unknown> {
    const map = new Map<string, unknown>();
    for (let left = this.#bounded(count); left > 0; left--) {
      const key = this.value(depth + 1);
      if (typeof key !== 'string' || map.has(key)) return malformed('MessagePack: key is not text, or occurs twice');
      map.set(key, this.value(depth + 1));
    }
    return map;
  }
}
