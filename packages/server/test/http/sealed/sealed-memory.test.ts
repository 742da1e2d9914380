/** Whatever the size of a sealed body, memory stays flat, in the server and in the client, both ways at once. */
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import http2 from 'node:http2';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { SEALED_REQUEST } from '@abaton/client';
import { chooseKeyConfig, parseKeyConfigs } from '../../../../client/src/sealed/key-config.ts';
import { sealRequest } from '../../../../client/src/sealed/ohttp-client.ts';

const MiB = 2 ** 20;
/** As for uploads that are not sealed (test/dicomweb/upload-memory.ts). */
const MAX_GROWTH_BYTES = 96 * MiB;

async function* body(bytes: number): AsyncGenerator<Uint8Array> {
  for (let sent = 0; sent < bytes; sent += MiB / 4) yield Buffer.alloc(MiB / 4, sent / MiB);
}

test('64 MiB go in sealed and come back sealed', { timeout: 60_000 }, async (t) => {
  const child = fork(fileURLToPath(new URL('sealed-process.ts', import.meta.url)), { stdio: 'inherit' });
  t.after(() => child.send('close'));
  const [{ port, keys }] = (await once(child, 'message')) as [{ port: number; keys: string }];
  const config = chooseKeyConfig(parseKeyConfigs(Buffer.from(keys, 'base64')))!;
  const peakOf = async () => {
    child.send('report');
    return ((await once(child, 'message')) as [{ peak: number }])[0].peak;
  };
  let clientPeak = 0;
  const exchange = async (bytes: number) => {
    const session = http2.connect(`https://127.0.0.1:${port}`, { rejectUnauthorized: false });
    const request = { method: 'POST', authority: 'abaton.test', path: '/echo', body: body(bytes) };
    const sealed = await sealRequest(config, request);
    const stream = session.request({ ':method': 'POST', ':path': '/sealed', 'content-type': SEALED_REQUEST });
    const sent = pipeline(Readable.from(sealed.body, { objectMode: false }), stream);
    const response = await sealed.openResponse(stream);
    let come = 0;
    for await (const piece of response.body) {
      come += piece.length;
      clientPeak = Math.max(clientPeak, process.memoryUsage.rss());
    }
    await sent;
    session.close();
    assert.deepEqual([response.status, come], [200, bytes]);
  };
  await exchange(16 * MiB); // warm
  const [level, clientLevel] = [await peakOf(), clientPeak];
  const began = performance.now();
  await exchange(64 * MiB);
  const seconds = (performance.now() - began) / 1000;
  const [growth, clientGrowth] = [(await peakOf()) - level, clientPeak - clientLevel];
  const mib = (bytes: number) => (bytes / MiB).toFixed(0);
  t.diagnostic(`server ${mib(level)} + ${mib(growth)} MiB, client ${mib(clientLevel)} + ${mib(clientGrowth)} MiB`);
  t.diagnostic(`${mib((64 * MiB) / seconds)} MiB/s there and back, both ends on this machine`);
  assert.ok(growth <= MAX_GROWTH_BYTES, `the server grew by ${mib(growth)} MiB`);
  assert.ok(clientGrowth <= MAX_GROWTH_BYTES, `the client grew by ${mib(clientGrowth)} MiB`);
});
