/**
 * Streaming inflate (RFC 1951), synchronous and with 64 KiB of state, for the deflated data sets of PS3.5 section A.5.
 * node:zlib streams only asynchronously, and its synchronous calls need the whole input and output at once.
 */

/** Base value of length codes 257-285 and of distance codes 0-29, and their extra bits (RFC 1951 section 3.2.5). */
const LENGTH_EXTRA = Uint8Array.from({ length: 29 }, (_, i) => (i < 8 || i === 28 ? 0 : (i >> 2) - 1));
const LENGTH_BASE = Uint16Array.from(LENGTH_EXTRA, (extra, i) =>
  i < 8 ? i + 3 : i === 28 ? 258 : ((4 + (i & 3)) << extra) + 3,
);
const DISTANCE_EXTRA = Uint8Array.from({ length: 30 }, (_, i) => (i < 2 ? 0 : (i >> 1) - 1));
const DISTANCE_BASE = Uint16Array.from(DISTANCE_EXTRA, (extra, i) => (i < 2 ? i + 1 : ((2 + (i & 1)) << extra) + 1));

/** Order of the code lengths of the code length alphabet (section 3.2.7). */
const CODE_LENGTH_ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

const HISTORY = 32_768; // a distance reaches this far back (section 2)
const MAX_BITS = 15; // longest Huffman code (section 3.2.7)

/** A canonical Huffman code: how many codes have each length, and the symbols in the order of their codes. */
interface Code {
  counts: Uint16Array;
  symbols: Uint16Array;
}

export class InflateError extends Error {}

/**
 * Complete codes only, as zlib has it (section 3.2.7): a code of distances or literals may also have none or one symbol
 * of one bit.
 */
function huffman(lengths: Uint8Array, ofCodeLengths = false): Code {
  const counts = new Uint16Array(MAX_BITS + 1);
  for (const length of lengths) counts[length]!++;
  counts[0] = 0;
  const next = new Uint16Array(MAX_BITS + 2);
  let left = 1;
  for (let n = 1; n <= MAX_BITS; n++) {
    left = left * 2 - counts[n]!;
    if (left < 0) throw new InflateError('more codes than their lengths allow');
    next[n + 1] = next[n]! + counts[n]!;
  }
  const longest = Math.max(...lengths);
  if (left > 0 && longest > 0 && (ofCodeLengths || longest > 1))
    throw new InflateError('fewer codes than their lengths ask');
  const symbols = new Uint16Array(lengths.length);
  lengths.forEach((length, symbol) => {
    if (length > 0) symbols[next[length]!++] = symbol;
  });
  return { counts, symbols };
}

/** The fixed code (section 3.2.6). */
const FIXED = {
  literals: huffman(Uint8Array.from({ length: 288 }, (_, i) => (i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8))),
  distances: huffman(new Uint8Array(32).fill(5)),
};

export interface Inflater {
  /** Throws InflateError on what is not deflate, and whatever `emit` throws. */
  push(chunk: Uint8Array): void;
  /** How the stream ended: 'truncated' when its last block is not complete, else the number of bytes after it. */
  end(): 'truncated' | { trailingBytes: number };
}

