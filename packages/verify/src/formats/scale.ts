/** SCALE (Simple Concatenated Aggregate Little-Endian), as far as dstack's attestations need it. */
import { ByteReader, decodeUtf8, malformed } from './bytes.ts';

export class ScaleReader extends ByteReader {
  /** Compact integer: the two low bits of the first byte say how many bytes it has. */
  compact(): number {
    const first = this.uint(1);
    const mode = first & 3;
    if (mode === 0) return first >> 2;
    if (mode === 1) return (first >> 2) + this.uint(1) * 2 ** 6;
    if (mode === 2) return (first >> 2) + this.uint(1) * 2 ** 6 + this.uint(2) * 2 ** 14;
    return malformed('SCALE: integer of more than 30 bits');
  }

  bytes(): Uint8Array {
    return this.take(this.compact());
  }

  string(): string {
    return decodeUtf8(this.bytes());
  }

  /** Every item takes at least one byte, so a hostile count costs no more than the input is long. */
  vector<T>(item: () => T): T[] {
    const count = this.compact();
    if (count > this.left) malformed('SCALE: vector is longer than its input');
    return Array.from({ length: count }, item);
  }

  end(): void {
    if (this.left > 0) malformed('SCALE: bytes after the end');
  }
}
