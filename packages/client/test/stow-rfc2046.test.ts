/** sendFiles: the body by RFC 2046 section 5.1.1 as read here, progress, and the answers of PS3.18 Table 10.5.3-1. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { connectVerified, sendFiles, type VerifiedConnection } from '../src/index.ts';
import {
  type Answer,
  type AttestedServer,
  attesting,
  type HostileDoor,
  json,
  openHostileDoor,
  startAttested,
  trustIn,
} from './hostile-door.ts';

let attested: AttestedServer;
let door: HostileDoor;
let folder: string;
before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'abaton-stow-'));
  attested = await startAttested();
  door = await openHostileDoor(attested);
});
after(async () => {
  await door.close();
  await attested.close();
  rmSync(folder, { recursive: true });
});

function file(name: string, bytes: Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}

async function upload<T>(answer: Answer, use: (connection: VerifiedConnection) => Promise<T>): Promise<T> {
  door.answer = attesting(attested, answer);
  const connection = await connectVerified(trustIn(attested, door.url));
  try {
    return await use(connection);
  } finally {
    connection.close();
  }
}

const EMPTY_MODULE = { '00081190': { vr: 'UR' } };

/** Splits at the delimiter lines, and each part at its first empty line: nothing of the server's parser is used. */
function parseRfc2046(body: Buffer, boundary: string): { headers: string[]; content: Buffer }[] {
  assert.match(boundary, /^[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]$/); // bcharsnospace, at most 70
  const text = `\r\n${body.toString('latin1')}`;
  const pieces = text.split(`\r\n--${boundary}`);
  assert.equal(pieces.shift(), '', 'no preamble');
  assert.equal(pieces.pop(), '--\r\n', 'close-delimiter, and no epilogue');
  return pieces.map((piece) => {
    const [head, ...rest] = piece.split('\r\n\r\n');
    assert.ok(head!.startsWith('\r\n'), 'the delimiter ends its line');
    return { headers: head!.slice(2).split('\r\n'), content: Buffer.from(rest.join('\r\n\r\n'), 'latin1') };
  });
}