/** `emit` gets the output in order, as views that are valid only during the call. */
export function createInflater(emit: (block: Uint8Array) => void): Inflater {
  let outcome: 'truncated' | { trailingBytes: number } = 'truncated';
  let chunk: Uint8Array = new Uint8Array(0);
  let pos = 0;
  let hold = 0; // the next `bits` bits of input, least significant first
  let bits = 0;
  let padding = 0; // zero bits that were added after the end of input so that the last codes can be read
  const out = new Uint8Array(2 * HISTORY);
  let written = 0;
  let flushed = 0;
  let total = 0;

  const flush = () => {
    if (written > flushed) emit(out.subarray(flushed, written));
    if (written === out.length) {
      out.copyWithin(0, HISTORY);
      written = HISTORY;
    }
    flushed = written;
  };
  const put = (byte: number) => {
    out[written++] = byte;
    total++;
    if (written === out.length) flush();
  };

  const take = (n: number): number => {
    const value = hold & ((1 << n) - 1);
    hold >>>= n;
    bits -= n;
    return value;
  };
  /** Needs MAX_BITS bits in `hold`. */
  const symbol = ({ counts, symbols }: Code): number => {
    for (let n = 1, code = 0, first = 0, index = 0; n <= MAX_BITS; n++) {
      code |= (hold >>> (n - 1)) & 1;
      const count = counts[n]!;
      if (code - first < count) {
        take(n);
        return symbols[index + code - first]!;
      }
      index += count;
      first = (first + count) << 1;
      code <<= 1;
    }
    throw new InflateError('a code that stands for nothing');
  };

  /** Whether `hold` has n bits, after taking in what the chunk still has. */
  const has = (n: number): boolean => {
    for (; bits < 24 && pos < chunk.length; bits += 8) hold |= chunk[pos++]! << bits;
    return bits >= n;
  };
  /** Waits until `hold` has n bits, n ≤ 16. */
  function* need(n: number): Generator<void, void, Uint8Array | null> {
    while (!has(n)) {
      const next = yield;
      if (next) {
        chunk = next;
        pos = 0;
      } else {
        bits += 8;
        padding += 8;
        if (padding > 64) throw new InflateError('the stream ends inside a block');
      }
    }
  }

  function* codes(literals: Code, distances: Code): Generator<void, void, Uint8Array | null> {
    for (;;) {
      if (!has(MAX_BITS)) yield* need(MAX_BITS);
      const literal = symbol(literals);
      if (literal < 256) {
        put(literal);
        continue;
      }
      if (literal === 256) return;
      if (literal > 285) throw new InflateError('a length code that stands for nothing');
      if (!has(5)) yield* need(5);
      let length = LENGTH_BASE[literal - 257]! + take(LENGTH_EXTRA[literal - 257]!);
      if (!has(MAX_BITS)) yield* need(MAX_BITS);
      const code = symbol(distances);
      if (code > 29) throw new InflateError('a distance code that stands for nothing');
      if (!has(13)) yield* need(13);
      const distance = DISTANCE_BASE[code]! + take(DISTANCE_EXTRA[code]!);
      if (distance > total) throw new InflateError('a distance before the start');
      for (; length > 0; length--) put(out[written - distance]!);
    }
  }

  function* dynamicCodes(): Generator<void, { literals: Code; distances: Code }, Uint8Array | null> {
    yield* need(14);
    const literalCount = take(5) + 257;
    const distanceCount = take(5) + 1;
    const codeLengthCount = take(4) + 4;
    if (literalCount > 286 || distanceCount > 30) throw new InflateError('more symbols than there are');
    const codeLengths = new Uint8Array(19);
    for (let i = 0; i < codeLengthCount; i++) {
      yield* need(3);
      codeLengths[CODE_LENGTH_ORDER[i]!] = take(3);
    }
    const code = huffman(codeLengths, true);
    const lengths = new Uint8Array(literalCount + distanceCount);
    for (let i = 0; i < lengths.length; ) {
      yield* need(MAX_BITS);
      const length = symbol(code);
      if (length < 16) {
        lengths[i++] = length;
        continue;
      }
      if (length === 16 && i === 0) throw new InflateError('a repeat of nothing');
      yield* need(7);
      const count = length === 16 ? 3 + take(2) : length === 17 ? 3 + take(3) : 11 + take(7);
      if (i + count > lengths.length) throw new InflateError('more code lengths than announced');
      lengths.fill(length === 16 ? lengths[i - 1]! : 0, i, i + count);
      i += count;
    }
    if (lengths[256] === 0) throw new InflateError('a block that cannot end');
    return {
      literals: huffman(lengths.subarray(0, literalCount)),
      distances: huffman(lengths.subarray(literalCount)),
    };
  }

  function* stored(): Generator<void, void, Uint8Array | null> {
    take(bits & 7);
    yield* need(16);
    let length = take(16);
    yield* need(16);
    if ((take(16) ^ 0xffff) !== length) throw new InflateError('a stored block whose lengths differ');
    for (; length > 0; length--) {
      if (!has(8)) yield* need(8);
      put(take(8));
    }
  }

  function* blocks(): Generator<void, void, Uint8Array | null> {
    for (let last = 0; last === 0; ) {
      yield* need(3);
      last = take(1);
      const type = take(2);
      if (type === 0) yield* stored();
      else if (type === 1) yield* codes(FIXED.literals, FIXED.distances);
      else if (type === 2) {
        const { literals, distances } = yield* dynamicCodes();
        yield* codes(literals, distances);
      } else throw new InflateError('a block type that does not exist');
      // Only what was really there may have been used.
      if (bits < padding) throw new InflateError('the stream ends inside a block');
    }
    flush();
    let trailingBytes = (bits - padding) >> 3;
    for (;;) {
      trailingBytes += chunk.length - pos;
      const next = yield;
      if (!next) break;
      chunk = next;
      pos = 0;
    }
    outcome = { trailingBytes };
  }

  const run = blocks();
  run.next();
  return {
    push(bytes) {
      if (bytes.length > 0) run.next(bytes);
      flush();
    },
    end() {
      try {
        // Each null stands for "no more input": codes that were waiting for it read zero padding, at most 8 bytes.
        for (let i = 0; i < 10; i++) if (run.next(null).done) break;
      } catch (error) {
        if (!(error instanceof InflateError)) throw error;
        return 'truncated';
      }
      return outcome;
    },
  };
}
