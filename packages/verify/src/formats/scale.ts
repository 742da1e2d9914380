/** SCALE (Simple Concatenated Aggregate Little-Endian), as far as dstack's attestations need it. */
import { ByteReader, decodeUtf8, malformed } from './bytes.ts';

/** The least value of each mode: below it a shorter one would do. */
const SHORTEST = [0, 2 ** 6, 2 ** 14];

export class ScaleReader extends ByteReader {
  /** Compact integer: the two low bits of the first byte say how many bytes it has. */
  compact(): number {
    const first = this.uint(1);
    const mode = first & 3;
    if (mode === 3) return malformed('SCALE: integer of more than 30 bits');
    let value = first >> 2;
    if (mode >= 1) value += this.uint(1) * 2 ** 6;
    if (mode === 2) value += this.uint(2) * 2 ** 14;
    return value >= SHORTEST[mode]! ? value : malformed('SCALE: integer not in its shortest form');
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
