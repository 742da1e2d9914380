/** The listener: RFC 8446 (TLS 1.3 only), RFC 9112 and RFC 9113 on one port, limits, and what clients see of failures. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import http2 from 'node:http2';
import https from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { startSoftTee } from '@abaton/soft-tee';
import type { FetchHandler } from '../../src/http/bridge.ts';
import { type Door, type DoorLimits, openDoor, tlsSpkiSha256 } from '../../src/http/server.ts';
import { openGuestAgent, type TlsKey } from '../../src/tee/agent-client.ts';

const dir = mkdtempSync(join(tmpdir(), 'abaton-door-'));
const doors: Door[] = [];
let key: TlsKey;

before(async () => {
  const tee = await startSoftTee({
    state: join(dir, 'tee'),
    socket: join(dir, 'agent.sock'),
    compose: '{"name":"door"}',
  });
  key = await openGuestAgent(tee.socket).getTlsKey({ subject: 'localhost', altNames: ['localhost'] });
  await tee.close();
});

after(async () => {
  await Promise.all(doors.map((door) => door.close(0)));
  rmSync(dir, { recursive: true });
});

async function open(handler: FetchHandler, limits?: Partial<DoorLimits>): Promise<Door> {
  const door = await openDoor({ key, host: '127.0.0.1', port: 0, handler, ...(limits ? { limits } : {}) });
  doors.push(door);
  return door;
}

async function tls(port: number, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const socket = connect({ host: '127.0.0.1', port, servername: 'localhost', rejectUnauthorized: false, ...options });
  await once(socket, 'secureConnect');
  return socket;
}

/** Sends raw HTTP/1.1 text and returns all that comes back until the server closes. */
async function raw(port: number, text: string): Promise<string> {
  const socket = await tls(port, { ALPNProtocols: ['http/1.1'] });
  socket.write(text);
  let answer = '';
  socket.on('data', (chunk) => {
    answer += chunk;
  });
  socket.on('error', () => {});
  await once(socket, 'close');
  return answer;
}

async function h2(port: number): Promise<http2.ClientHttp2Session> {
  const session = http2.connect(`https://localhost:${port}`, {
    createConnection: undefined,
    rejectUnauthorized: false,
  });
  session.on('error', () => {});
  await once(session, 'connect');
  return session;
}

