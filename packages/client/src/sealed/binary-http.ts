/**
 * Binary HTTP messages (RFC 9292): what is inside a sealed message. Written with indeterminate length, read in both forms.
 *
 * ```
 * request    framing (i) = 0 | 2, method, scheme, authority, path, fields, content, fields of the trailer, zeros
 * response   framing (i) = 1 | 3, { status (i) = 100..199, fields } ..., status (i), fields, content, trailer, zeros
 * fields     known: length (i), lines ...      indeterminate: lines ..., 0      line: name, value
 * content    known: length (i), bytes          indeterminate: { length (i) > 0, bytes } ..., 0
 * ```
 * A string is its length (i) and its bytes. Empty parts at the end may be left out (section 3.8).
 */
import { concat, invalid, StreamReader, varint } from './stream-reader.ts';

export type HeaderFields = [name: string, value: string][];

export interface RequestHead {
  method: string;
  /** Host and port. */
  authority: string;
  /** Path and query. */
  path: string;
  /** Names in lower case. Values are strings of bytes, as in `fetch`. */
  headers: HeaderFields;
}

export interface ResponseHead {
  status: number;
  headers: HeaderFields;
}

/** Throws SEALED_INVALID where it is cut off, and ends only when the message is whole. To be read once. */
export type MessageBody = AsyncGenerator<Uint8Array>;

/** Control data and header fields, and again the trailer: what the door allows for HTTP/1.1 and HTTP/2. */
const MAX_HEAD_BYTES = 16 * 1024;
const PIECE_BYTES = 64 * 1024;