test('the body holds every file as it is, whatever is in it', async () => {
  const contents = [
    randomBytes(200_000),
    Buffer.from('\r\n--\r\n\r\n--x--\r\n'),
    Buffer.alloc(0),
    Buffer.from('\r\n'.repeat(40_000)),
  ];
  const files = contents.map((bytes, i) => file(`part-${i}`, bytes));
  const received = Promise.withResolvers<{ type: string; method: string; path: string; body: Buffer }>();
  await upload(
    (stream, headers) => {
      const chunks: Buffer[] = [];
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('end', () => {
        const [type, method, path] = [headers['content-type']!, headers[':method']!, headers[':path']!];
        received.resolve({ type, method, path, body: Buffer.concat(chunks) });
        json(stream, 200, EMPTY_MODULE);
      });
    },
    (connection) => sendFiles(connection, files),
  );
  const { type, method, path, body } = await received.promise;
  assert.deepEqual([method, path], ['POST', '/dicom-web/studies']);
  const boundary = /^multipart\/related; type="application\/dicom"; boundary=([^;"\s]+)$/.exec(type)?.[1]; // RFC 2387
  const parts = parseRfc2046(body, boundary!);
  assert.deepEqual(
    parts.map(({ content }) => content),
    contents,
  );
  for (const { headers } of parts) assert.deepEqual(headers, ['Content-Type: application/dicom']);
});

test('progress grows to the total and never beyond', async () => {
  const files = [file('a', randomBytes(300_000)), file('b', randomBytes(70_000)), file('c', randomBytes(1))];
  const seen: [number, number][] = [];
  await upload(
    (stream) => stream.on('end', () => json(stream, 200, EMPTY_MODULE)).resume(),
    (connection) => sendFiles(connection, files, (...bytes) => seen.push(bytes)),
  );
  assert.ok(seen.length >= 3);
  for (const [i, [done, total]] of seen.entries()) {
    assert.equal(total, 370_001);
    assert.ok(done > (seen[i - 1]?.[0] ?? 0), `${done} after ${seen[i - 1]?.[0]}`);
  }
  assert.deepEqual(seen.at(-1), [370_001, 370_001]);
});

test('an upload that is refused early stops there, with the reason and class that the server gave', async () => {
  const large = file('large', new Uint8Array(0));
  truncateSync(large, 64 * 2 ** 20); // sparse
  let done = 0;
  for (const [kind, name] of [
    ['retry', 'UnavailableError'],
    ['fix', 'ConfigurationError'],
    ['stop', 'RejectedError'],
  ] as const) {
    await assert.rejects(
      upload(
        (stream) => json(stream, 503, { code: 'GATE_CLOSED', message: 'The gate is closed.', class: kind }),
        (connection) =>
          sendFiles(connection, [large], (bytes) => {
            done = bytes;
          }),
      ),
      { name, code: 'GATE_CLOSED', message: 'The gate is closed.' },
    );
    assert.ok(done < 16 * 2 ** 20, `${done} bytes were sent`);
  }
});

test('a connection that is cut during an upload is lost, and what was sent is not acknowledged', async () => {
  const large = file('large', new Uint8Array(0));
  truncateSync(large, 64 * 2 ** 20);
  await assert.rejects(
    upload(
      (stream, _, socket) => {
        let bytes = 0;
        stream.on('data', (chunk: Buffer) => {
          bytes += chunk.length;
          if (bytes > 2 ** 20) socket.destroy();
        });
      },
      (connection) => sendFiles(connection, [large]),
    ),
    { name: 'UnavailableError', code: 'CONNECTION_LOST' },
  );
});

test('a file that cannot be read: its number, never its name', async () => {
  const unreadable = (message: string) => (error: Error & { code?: string }) => {
    assert.deepEqual([error.name, error.code, error.message], ['ConfigurationError', 'FILE_UNREADABLE', message]);
    return true;
  };
  const good = file('good', randomBytes(10));
  await upload(
    (stream) => stream.resume(),
    async (connection) => {
      const missing = join(folder, 'DOE^JANE.dcm');
      await assert.rejects(sendFiles(connection, [good, missing]), unreadable('File 2 of 2 cannot be read.'));
      // a folder has a size, and fails only when it is read: in the middle of the request
      await assert.rejects(sendFiles(connection, [good, folder, good]), unreadable('File 2 of 3 cannot be read.'));
    },
  );
});

test('the answer says what became of each instance', async () => {
  const ref = (uid: string) => ({
    '00081155': { vr: 'UI', Value: [uid] },
    '00081190': { vr: 'UR', Value: [`https://x/studies/1.2.${uid}/series/1/instances/${uid}`] },
  });
  const module = {
    '00081199': { vr: 'SQ', Value: [ref('1'), ref('2'), ref('1')] },
    '00081198': { vr: 'SQ', Value: [{ ...ref('9'), '00081197': { vr: 'US', Value: [0xa910] } }] },
    '0008119A': {
      vr: 'SQ',
      Value: [{ '00081197': { vr: 'US', Value: [0xc000] }, '00000902': { vr: 'LO', Value: ['DICOM_NOT'] } }],
    },
  };
  const send = (status: number, body: unknown) =>
    upload(
      (stream) => stream.on('end', () => json(stream, status, body)).resume(),
      (connection) => sendFiles(connection, [file('one', randomBytes(10))]),
    );
  for (const status of [200, 202, 409])
    assert.deepEqual(await send(status, module), {
      studies: ['1.2.1', '1.2.2'],
      stored: 3,
      failures: [
        { reason: 0xa910, sopInstanceUid: '9', comment: null },
        { reason: 0xc000, sopInstanceUid: null, comment: 'DICOM_NOT' },
      ],
    });
  for (const body of [null, 'ok', 5]) await assert.rejects(send(200, body), { code: 'ANSWER_INVALID' }, String(body));
  for (const body of [{}, null, { code: 5 }]) await assert.rejects(send(500, body), { code: 'ANSWER_INVALID' });
});
