/**
 * `multipart/related` as a stream (RFC 2387 over RFC 2046 section 5.1.1): nothing but the bytes that may belong to a
 * boundary is ever held back, and nothing is read before it is asked for.
 */
import { randomBytes } from 'node:crypto';
import { errorOf } from '../../errors.ts';

export interface MultipartLimits {
  /** Bytes of one part's body. */
  maxPartBytes: number;
  maxParts: number;
}

export interface Part {
  /** Names in lower case. */
  headers: ReadonlyMap<string, string>;
  /** To be read before the next part is asked for; what is left unread is skipped, and counted all the same. */
  body: AsyncIterable<Uint8Array>;
}

/** Boundary line and headers of one part. Node limits all headers of a request to 16 KiB; a part needs two or three. */
const MAX_HEAD_BYTES = 8 * 1024;
/** Preamble and epilogue are to be ignored (RFC 2046 section 5.1.1), and nobody sends them over HTTP. */
const MAX_IGNORED_BYTES = 64 * 1024;
/** RFC 2046 section 5.1.1: bchars, at most 70, not ending in a space. */
const BOUNDARY = /^[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]$/;
/** RFC 9110 section 5.6.2 */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const PRINTABLE = /^[\t\x20-\x7e]*$/;
const [CR, DASH] = [13, 45];

const invalid = (message: string, options?: ErrorOptions) => errorOf('REQUEST_INVALID', message, options);

/** Throws REQUEST_INVALID unless `boundary` is one of RFC 2046. */
export function parseBoundary(boundary: string | undefined): string {
  if (!boundary || !BOUNDARY.test(boundary)) throw invalid('The boundary parameter is missing or not one of RFC 2046.');
  return boundary;
}

/**
 * Splits `source` into parts. Throws REQUEST_INVALID (malformed, or ended before its final boundary) and TOO_LARGE.
 * Leaving the loop early closes `source`.
 */
export async function* readMultipart(
  source: AsyncIterable<Uint8Array>,
  boundary: string,
  limits: MultipartLimits,
): AsyncGenerator<Part, void, undefined> {
  const delimiter = Buffer.from(`\r\n--${boundary}`, 'latin1');
  const input = source[Symbol.asyncIterator]();
  // The line break that a delimiter begins with is missing before the very first one.
  let buffer: Buffer = Buffer.from('\r\n');

  const read = async (): Promise<boolean> => {
    const next = await input.next().catch(brokenOff);
    if (next.done) return false;
    const chunk = Buffer.from(next.value.buffer, next.value.byteOffset, next.value.byteLength);
    buffer = buffer.length === 0 ? chunk : Buffer.concat([buffer, chunk]);
    return true;
  };
  const readOn = async () => {
    if (!(await read())) throw invalid('The multipart body ends without its final boundary.');
  };

  /** Yields what stands before the next delimiter, but for its first `skip` bytes, and consumes the delimiter. */
  async function* untilDelimiter(maxBytes: number, skip: number): AsyncGenerator<Uint8Array, void, undefined> {
    for (let bytes = 0; ; await readOn()) {
      const found = buffer.indexOf(delimiter);
      const end = found < 0 ? possibleDelimiter(buffer, delimiter) : found;
      const chunk = buffer.subarray(skip, Math.max(skip, end));
      if (found >= 0) buffer = buffer.subarray(found + delimiter.length);
      else if (end >= skip) [buffer, skip] = [buffer.subarray(end), 0];
      bytes += chunk.length;
      if (bytes > maxBytes) throw errorOf('TOO_LARGE', `A part of the body is larger than ${maxBytes} bytes.`);
      if (chunk.length > 0) yield chunk;
      if (found >= 0) return;
    }
  }

  /** Reads the rest of the boundary line and the headers. Leaves the last line break in place: see `untilDelimiter`. */
  const readHead = async (): Promise<ReadonlyMap<string, string>> => {
    let end: number;
    for (; ; await readOn()) {
      end = buffer.indexOf('\r\n\r\n');
      if (end > MAX_HEAD_BYTES || (end < 0 && buffer.length > MAX_HEAD_BYTES))
        throw errorOf('TOO_LARGE', `The headers of a part are larger than ${MAX_HEAD_BYTES} bytes.`);
      if (end >= 0) break;
    }
    const [padding, ...lines] = buffer.toString('latin1', 0, end).split('\r\n');
    buffer = buffer.subarray(end + 2);
    if (padding!.trim() !== '') throw invalid('Other text follows a boundary on its line.');
    return parseHeaders(lines);
  };

  try {
    for await (const _ of untilDelimiter(MAX_IGNORED_BYTES, 0)); // preamble
    for (let parts = 0; ; parts++) {
      while (buffer.length < 2) await readOn();
      if (buffer[0] === DASH && buffer[1] === DASH) break;
      if (parts === limits.maxParts)
        throw errorOf('TOO_LARGE', `The request has more than ${limits.maxParts} parts; send the rest in another.`);
      const headers = await readHead();
      const body = untilDelimiter(limits.maxPartBytes, 2);
      // Without `return`: a consumer that leaves its loop must not end the generator that still has to find the delimiter.
      yield { headers, body: { [Symbol.asyncIterator]: () => ({ next: () => body.next() }) } };
      for await (const _ of body);
    }
    for (let bytes = buffer.length; bytes <= MAX_IGNORED_BYTES; bytes += buffer.length) {
      buffer = Buffer.alloc(0);
      if (!(await read())) return;
    }
    throw errorOf('TOO_LARGE', `More than ${MAX_IGNORED_BYTES} bytes follow the final boundary.`);
  } finally {
    await input.return?.();
  }
}

