/** The channel: RFC 8446 (TLS 1.3 only), RFC 7301 (h2 only), RFC 9113, and every way in which it may break. */
import 'reflect-metadata'; // first: @peculiar/x509 needs its decorators
import assert from 'node:assert/strict';
import { KeyObject } from 'node:crypto';
import { once } from 'node:events';
import type http2 from 'node:http2';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { after, before, test } from 'node:test';
import { createServer as createTlsServer, type TlsOptions } from 'node:tls';
import { X509CertificateGenerator } from '@peculiar/x509';
import { type Channel, openChannel } from '../src/channel.ts';
import {
  type Answer,
  type AttestedServer,
  type HostileDoor,
  json,
  openHostileDoor,
  startAttested,
} from './hostile-door.ts';

let attested: AttestedServer;
let door: HostileDoor;
before(async () => {
  attested = await startAttested();
  door = await openHostileDoor(attested);
});
after(async () => {
  await door.close();
  await attested.close();
});

async function ask<T>(answer: Answer, use: (channel: Channel) => Promise<T>): Promise<T> {
  door.answer = answer;
  const channel = await openChannel(door.url);
  try {
    return await use(channel);
  } finally {
    channel.close();
  }
}
const get = (channel: Channel) => channel.request({ method: 'GET', path: '/' });
const lost = { name: 'UnavailableError', code: 'CONNECTION_LOST' };
const invalid = { name: 'UnavailableError', code: 'ANSWER_INVALID' };

/** 64 KiB pieces without end; `taken` counts them. */
async function* endless(taken: { pieces: number }): AsyncGenerator<Uint8Array> {
  for (; ; taken.pieces++) yield Buffer.alloc(2 ** 16);
}
const post = (channel: Channel, body: AsyncIterable<Uint8Array>) =>
  channel.request({ method: 'POST', path: '/', body });

test('only https: is an address', async () => {
  for (const url of ['http://localhost:1', 'localhost:1', 'ftp://x', '', 'https://'])
    await assert.rejects(openChannel(url), { name: 'ConfigurationError', code: 'URL_INVALID' }, url);
});

test('it names the key of its other end, and the post-quantum key exchange', async () => {
  await ask(
    (stream) => json(stream, 200, { ok: true }),
    async (channel) => {
      assert.equal(channel.peerSpkiSha256, attested.binding.tlsSpkiSha256);
      assert.equal(channel.keyExchange, 'X25519MLKEM768');
      assert.deepEqual(await (await get(channel)).json(), { ok: true });
    },
  );
});

async function selfSignedRsa(): Promise<{ key: string; cert: string }> {
  const algorithm = {
    name: 'RSASSA-PKCS1-v1_5',
    hash: 'SHA-256',
    modulusLength: 2048,
    publicExponent: Uint8Array.of(1, 0, 1),
  };
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const certificate = await X509CertificateGenerator.createSelfSigned({ keys, name: 'CN=localhost' });
  const key = KeyObject.from(keys.privateKey).export({ type: 'pkcs8', format: 'pem' });
  return { key: key.toString(), cert: certificate.toString('pem') };
}

test('no TLS 1.3, no h2, no TLS, nobody there: CONNECTION_FAILED', async (t) => {
  const { keyPem, chainPem } = attested.key;
  const quiet = (socket: Socket) => socket.on('error', () => {}).resume();
  const tls = (options: TlsOptions): Server =>
    createTlsServer({ key: keyPem, cert: chainPem.join('\n'), ...options }, quiet).on('tlsClientError', () => {});
  // With RSA nothing but the version stands in the way: TLS 1.2 has no group for a P-256 certificate that we offer.
  const rsa = await selfSignedRsa();
  const servers: Record<string, Server> = {
    'TLS 1.2': tls({ ...rsa, maxVersion: 'TLSv1.2', ALPNProtocols: ['h2'] }),
    'no ALPN': tls({}),
    'http/1.1 only': tls({ ALPNProtocols: ['http/1.1'] }),
    'a key exchange of 2010': tls({ ALPNProtocols: ['h2'], ecdhCurve: 'P-256' }),
    'plain text': createServer((socket) => quiet(socket).end('HTTP/1.1 200 OK\r\n\r\n')),
    'hangs up': createServer((socket) => socket.destroy()),
  };
  for (const [what, server] of Object.entries(servers))
    await t.test(what, async (t) => {
      t.after(() => server.close());
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
      const open = () => openChannel(url).then((channel) => channel.close());
      const failed = { name: 'UnavailableError', code: 'CONNECTION_FAILED' };
      await assert.rejects(open(), failed);
      await new Promise((resolve) => server.close(resolve));
      await assert.rejects(open(), failed, 'and nobody there');
    });
});

test('an answer is taken up to its limit, and only as JSON', async () => {
  const sends = (text: string) => (stream: http2.ServerHttp2Stream) => {
    stream.respond({ ':status': 200 });
    stream.end(text);
  };
  const readUpTo = (maxBytes: number) =>
    ask(sends('x'.repeat(1000)), async (channel) => (await get(channel)).bytes(maxBytes));
  assert.equal((await readUpTo(1000)).length, 1000);
  await assert.rejects(readUpTo(999), invalid);
  for (const text of ['', '{', '<html>', '{}x'])
    await assert.rejects(
      ask(sends(text), async (channel) => (await get(channel)).json()),
      invalid,
      text,
    );
});