async function readAll(stream: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

const countBytes: FetchHandler = async (request) => {
  let bytes = 0;
  for await (const chunk of request.body ?? []) bytes += chunk.length;
  return Response.json({ bytes });
};

test('TLS 1.3 is spoken with the attested key, and TLS 1.2 is refused', async () => {
  const { port } = await open(countBytes);
  const socket = await tls(port);
  assert.equal(socket.getProtocol(), 'TLSv1.3');
  const spki = socket.getPeerX509Certificate()!.publicKey.export({ type: 'spki', format: 'der' });
  assert.equal(createHash('sha256').update(spki).digest('hex'), tlsSpkiSha256(key));
  socket.destroy();
  await assert.rejects(tls(port, { maxVersion: 'TLSv1.2' }), { code: 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION' });
});

test('the client sees X25519MLKEM768, and X25519 only when it offers nothing better', async () => {
  const { port } = await open(countBytes);
  for (const [offered, expected] of [
    [undefined, 'X25519MLKEM768'],
    ['X25519', 'X25519'],
  ] as const) {
    const socket = await tls(port, offered ? { ecdhCurve: offered } : {});
    assert.equal((socket.getEphemeralKeyInfo() as { name?: string }).name, expected);
    socket.destroy();
  }
  await assert.rejects(tls(port, { ecdhCurve: 'P-256' }));
});

test('a session is never resumed: each connection proves the key anew', async () => {
  const { port } = await open(countBytes);
  const first = await tls(port, { ALPNProtocols: ['http/1.1'] });
  let session: Buffer | undefined;
  first.on('session', (ticket) => {
    session = ticket;
  });
  first.end('GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n');
  first.resume();
  await once(first, 'close');
  const second = await tls(port, session ? { session } : {});
  assert.equal(second.isSessionReused(), false);
  second.destroy();
});

test('HTTP/1.1 and HTTP/2 are served on one port', async () => {
  const { port } = await open((request) =>
    Response.json({ url: new URL(request.url).pathname, method: request.method }),
  );
  const session = await h2(port);
  const stream = session.request({ ':path': '/two?x=1' });
  assert.deepEqual(JSON.parse(await readAll(stream)), { url: '/two', method: 'GET' });
  session.close();
  const answer = await raw(port, 'GET /one HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n');
  assert.match(answer, /^HTTP\/1\.1 200 OK\r\n/);
  assert.match(answer, /"url":"\/one"/);
});

const MiB = 2 ** 20;

test('an upload that the handler does not read is not buffered (HTTP/2)', async () => {
  const go = Promise.withResolvers<void>();
  const { port } = await open(async (request, env) => {
    await go.promise;
    return countBytes(request, env);
  });
  const session = await h2(port);
  const stream = session.request({ ':path': '/', ':method': 'POST' });
  let acknowledged = 0;
  const sent = (async () => {
    for (let i = 0; i < 64; i++) {
      await new Promise<void>((resolve) => stream.write(Buffer.alloc(MiB), () => resolve()));
      acknowledged++;
    }
    stream.end();
  })();
  // the writes stop when the windows are full; whenever that is, it must be far below what was to be sent
  for (let last = -1; last !== acknowledged; await sleep(200)) last = acknowledged;
  assert.ok(acknowledged < 32, `${acknowledged} MiB were taken`);
  go.resolve();
  await sent;
  assert.deepEqual(JSON.parse(await readAll(stream)), { bytes: 64 * MiB });
  session.close();
});

test('an upload that the handler does not read is not buffered (HTTP/1.1)', async () => {
  const go = Promise.withResolvers<void>();
  const { port } = await open(async (request, env) => {
    await go.promise;
    return countBytes(request, env);
  });
  const request = https.request({ host: '127.0.0.1', port, method: 'POST', rejectUnauthorized: false });
  const answered = once(request, 'response');
  let acknowledged = 0;
  const sent = (async () => {
    for (let i = 0; i < 64; i++) {
      await new Promise<void>((resolve) => request.write(Buffer.alloc(MiB), () => resolve()));
      acknowledged++;
    }
    request.end();
  })();
  for (let last = -1; last !== acknowledged; await sleep(200)) last = acknowledged;
  assert.ok(acknowledged < 32, `${acknowledged} MiB were taken`);
  go.resolve();
  await sent;
  const [response] = await answered;
  assert.deepEqual(JSON.parse(await readAll(response)), { bytes: 64 * MiB });
});

test('a refusal reaches a client that is still sending (HTTP/1.1 and HTTP/2)', async () => {
  const { port } = await open(() => new Response('closed', { status: 503 }));
  const request = https.request({ host: '127.0.0.1', port, method: 'POST', rejectUnauthorized: false });
  request.write(Buffer.alloc(4 * MiB));
  const [response] = await once(request, 'response');
  assert.equal(response.statusCode, 503);
  assert.equal(await readAll(response), 'closed');
  request.on('error', () => {}).destroy();

  const session = await h2(port);
  const stream = session.request({ ':path': '/', ':method': 'POST' });
  stream.on('error', () => {});
  const head = once(stream, 'response');
  stream.write(Buffer.alloc(4 * MiB));
  assert.equal((await head)[0][':status'], 503);
  assert.equal(await readAll(stream), 'closed');
  const again = session.request({ ':path': '/', ':method': 'GET' });
  assert.equal((await once(again, 'response'))[0][':status'], 503);
  session.destroy();
});

test('a connection outlives a refused body that has arrived whole (HTTP/1.1)', async () => {
  const { port } = await open(() => new Response('closed', { status: 503 }));
  const socket = await tls(port, { ALPNProtocols: ['http/1.1'] });
  let answers = '';
  socket.on('data', (chunk) => {
    answers += chunk;
  });
  for (let i = 1; i <= 3; i++) {
    socket.write('POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4\r\n\r\nbody');
    while (answers.split('HTTP/1.1 503').length <= i) await once(socket, 'data');
  }
  await sleep(2_500); // longer than an unread body is waited for
  assert.equal(socket.destroyed, false);
  socket.destroy();
});

test('a client that left before the answer leaves no open source behind', async () => {
  const left = Promise.withResolvers<void>();
  const cancelled = Promise.withResolvers<void>();
  const { port } = await open(async () => {
    await left.promise;
    return new Response(new ReadableStream({ cancel: () => cancelled.resolve() }));
  });
  const session = await h2(port);
  session.request({ ':path': '/' }).on('error', () => {});
  await sleep(50);
  session.destroy();
  await sleep(50);
  left.resolve();
  await cancelled.promise;
});

test('Expect: 100-continue: a refused body is never asked for, a wanted one is', async () => {
  for (const [handler, asked] of [
    [() => new Response('closed', { status: 503 }), false],
    [countBytes, true],
  ] as const) {
    const { port } = await open(handler);
    const headers = { expect: '100-continue', 'content-length': 5 };
    const request = https.request({ host: '127.0.0.1', port, method: 'POST', headers, rejectUnauthorized: false });
    let continued = false;
    request.on('continue', () => {
      continued = true;
      request.end('hello');
    });
    request.flushHeaders();
    const [response] = await once(request, 'response');
    assert.equal(continued, asked);
    assert.equal(response.statusCode, asked ? 200 : 503);
    response.resume();
    request.on('error', () => {}).destroy();
  }
});

test('a body that fails half-way is cut, and its message stays inside', async () => {
  const { port } = await open(() => {
    const body = new ReadableStream({
      start: (controller) => controller.enqueue(new TextEncoder().encode('half')),
      pull: async () => {
        await sleep(50); // so that the first half is on its way
        throw new Error('DOE^JANE');
      },
    });
    return new Response(body);
  });
  const answer = await raw(port, 'GET / HTTP/1.1\r\nhost: localhost\r\n\r\n');
  assert.match(answer, /half/);
  assert.doesNotMatch(answer, /\r\n0\r\n\r\n$/, 'the chunked body must not look complete');
  assert.doesNotMatch(answer, /JANE/);

  const session = await h2(port);
  const stream = session.request({ ':path': '/' });
  await assert.rejects(readAll(stream), { code: 'ERR_HTTP2_STREAM_ERROR' });
  session.destroy();
});

test('a client that leaves in the middle of a download ends it', async () => {
  const cancelled = Promise.withResolvers<void>();
  const { port } = await open(
    () =>
      new Response(
        new ReadableStream({ pull: (c) => c.enqueue(Buffer.alloc(MiB)), cancel: () => cancelled.resolve() }),
      ),
  );
  const session = await h2(port);
  const stream = session.request({ ':path': '/' });
  stream.once('data', () => stream.close(http2.constants.NGHTTP2_CANCEL));
  await cancelled.promise;
  session.destroy();
});

test('a client that leaves in the middle of an upload makes the body fail', async () => {
  const failed = Promise.withResolvers<void>();
  const { port } = await open(async (request, env) => {
    try {
      return await countBytes(request, env);
    } catch (error) {
      failed.resolve();
      throw error;
    }
  });
  const session = await h2(port);
  session
    .request({ ':path': '/', ':method': 'POST' })
    .on('error', () => {})
    .write('part');
  setTimeout(() => session.destroy(), 50);
  await failed.promise;
});

test('requests without an address of ours are refused', async () => {
  const { port } = await open(() => new Response('reached'));
  for (const head of [
    'GET http://elsewhere/ HTTP/1.1\r\nhost: localhost',
    'GET / HTTP/1.1\r\nhost: local host',
    'GET / HTTP/1.1\r\nhost: user@localhost',
    'GET / HTTP/1.1',
    'OPTIONS * HTTP/1.1\r\nhost: localhost',
    'TRACE / HTTP/1.1\r\nhost: localhost',
  ])
    assert.match(await raw(port, `${head}\r\nconnection: close\r\n\r\n`), /^HTTP\/1\.1 400 /, head);
});

test('headers beyond the limit are refused', async () => {
  const { port } = await open(() => new Response('reached'));
  const large = 'x'.repeat(17 * 1024);
  assert.match(await raw(port, `GET / HTTP/1.1\r\nhost: localhost\r\nx: ${large}\r\n\r\n`), /^HTTP\/1\.1 431 /);
  const session = await h2(port);
  assert.equal(await readAll(session.request({ ':path': '/' })), 'reached'); // the limit holds once the settings are acknowledged
  const stream = session.request({ ':path': '/', x: large });
  await assert.rejects(once(stream, 'response'), { code: 'ERR_HTTP2_STREAM_ERROR' });
  session.destroy();
});

test('a slow header and a slow body are cut', async () => {
  const { port } = await open(countBytes, { headersTimeoutMs: 200, bodyPatienceMs: 200 });
  const socket = await tls(port, { ALPNProtocols: ['http/1.1'] });
  socket.on('error', () => {}).write('GET / HTTP/1.1\r\n');
  socket.resume();
  await once(socket, 'close');
  const answer = await raw(port, 'POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\npart');
  assert.doesNotMatch(answer, /"bytes"/);
});

test('close lets a running request end and takes no new one', async () => {
  const go = Promise.withResolvers<void>();
  const arrived = Promise.withResolvers<void>();
  const door = await open(async () => {
    arrived.resolve();
    await go.promise;
    return new Response('done');
  });
  const session = await h2(door.port);
  const stream = session.request({ ':path': '/' });
  await arrived.promise;
  const closed = door.close(10_000);
  await assert.rejects(tls(door.port), { code: 'ECONNREFUSED' });
  go.resolve();
  assert.equal(await readAll(stream), 'done');
  await closed;
});

test('close cuts what outlasts its grace', async () => {
  const arrived = Promise.withResolvers<void>();
  const door = await open(() => {
    arrived.resolve();
    return new Promise<Response>(() => {});
  });
  const session = await h2(door.port);
  const stream = session.request({ ':path': '/' });
  stream.on('error', () => {});
  await arrived.promise;
  await door.close(50);
  assert.equal(session.destroyed || stream.destroyed || session.closed, true);
});

test('a port that is taken is a setting to correct', async () => {
  const { port } = await open(countBytes);
  await assert.rejects(openDoor({ key, host: '127.0.0.1', port, handler: countBytes }), { code: 'SETTING_INVALID' });
});