/** Where a delimiter may begin that the buffer does not hold completely; its length if nowhere. */
function possibleDelimiter(buffer: Buffer, delimiter: Buffer): number {
  const tail = Math.max(0, buffer.length - delimiter.length + 1);
  // A delimiter has one CR, its first byte (bchars has none), so only the last CR of the tail can begin it.
  const at = tail + buffer.subarray(tail).lastIndexOf(CR);
  return at >= tail && buffer.subarray(at).equals(delimiter.subarray(0, buffer.length - at)) ? at : buffer.length;
}

function parseHeaders(lines: readonly string[]): Map<string, string> {
  const headers = new Map<string, string>();
  for (const line of lines) {
    const colon = line.indexOf(':');
    const [name, value] = [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    // Folded lines (RFC 822) begin with a blank and are refused here, as RFC 9112 section 5.2 does.
    if (colon < 1 || !TOKEN.test(name) || !PRINTABLE.test(value)) throw invalid('A part has a malformed header line.');
    if (headers.has(name)) throw invalid('A part repeats a header.');
    headers.set(name, value);
  }
  return headers;
}

/** A body that is one part by itself: same errors, same limit. */
export async function* readSinglePart(
  source: AsyncIterable<Uint8Array>,
  headers: ReadonlyMap<string, string>,
  { maxPartBytes }: MultipartLimits,
): AsyncGenerator<Part, void, undefined> {
  const input = source[Symbol.asyncIterator]();
  async function* counted(): AsyncGenerator<Uint8Array, void, undefined> {
    for (let bytes = 0; ; ) {
      const next = await input.next().catch(brokenOff);
      if (next.done) return;
      bytes += next.value.length;
      if (bytes > maxPartBytes) throw errorOf('TOO_LARGE', `The body is larger than ${maxPartBytes} bytes.`);
      yield next.value;
    }
  }
  const body = counted();
  try {
    yield { headers, body: { [Symbol.asyncIterator]: () => ({ next: () => body.next() }) } };
    for await (const _ of body);
  } finally {
    await input.return?.();
  }
}

const brokenOff = (cause: unknown): never => {
  throw invalid('The request broke off before the end of its body.', { cause });
};

/** 128 random bits: no content that was written before it was drawn contains it. */
export const newBoundary = (): string => randomBytes(16).toString('hex');

export interface OutgoingPart {
  headers: Readonly<Record<string, string>>;
  body: AsyncIterable<Uint8Array>;
}

/** The body of a multipart response: each part is asked for when the one before has been taken. */
export async function* writeMultipart(
  parts: AsyncIterable<OutgoingPart>,
  boundary: string,
): AsyncGenerator<Uint8Array, void, undefined> {
  let lineBreak = '';
  for await (const { headers, body } of parts) {
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    yield Buffer.from(`${lineBreak}--${boundary}\r\n${lines.join('')}\r\n`, 'latin1');
    yield* body;
    lineBreak = '\r\n';
  }
  yield Buffer.from(`${lineBreak}--${boundary}--\r\n`, 'latin1');
}
