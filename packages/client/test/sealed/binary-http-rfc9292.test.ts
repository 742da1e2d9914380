/** RFC 9292: the messages of its section 5 (figures 8, 9, 11 and 13), round trips, and what is refused. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { runs } from '../../../verify/test/support/property.ts';
import {
  type HeaderFields,
  readRequest,
  readResponse,
  writeRequest,
  writeResponse,
} from '../../src/sealed/binary-http.ts';
import { varint } from '../../src/sealed/stream-reader.ts';
import { bytesOf, inPieces, pieces } from './support.ts';

const figure8 =
  '0003474554056874747073000a2f68656c6c6f2e747874406c0a757365722d6167656e74346375726c2f372e31362e33206c69626375726c2f372e' +
  '31362e33204f70656e53534c2f302e392e376c207a6c69622f312e322e3304686f73740f7777772e6578616d706c652e636f6d0f6163636570742d' +
  '6c616e677561676506656e2c206d690000';
const figure9 =
  '0203474554056874747073000a2f68656c6c6f2e7478740a757365722d6167656e74346375726c2f372e31362e33206c69626375726c2f372e3136' +
  '2e33204f70656e53534c2f302e392e376c207a6c69622f312e322e3304686f73740f7777772e6578616d706c652e636f6d0f6163636570742d6c61' +
  '6e677561676506656e2c206d6900000000000000000000000000';
const figure11 =
  '0340660772756e6e696e670a22736c65657020313522004067046c696e6b233c2f7374796c652e6373733e3b2072656c3d7072656c6f61643b2061' +
  '733d7374796c65046c696e6b243c2f7363726970742e6a733e3b2072656c3d7072656c6f61643b2061733d7363726970740040c804646174651d4d' +
  '6f6e2c203237204a756c20323030392031323a32383a353320474d5406736572766572064170616368650d6c6173742d6d6f6469666965641d5765' +
  '642c203232204a756c20323030392031393a31353a353620474d5404657461671422333461613338372d642d3135363865623030220d6163636570' +
  '742d72616e6765730562797465730e636f6e74656e742d6c656e67746802353104766172790f4163636570742d456e636f64696e670c636f6e7465' +
  '6e742d747970650a746578742f706c61696e003348656c6c6f20576f726c6421204d7920636f6e74656e7420696e636c7564657320612074726169' +
  '6c696e672043524c462e0d0a0000';
const figure13 = '0140c8001d5468697320636f6e74656e7420636f6e7461696e732043524c462e0d0a0d07747261696c65720474657874';

const hex = (text: string) => pieces(Buffer.from(text, 'hex'));
const invalid = { code: 'SEALED_INVALID' };

/** The figures leave the authority to the Host field, which ours do not: the same with an authority. */
const authority = (text: string) => text.replace(/^(0[02]03474554056874747073)00/, '$10b6578616d706c652e636f6d');

async function whole<H extends { body: AsyncIterable<Uint8Array> }>({ body, ...head }: H) {
  return { ...head, body: (await bytesOf(body)).toString('latin1') };
}

test('figures 8 and 9: the same request in both forms, truncated and padded as section 3.8 allows', async () => {
  const request = {
    ...{ method: 'GET', authority: 'example.com', path: '/hello.txt', body: '' },
    headers: [
      ['user-agent', 'curl/7.16.3 libcurl/7.16.3 OpenSSL/0.9.7l zlib/1.2.3'],
      ['host', 'www.example.com'],
      ['accept-language', 'en, mi'],
    ],
  };
  for (const figure of [figure8, figure9].map(authority))
    for (const cut of figure.startsWith('00') ? [0, 1, 2] : [0, 1, 5, 11, 12])
      assert.deepEqual(await whole(await readRequest(hex(figure.slice(0, figure.length - 2 * cut)))), request);
  const written = await bytesOf(writeRequest({ ...request, headers: request.headers as HeaderFields }));
  assert.equal(written.toString('hex'), authority(figure9).slice(0, -20)); // its last ten bytes are padding
  await assert.rejects(readRequest(hex(figure8)), invalid, 'no authority');
});

test('figure 11: informational responses come first, and are passed over', async () => {
  const { status, headers, body } = await whole(await readResponse(hex(figure11)));
  assert.equal(status, 200);
  assert.deepEqual(headers.slice(4), [
    ['accept-ranges', 'bytes'],
    ['content-length', '51'],
    ['vary', 'Accept-Encoding'],
    ['content-type', 'text/plain'],
  ]);
  assert.equal(body, 'Hello World! My content includes a trailing CRLF.\r\n');
});

test('figure 13: a response of known length, with a trailer', async () => {
  const response = await whole(await readResponse(hex(figure13)));
  assert.deepEqual(response, { status: 200, headers: [], body: 'This content contains CRLF.\r\n' });
});

