/**
 * Bytes as they come. A generator reads from it with `take`, and `yield*`s `gather` or `skip` when it may have to wait:
 * it then yields, and is resumed when there is more, or when the end is known.
 */
export type Reading<T> = Generator<void, T, void>;

export class Input {
  /** Offset of the next byte. */
  at = 0;
  private chunk = new Uint8Array(0);
  private pos = 0;
  private ended = false;

  /** The next bytes; those before are used up. They are never kept. */
  feed(bytes: Uint8Array): void {
    // Not a Buffer, whose slice() does not copy.
    this.chunk = new Uint8Array(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.byteLength);
    this.pos = 0;
  }

  end(): void {
    this.feed(new Uint8Array(0));
    this.ended = true;
  }

  /** A view of the next n bytes, valid until the reader yields; null when they are not all here. */
  take(n: number): Uint8Array | null {
    if (this.chunk.length - this.pos < n) return null;
    this.at += n;
    this.pos += n;
    return this.chunk.subarray(this.pos - n, this.pos);
  }

  /** What is here; it counts as read. */
  rest(): Uint8Array {
    return this.take(this.chunk.length - this.pos)!;
  }

  /** The next n bytes, put together; fewer only at the end. `at` has moved by as many. */
  *gather(n: number): Reading<Uint8Array> {
    const whole = new Uint8Array(n);
    for (let have = 0; ; ) {
      const part = this.take(Math.min(n - have, this.chunk.length - this.pos))!;
      whole.set(part, have);
      have += part.length;
      if (have === n || this.ended) return whole.subarray(0, have);
      yield;
    }
  }

  /** Passes over n bytes and returns how many there were: fewer only at the end. `seen` gets views of them. */
  *skip(n: number, seen?: (bytes: Uint8Array) => void): Reading<number> {
    for (let done = 0; ; ) {
      const part = this.take(Math.min(n - done, this.chunk.length - this.pos))!;
      if (part.length > 0) seen?.(part);
      done += part.length;
      if (done === n || this.ended) return done;
      yield;
    }
  }
}
