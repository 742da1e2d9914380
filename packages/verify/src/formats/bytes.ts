/** Bytes and their written forms. Every reader here accepts one form only, so that nothing can be changed unseen. */
import { equalBytes } from '@noble/curves/utils.js';
import { bytesToHex, concatBytes, hexToBytes, utf8ToBytes } from '@noble/hashes/utils.js';

export { bytesToHex, concatBytes, equalBytes, hexToBytes, utf8ToBytes };

/** Input does not follow its format. The step that asked for the reading turns it into its own verification code. */
export class MalformedError extends Error {}

export function malformed(message: string): never {
  throw new MalformedError(message);
}

/** RFC 4648 section 4, canonical: no white space, padding present, unused bits zero. */
export function decodeBase64(text: string): Uint8Array {
  try {
    const bytes = Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
    if (encodeBase64(bytes) === text) return bytes;
  } catch {} // atob refuses foreign characters
  return malformed('base64 is not canonical');
}

/** Chunks, since an argument list of a whole certificate store would overflow the stack. */
export function encodeBase64(bytes: Uint8Array): string {
  let text = '';
  for (let at = 0; at < bytes.length; at += 0x1000) text += String.fromCharCode(...bytes.subarray(at, at + 0x1000));
  return btoa(text);
}

/** Strict UTF-8; a byte order mark stays in the text. */
export function decodeUtf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return malformed('text is not UTF-8');
  }
}

export const isZero = (bytes: Uint8Array): boolean => bytes.every((byte) => byte === 0);

/** Takes little-endian fields off the front. Throws MalformedError where the input is too short. */
export class ByteReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get offset(): number {
    return this.#at;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  take(length: number): Uint8Array {
    if (length > this.left) malformed(`${length} bytes expected at offset ${this.#at}, ${this.left} are left`);
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  uint(length: 1 | 2 | 3 | 4): number {
    return this.take(length).reduceRight((value, byte) => value * 256 + byte, 0);
  }

  rest(): Uint8Array {
    return this.take(this.left);
  }
}