test('whatever is written is read, however it arrives', async () => {
  const name = fc.stringMatching(/^[!#$%&'*+.^_`|~0-9a-z-]{1,12}$/);
  const value = fc.stringMatching(/^([!-~\u0080-\u00ff]([\t -~\u0080-\u00ff]{0,20}[!-~\u0080-\u00ff])?)?$/);
  const headers = fc
    .array(fc.tuple(name, value), { maxLength: 8 })
    .map((fields) => fields.filter(([name]) => !/^(connection|expect|keep-alive|upgrade|content-length)$/.test(name)));
  const body = fc.array(fc.uint8Array({ maxLength: 400 }), { maxLength: 5 });
  const method = fc.constantFrom('GET', 'POST', 'PUT', 'DELETE', 'M-SEARCH');
  const path = fc.stringMatching(/^\/[!-~]{0,40}$/);
  await fc.assert(
    fc.asyncProperty(method, path, headers, body, fc.integer({ min: 1, max: 50 }), async (method, path, ...rest) => {
      const [headers, body, size] = rest;
      const head = { method, authority: 'abaton.test:8443', path, headers };
      const request = await readRequest(inPieces(size, writeRequest(head, pieces(...body))));
      const text = Buffer.concat(body).toString('latin1');
      assert.deepEqual(await whole(request), { ...head, body: text });
      const response = await readResponse(inPieces(size, writeResponse({ status: 404, headers }, pieces(...body))));
      assert.deepEqual(await whole(response), { status: 404, headers, body: text });
    }),
    runs(30),
  );
});

const string = (text: string) => Buffer.concat([varint(text.length), Buffer.from(text, 'latin1')]);
const message = (framing: number, control: string[], fields: [string, string][], rest = '0000') =>
  Buffer.concat([
    varint(framing),
    ...control.map(string),
    ...fields.flat().map(string),
    Buffer.of(0),
    Buffer.from(rest, 'hex'),
  ]);
const GET = ['GET', 'https', 'a', '/'];

test('refused: what is no request of ours', async () => {
  const accepted = [message(2, GET, [['x', 'y']]), message(2, GET, [['x', '']]), message(2, GET, [], '000000000000')];
  for (const bytes of accepted) await whole(await readRequest(pieces(bytes)));
  const wrong: Record<string, Buffer> = {
    'a response': message(3, GET, []),
    'another framing': message(4, GET, []),
    'no method': message(2, ['', 'https', 'a', '/'], []),
    'a method with a space': message(2, ['GE T', 'https', 'a', '/'], []),
    http: message(2, ['GET', 'http', 'a', '/'], []),
    'user information': message(2, ['GET', 'https', 'me@a', '/'], []),
    'no authority': message(2, ['GET', 'https', '', '/'], []),
    'no path': message(2, ['GET', 'https', 'a', ''], []),
    'a full URL': message(2, ['GET', 'https', 'a', 'https://b/'], []),
    'a path with a space': message(2, ['GET', 'https', 'a', '/a b'], []),
    'a path that is not ASCII': message(2, ['GET', 'https', 'a', '/\u00e9'], []),
    'a pseudo-field': message(2, GET, [[':path', '/']]),
    'upper case': message(2, GET, [['Accept', '*']]),
    'a field of one hop': message(2, GET, [['transfer-encoding', 'chunked']]),
    'an expectation': message(2, GET, [['expect', '100-continue']]),
    'a line end in a value': message(2, GET, [['x', 'a\r\nb: c']]),
    'a NUL in a value': message(2, GET, [['x', 'a\0b']]),
    'a space before a value': message(2, GET, [['x', ' a']]),
    'a tab after a value': message(2, GET, [['x', 'a\t']]),
    'a body longer than it says': message(2, GET, [['content-length', '1']], '0261620000'),
    'a body shorter than it says': message(2, GET, [['content-length', '3']], '0261620000'),
    'two lengths': message(
      2,
      GET,
      [
        ['content-length', '2'],
        ['content-length', '3'],
      ],
      '0261620000',
    ),
    'a piece of the body cut off': message(2, GET, [], '056162'),
    'no end of the body': message(2, GET, [], '026162'),
    'a bad trailer': message(2, GET, [], '00013a0000'),
    'something after the end': message(2, GET, [], '000000000001'),
    'a section longer than it says': Buffer.concat([
      ...[varint(0), ...GET.map(string), varint(3)],
      ...[string('x'), string('yz'), Buffer.of(0, 0)],
    ]),
    'a length beyond 2^53': Buffer.concat([varint(2), Buffer.from('c2197c5eff14e88c', 'hex')]), // RFC 9000, A.1
    'a name that is longer than a head': Buffer.concat([varint(2), varint(2 ** 29)]),
    nothing: Buffer.alloc(0),
  };
  for (const [what, bytes] of Object.entries(wrong))
    await assert.rejects(async () => whole(await readRequest(pieces(bytes))), invalid, what);
});

test('refused: a head of more than 16 KiB, however it is divided', async () => {
  const fits = message(2, GET, [['x', 'y'.repeat(16_000)]]);
  await whole(await readRequest(pieces(fits)));
  const many = Array.from({ length: 3000 }, (): [string, string] => ['xx', 'yy']);
  for (const fields of [many, [['x', 'y'.repeat(16_384)]] as [string, string][]])
    await assert.rejects(readRequest(pieces(message(2, GET, fields))), invalid);
  const endless = (async function* () {
    yield Buffer.from('0340c8', 'hex');
    for (;;) yield Buffer.concat([string('x'), string('y')]);
  })();
  await assert.rejects(readResponse(endless), invalid);
});

test('random and damaged messages are read or refused, and nothing else', async () => {
  const figures = [authority(figure8), authority(figure9), figure11, figure13].map((text) => Buffer.from(text, 'hex'));
  const damaged = fc
    .tuple(fc.constantFrom(...figures), fc.nat(), fc.nat(255), fc.nat())
    .map(([figure, at, byte, cut]) => {
      const bytes = Buffer.from(figure);
      bytes[at % bytes.length] = byte;
      return bytes.subarray(0, bytes.length - (cut % 20));
    });
  await fc.assert(
    fc.asyncProperty(fc.oneof(fc.uint8Array({ maxLength: 80 }), damaged), async (bytes) => {
      for (const read of [readRequest, readResponse])
        try {
          await whole(await read(pieces(bytes)));
        } catch (error) {
          assert.equal((error as { code?: string }).code, 'SEALED_INVALID');
        }
    }),
    runs(500),
  );
});