test('an endless answer is cut at its limit', async () => {
  let sent = 0;
  const flood: Answer = (stream) => {
    stream.respond({ ':status': 200 });
    const more = () => {
      while (!stream.destroyed && stream.write(Buffer.alloc(2 ** 16))) sent += 2 ** 16;
      if (!stream.destroyed) stream.once('drain', more);
    };
    more();
  };
  await assert.rejects(
    ask(flood, async (channel) => (await get(channel)).bytes(2 ** 20)),
    invalid,
  );
  assert.ok(sent < 2 ** 24, `${sent} bytes were taken`);
});

test('an answer that breaks off is never taken for the whole', async (t) => {
  type End = (stream: http2.ServerHttp2Stream, socket: Socket) => void;
  const half =
    (end: End, headers: http2.OutgoingHttpHeaders): Answer =>
    (stream, _, socket) => {
      // a stream that waits for trailers has no END_STREAM yet, which Node would send before RST_STREAM
      stream.respond({ ':status': 200, ...headers }, { waitForTrailers: !headers['content-length'] });
      stream.write('0123456789', () => setImmediate(end, stream, socket));
    };
  const ways: [string, End, http2.OutgoingHttpHeaders?][] = [
    ['the connection is cut', (_, socket) => socket.destroy()],
    ['the session is closed', (stream) => stream.session!.destroy()],
    ['RST_STREAM INTERNAL_ERROR', (stream) => stream.close(2)],
    ['RST_STREAM CANCEL', (stream) => stream.close(8)],
    ['RST_STREAM NO_ERROR before content-length', (stream) => stream.close(0), { 'content-length': '20' }],
    ['END_STREAM before content-length', (stream) => stream.end(), { 'content-length': '20' }],
  ];
  for (const [what, end, headers = {}] of ways)
    await t.test(what, () =>
      assert.rejects(
        ask(half(end, headers), async (channel) => (await get(channel)).bytes()),
        lost,
      ),
    );
});

test('no answer at all: the connection is lost, also for the requests after it', async () => {
  await ask(
    (_stream, _headers, socket) => socket.destroy(),
    async (channel) => {
      await assert.rejects(get(channel), lost);
      await assert.rejects(get(channel), lost);
    },
  );
  const goAway: Answer = (stream) => {
    stream.session!.goaway(0); // RFC 9113, 6.8: this stream ends as it should, another is not taken
    json(stream, 200, 'bye');
  };
  await ask(goAway, async (channel) => {
    assert.equal(await (await get(channel)).json(), 'bye');
    await assert.rejects(get(channel), lost);
  });
  const channel = await openChannel(door.url);
  channel.close();
  await assert.rejects(get(channel), lost);
});

test('a server that refuses an upload early is heard, and the rest is not sent', async (t) => {
  const refusing = async (refuse: Answer, use: () => Promise<unknown>) => {
    const taken = { pieces: 0 };
    await ask(refuse, async (channel) => {
      const response = await post(channel, endless(taken));
      assert.equal(response.status, 503);
      assert.deepEqual(await response.json(), { code: 'GATE_CLOSED' });
      await use();
      const { pieces } = taken;
      assert.equal((await get(channel)).status, 503, 'the connection itself is as good as before');
      assert.equal(taken.pieces, pieces, 'no more is read of the body');
    });
  };
  await t.test('that then wants no more (RFC 9113, 8.1)', () =>
    refusing(
      (stream) => {
        json(stream, 503, { code: 'GATE_CLOSED' });
        stream.once('finish', () => stream.close(0));
      },
      async () => {},
    ),
  );
  await t.test('that reads on, to the end that the client then makes', async () => {
    const ended = Promise.withResolvers<void>();
    await refusing(
      (stream) => {
        json(stream, 503, { code: 'GATE_CLOSED' });
        stream.on('end', () => ended.resolve()).resume();
      },
      () => ended.promise,
    );
  });
});

test('a connection that is cut during an upload: CONNECTION_LOST', async () => {
  const taken = { pieces: 0 };
  const cut: Answer = (stream, _, socket) => {
    let bytes = 0;
    stream.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > 2 ** 20) socket.destroy();
    });
  };
  await assert.rejects(
    ask(cut, (channel) => post(channel, endless(taken))),
    lost,
  );
  assert.ok(taken.pieces >= 16, 'something was under way');
});

test('a body that cannot be read fails with its own error, and is not taken for the whole', async () => {
  const mine = new Error('the disk is gone');
  async function* body(): AsyncGenerator<Uint8Array> {
    yield Buffer.alloc(1000);
    throw mine;
  }
  const closed = Promise.withResolvers<{ rstCode: number; aborted: boolean }>();
  const watch: Answer = (stream) =>
    stream.resume().on('close', () => closed.resolve({ rstCode: stream.rstCode, aborted: stream.aborted }));
  await ask(watch, async (channel) => {
    await assert.rejects(post(channel, body()), mine);
    assert.deepEqual(await closed.promise, { rstCode: 2, aborted: true }); // INTERNAL_ERROR, no END_STREAM
  });
});

test('a request that is called off ends', async () => {
  const controller = new AbortController();
  const silent: Answer = () => setImmediate(() => controller.abort());
  await assert.rejects(
    ask(silent, (channel) => channel.request({ method: 'GET', path: '/', signal: controller.signal })),
    lost,
  );
});