const FRAMING = { request: [0, 2], response: [1, 3] } as const;
/** RFC 9113 section 8.2.2: these belong to one hop. `expect`: RFC 9458 section 5.1. */
const FORBIDDEN = ['connection', 'expect', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade'];
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/; // RFC 9110 section 5.6.2
const NAME = /^[!#$%&'*+.^_`|~0-9a-z-]+$/; // RFC 9113 section 8.2.1: lower case, and no pseudo-field
const VALUE = /^(?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?$/; // RFC 9110 section 5.5
const AUTHORITY = /^[0-9A-Za-z.:[\]_-]+$/; // RFC 3986 section 3.2, without user information
const PATH = /^\/[!-~]*$/;

/** A whole request. Throws SEALED_INVALID for a head that no reader would take. */
export async function* writeRequest(head: RequestHead, body?: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const { method, authority, path, headers } = checkedRequest(head);
  const control = [method, 'https', authority, path].flatMap(string);
  yield concat(varint(FRAMING.request[1]), ...control, ...fields(headers));
  yield* writeBody(body);
}

/** A whole response. Throws SEALED_INVALID for a head that no reader would take. */
export async function* writeResponse(head: ResponseHead, body?: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const { status, headers } = checkedResponse(head);
  yield concat(varint(FRAMING.response[1]), varint(status), ...fields(headers));
  yield* writeBody(body);
}

async function* writeBody(body: AsyncIterable<Uint8Array> | undefined): AsyncGenerator<Uint8Array> {
  for await (const piece of body ?? []) if (piece.length > 0) yield concat(varint(piece.length), piece);
  yield Uint8Array.of(0, 0); // end of the content, and no trailer
}

const fields = (headers: HeaderFields): Uint8Array[] => [...headers.flat().flatMap(string), Uint8Array.of(0)];
const string = (text: string): Uint8Array[] => [
  varint(text.length),
  Uint8Array.from(text, (char) => char.charCodeAt(0)),
];

/** Reads the head; the body follows as it is asked for. Throws SEALED_INVALID. */
export async function readRequest(message: AsyncIterable<Uint8Array>): Promise<RequestHead & { body: MessageBody }> {
  const reader = new StreamReader(message);
  reader.allowance = MAX_HEAD_BYTES;
  const indeterminate = await readFraming(reader, FRAMING.request);
  const [method, scheme, authority, path] = [
    await readString(reader),
    await readString(reader),
    await readString(reader),
    await readString(reader),
  ];
  if (scheme !== 'https') invalid('A sealed request is for https.');
  const headers = await readFields(reader, indeterminate);
  const head = checkedRequest({ method, authority, path, headers });
  const declared = headers.filter(([name]) => name === 'content-length').map(([, value]) => value);
  return { ...head, body: readBody(reader, indeterminate, declared) };
}

/** Reads the head; the body follows as it is asked for. Throws SEALED_INVALID. */
export async function readResponse(message: AsyncIterable<Uint8Array>): Promise<ResponseHead & { body: MessageBody }> {
  const reader = new StreamReader(message);
  reader.allowance = MAX_HEAD_BYTES;
  const indeterminate = await readFraming(reader, FRAMING.response);
  for (;;) {
    const status = await reader.varint();
    const headers = await readFields(reader, indeterminate);
    if (status < 100 || status > 199)
      return { ...checkedResponse({ status, headers }), body: readBody(reader, indeterminate) };
  }
}

async function readFraming(reader: StreamReader, [known, indeterminate]: readonly [number, number]): Promise<boolean> {
  const framing = await reader.varint();
  if (framing !== known && framing !== indeterminate) invalid('A sealed message is of another kind.');
  return framing === indeterminate;
}

const readString = async (reader: StreamReader): Promise<string> =>
  String.fromCharCode(...(await reader.exactly(await reader.varint()))); // at most MAX_HEAD_BYTES arguments

async function readFields(reader: StreamReader, indeterminate: boolean): Promise<HeaderFields> {
  const found: HeaderFields = [];
  if (await reader.atEnd()) return found;
  const end = indeterminate ? null : (await reader.varint()) + reader.offset;
  while (reader.offset !== end) {
    const name = await readString(reader);
    if (end === null && name === '') return found;
    found.push([name, await readString(reader)]);
    if (end !== null && reader.offset > end) invalid('A header section of a sealed message is longer than it says.');
  }
  return found;
}

async function* readBody(reader: StreamReader, indeterminate: boolean, declared: readonly string[] = []): MessageBody {
  let bytes = 0;
  reader.allowance = Number.POSITIVE_INFINITY; // as long as the sender likes: the door bounds its time
  if (!(await reader.atEnd()))
    for (;;) {
      let left = await reader.varint();
      const last = !indeterminate || left === 0;
      bytes += left;
      while (left > 0) {
        const piece = await reader.some(Math.min(left, PIECE_BYTES));
        if (piece.length === 0) invalid('The body of a sealed message is cut off.');
        left -= piece.length;
        yield piece;
      }
      if (last) break;
    }
  if (declared.some((length) => length !== String(bytes)))
    invalid('The body of a sealed message is not as long as it says.'); // RFC 9113 section 8.1.1
  reader.allowance = MAX_HEAD_BYTES;
  for (const field of await readFields(reader, indeterminate)) checkField(field); // a trailer means nothing here
  reader.allowance = Number.POSITIVE_INFINITY;
  for (let padding = await reader.some(PIECE_BYTES); padding.length > 0; padding = await reader.some(PIECE_BYTES))
    if (padding.some((byte) => byte !== 0)) invalid('A sealed message has something after its end.');
}

function checkedRequest(head: RequestHead): RequestHead {
  if (!TOKEN.test(head.method)) invalid('The method of a sealed request is none.');
  if (!AUTHORITY.test(head.authority)) invalid('The authority of a sealed request is none.');
  if (!PATH.test(head.path)) invalid('The path of a sealed request is none.');
  for (const field of head.headers) checkField(field);
  return head;
}

function checkedResponse(head: ResponseHead): ResponseHead {
  if (head.status < 200 || head.status > 599) invalid('The status of a sealed response is none.');
  for (const field of head.headers) checkField(field);
  return head;
}

function checkField([name, value]: HeaderFields[number]): void {
  if (!NAME.test(name) || FORBIDDEN.includes(name)) invalid('A sealed message has a header field that cannot be.');
  if (!VALUE.test(value)) invalid('A header field of a sealed message has a value that cannot be.');
}
