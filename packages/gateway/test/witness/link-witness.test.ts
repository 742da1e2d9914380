/** The witness inside the gateway: over the verified connection, under the keys of the verified evidence, and no other. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, beforeEach, type TestContext, test } from 'node:test';
import { parseCheckpoint, parseNote, parseVkey, verifyNote } from '@abaton/verify';
import { makeWitnessKey } from '../../src/witness/key-file.ts';
import { isOpen, type Running, type Service, startBefore, startService, until } from '../harness.ts';
import { NAME, scratchDir, signed, signersOf } from './support.ts';

let service: Service;
before(async () => {
  service = await startService();
});
after(() => service.close());

const log = () => service.attested.log;
beforeEach(() => {
  Object.assign(service, { healthStatus: 200, storeStatus: 200 });
  service.arrived.length = 0;
  service.other = async (stream, headers) => {
    const path = headers[':path']!;
    const [, year, rest = ''] = /^\/audit\/(\d{4})\/(.+)$/.exec(path) ?? [];
    const found = path === '/checkpoint' ? log().checkpoint() : await log().readPublic(rest, Number(year));
    stream.respond({ ':status': found === null ? 404 : 200 });
    stream.end(found);
  };
});

async function start(t: TestContext, isNew = true, dir = scratchDir(t)): Promise<Running & { vkeys: string[] }> {
  const keyFile = join(dir, 'witness-key');
  const vkeys = isNew ? await makeWitnessKey(keyFile, NAME) : [];
  const running = await startBefore(service.trust(), { dataDir: join(dir, 'data'), witness: { keyFile, isNew } });
  let closing: Promise<void> | null = null;
  const close = () => {
    closing ??= running.close();
    return closing;
  };
  t.after(close);
  return { ...running, close, vkeys };
}

const isDelivered = ({ witness }: { witness?: { delivered: { size: number } | null } }) =>
  witness?.delivered?.size === log().size();

test('the log of the verified evidence is cosigned, also while the service waits for it with its gate closed', async (t) => {
  service.healthStatus = 503;
  const { gateway, vkeys } = await start(t);
  await log().append(Buffer.from('{"boot":1}'));
  const state = await until(gateway, isDelivered);
  assert.deepEqual([state.state, state.reasons, state.witness?.trouble], ['closed', ['service-closed'], null]);
  const { path, headers, bytes } = service.arrived.at(-1)!;
  assert.deepEqual([path, headers['content-type']], ['/api/v1/cosignatures', 'text/plain; charset=utf-8']);
  const { signedBy } = verifyNote(String(bytes), [...log().vkeys(), ...vkeys].map(parseVkey));
  assert.equal(signedBy.length, 4);
  assert.equal(parseCheckpoint(parseNote(String(bytes)).text).size, log().size());
  await log().append(Buffer.from('{"boot":2}'));
  await until(gateway, isDelivered);
});

test('a log whose key the evidence does not name is not cosigned', async (t) => {
  const { text } = parseNote(log().checkpoint());
  const origin = parseCheckpoint(text).origin;
  service.other = (stream) => {
    stream.respond({ ':status': 200 });
    stream.end(signed(text, signersOf(origin)));
  };
  const { gateway, dir } = await start(t);
  await until(gateway, ({ witness }) => witness?.trouble === 'refused');
  assert.deepEqual([service.arrived, readdirSync(join(dir, 'witness', 'heads'))], [[], []]);
});

test('a service that is not verified is not visited', async (t) => {
  service.withholds = () => true;
  t.after(() => {
    service.withholds = null;
  });
  service.door.requests.length = 0;
  const { gateway } = await start(t);
  await until(gateway, ({ witness, reasons }) => witness?.trouble === 'unreachable' && reasons.length === 2);
  assert.ok(
    service.door.requests.every((request) => request === 'GET /attestation'),
    String(service.door.requests),
  );
});

test('it remembers over a restart, and does not start without its memory', async (t) => {
  const dir = scratchDir(t);
  const first = await start(t, true, dir);
  await log().append(Buffer.from('{"n":1}'));
  await until(first.gateway, isDelivered);
  await first.close();
  const second = await start(t, false, dir);
  await until(second.gateway, isDelivered);
  await until(second.gateway, isOpen);
  await second.close();
  const keyFile = join(dir, 'witness-key');
  await assert.rejects(
    startBefore(service.trust(), { dataDir: join(dir, 'other'), witness: { keyFile, isNew: false } }),
    {
      code: 'WITNESS_STATE_INVALID',
    },
  );
});
