/** RFC 2046 section 5.1 (the syntax), RFC 2387 (multipart/related). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseAccept, parseMediaType } from '../../src/http/dicomweb/media-types.ts';
import {
  type MultipartLimits,
  newBoundary,
  parseBoundary,
  readMultipart,
  writeMultipart,
} from '../../src/http/dicomweb/multipart.ts';

const limits: MultipartLimits = { maxPartBytes: 1 << 20, maxParts: 100 };
const runs = { numRuns: process.env.SLOW ? 1000 : 10 };

async function* chunked(bytes: Uint8Array, sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = sizes[i % sizes.length]!;
    yield bytes.subarray(at, at + size);
    at += size;
  }
}

async function collect(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(Uint8Array.from(chunk));
  return Buffer.concat(chunks);
}

async function parse(
  text: string | Uint8Array,
  boundary: string,
  sizes: readonly number[] = [1 << 16],
  bounds = limits,
) {
  const parts: { headers: Record<string, string>; body: string }[] = [];
  for await (const part of readMultipart(chunked(Buffer.from(text as string, 'latin1'), sizes), boundary, bounds))
    parts.push({ headers: Object.fromEntries(part.headers), body: (await collect(part.body)).toString('latin1') });
  return parts;
}

// RFC 2046 section 5.1.1, the "very simple multipart message", with its preamble, its epilogue and CRLF line ends.
const EXAMPLE = [
  'This is the preamble.  It is to be ignored, though it',
  'is a handy place for composition agents to include an',
  'explanatory note to non-MIME conformant readers.',
  '',
  '--simple boundary',
  '',
  'This is implicitly typed plain US-ASCII text.',
  'It does NOT end with a linebreak.',
  '--simple boundary',
  'Content-type: text/plain; charset=us-ascii',
  '',
  'This is explicitly typed plain US-ASCII text.',
  'It DOES end with a linebreak.',
  '',
  '--simple boundary--',
  '',
  'This is the epilogue.  It is also to be ignored.',
].join('\r\n');

test('the example of RFC 2046, in chunks of every size', async () => {
  for (let size = 1; size <= 90; size++)
    assert.deepEqual(await parse(EXAMPLE, 'simple boundary', [size]), [
      { headers: {}, body: 'This is implicitly typed plain US-ASCII text.\r\nIt does NOT end with a linebreak.' },
      {
        headers: { 'content-type': 'text/plain; charset=us-ascii' },
        body: 'This is explicitly typed plain US-ASCII text.\r\nIt DOES end with a linebreak.\r\n',
      },
    ]);
});

test('any bodies, in any chunks, come out as they went in', async () => {
  // Bodies made of what a delimiter is made of: near misses everywhere.
  const piece = fc.constantFrom(
    '\r',
    '\n',
    '\r\n',
    '\r\n-',
    '\r\n--',
    '\r\n--b',
    '\r\n--bou',
    '--bound',
    '-',
    'x',
    '\0',
    '\xff',
  );
  const body = fc.array(piece, { maxLength: 40 }).map((pieces) => pieces.join(''));
  const property = fc.asyncProperty(
    fc.array(body, { minLength: 1, maxLength: 5 }),
    fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 20 }),
    async (bodies, sizes) => {
      const parts = bodies.map((text) => ({
        headers: { 'Content-Type': 'application/dicom' },
        body: chunked(Buffer.from(text, 'latin1'), [7]),
      }));
      const message = await collect(
        writeMultipart(
          (async function* () {
            yield* parts;
          })(),
          'boundary',
        ),
      );
      assert.deepEqual(
        await parse(message, 'boundary', sizes),
        bodies.map((text) => ({ headers: { 'content-type': 'application/dicom' }, body: text })),
      );
      // The negative twin: cut anywhere, it is an error and never a shorter message.
      const end = message.length - 3;
      for (const at of [0, Math.floor(end / 3), Math.floor(end / 2), end])
        await assert.rejects(parse(message.subarray(0, at), 'boundary', sizes), { code: 'REQUEST_INVALID' });
    },
  );
  await fc.assert(property, { ...runs, verbose: 1 });
});

test('padding after a boundary, a part without headers, a part without a body', async () => {
  assert.deepEqual(await parse('--b \t\r\nA: 1\r\n\r\nx\r\n--b\r\n\r\ny\r\n--b\r\nC: 3\r\n\r\n--b--', 'b'), [
    { headers: { a: '1' }, body: 'x' },
    { headers: {}, body: 'y' },
    { headers: { c: '3' }, body: '' },
  ]);
  assert.deepEqual(await parse('--b--', 'b'), []);
});

test('what is malformed is refused', async () => {
  const refused: [name: string, message: string][] = [
    ['empty', ''],
    ['no boundary', 'hello'],
    ['bare line feeds', '--b\n\nx\n--b--\n'],
    ['text after a boundary', '--bogus\r\n\r\nx\r\n--b--'],
    ['header without a colon', '--b\r\nfoo\r\n\r\nx\r\n--b--'],
    ['header with a space in its name', '--b\r\nfoo : 1\r\n\r\nx\r\n--b--'],
    ['folded header', '--b\r\nfoo: 1\r\n  2\r\n\r\nx\r\n--b--'],
    ['control character in a header', '--b\r\nfoo: \x00\r\n\r\nx\r\n--b--'],
    ['bare line feed in a header', '--b\r\nfoo: 1\nbar: 2\r\n\r\nx\r\n--b--'],
    ['repeated header', '--b\r\nfoo: 1\r\nFOO: 2\r\n\r\nx\r\n--b--'],
    ['no final boundary', '--b\r\n\r\nx\r\n--b\r\n'],
  ];
  for (const [name, message] of refused)
    for (const size of [1, 5, 1000])
      await assert.rejects(parse(message, 'b', [size]), { code: 'REQUEST_INVALID' }, name);
  for (const boundary of [undefined, '', ' ', 'a'.repeat(71), 'ü', 'a\r\nb', 'ends in space '])
    assert.throws(() => parseBoundary(boundary), { code: 'REQUEST_INVALID' });
  assert.equal(parseBoundary(newBoundary()).length, 32);
});

test('each limit holds', async () => {
  const tooLarge = { code: 'TOO_LARGE' };
  const body = `--b\r\n\r\n${'x'.repeat(1000)}\r\n--b--`;
  assert.equal((await parse(body, 'b', [10], { ...limits, maxPartBytes: 1000 }))[0]!.body.length, 1000);
  await assert.rejects(parse(body, 'b', [10], { ...limits, maxPartBytes: 999 }), tooLarge);
  await assert.rejects(parse(`--b\r\n\r\nx\r\n--b\r\n\r\ny\r\n--b--`, 'b', [10], { ...limits, maxParts: 1 }), tooLarge);
  await assert.rejects(parse(`--b\r\nA: ${'x'.repeat(9000)}\r\n\r\nx\r\n--b--`, 'b'), tooLarge);
  await assert.rejects(parse('y'.repeat(70_000), 'b'), tooLarge);
  await assert.rejects(parse(`--b\r\n\r\nx\r\n--b--${'z'.repeat(70_000)}`, 'b'), tooLarge);
});

test('a body that is left unread is skipped, and still counted', async () => {
  const message = Buffer.from(`--b\r\n\r\n${'x'.repeat(1000)}\r\n--b\r\nN: 2\r\n\r\ny\r\n--b--`);
  const seen: string[] = [];
  for await (const part of readMultipart(chunked(message, [50]), 'b', limits)) {
    seen.push(part.headers.get('n') ?? '1');
    for await (const _ of part.body) break;
  }
  assert.deepEqual(seen, ['1', '2']);
  const skip = async () => {
    for await (const _ of readMultipart(chunked(message, [50]), 'b', { ...limits, maxPartBytes: 999 }));
  };
  await assert.rejects(skip, { code: 'TOO_LARGE' });
});

test('nothing is read before it is asked for, and leaving early closes the source', async () => {
  let read = 0;
  let closed = false;
  async function* source() {
    try {
      yield Buffer.from('--b\r\n\r\n');
      for (; read < 1000; read++) yield Buffer.alloc(100, 'x');
    } finally {
      closed = true;
    }
  }
  for await (const part of readMultipart(source(), 'b', limits)) {
    for await (const _ of part.body) break;
    assert.ok(read <= 1, `${read} chunks were read ahead`);
    break;
  }
  assert.ok(closed);
});

test('a source that breaks off is named as such', async () => {
  async function* source() {
    yield Buffer.from('--b\r\n\r\nxxx');
    throw new Error('aborted');
  }
  const read = async () => {
    for await (const part of readMultipart(source(), 'b', limits)) await collect(part.body);
  };
  await assert.rejects(read, { code: 'REQUEST_INVALID' });
});

test('near misses cost the same per byte, however the chunks fall', { timeout: 60_000 }, async () => {
  const boundary = 'b'.repeat(70);
  const near = `\r\n--${'b'.repeat(69)}`;
  for (const [bytes, size] of [
    [64 << 10, 1],
    [8 << 20, 1 << 16],
    [8 << 20, 8 << 20],
  ] as const) {
    const content = near.repeat(bytes / near.length);
    const bounds = { ...limits, maxPartBytes: content.length };
    const [part] = await parse(`--${boundary}\r\n\r\n${content}\r\n--${boundary}--`, boundary, [size], bounds);
    assert.equal(part!.body.length, content.length);
  }
});

test('media types and Accept (RFC 9110 sections 8.3.1 and 12.5.1)', () => {
  for (const text of [
    'multipart/related; type="application/dicom"; boundary="a;b"',
    'Multipart/Related;Type=application/dicom;boundary="a\\;b"',
  ]) {
    const type = parseMediaType(text)!;
    assert.equal(type.type, 'multipart/related');
    assert.equal(type.parameters.get('type'), 'application/dicom');
    assert.equal(type.parameters.get('boundary'), 'a;b');
  }
  for (const text of [undefined, '', 'application', 'a b/c', '; boundary=x']) assert.equal(parseMediaType(text), null);
  const accept = parseAccept('a/b;q=0.5, c/d;x="1,2";q=0.8 , e/f;q=0, g/h');
  assert.deepEqual(
    accept.map((type) => type.type),
    ['g/h', 'c/d', 'a/b'],
  );
  assert.equal(accept[1]!.parameters.get('x'), '1,2');
  assert.deepEqual(
    parseAccept(undefined).map((type) => type.type),
    ['*/*'],
  );
});
