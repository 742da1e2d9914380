/** The queue on disk: order, answers, limits, damage, its key and its lock. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import type { GatewayOptions } from '../src/index.ts';
import { openQueue } from '../src/queue/queue.ts';
import {
  isDrained,
  isOpen,
  lan,
  type Running,
  type Service,
  sha256,
  startBefore,
  startService,
  store,
  until,
} from './harness.ts';

let service: Service;
let dir: string;
let running: Running | null = null;
before(async () => {
  service = await startService();
});
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'abaton-gateway-'));
  service.healthStatus = 503;
  service.storeStatus = 200;
  service.arrived.length = 0;
});
afterEach(async () => {
  await running?.close();
  running = null;
  rmSync(dir, { recursive: true });
});
after(() => service.close());

async function start(options: Partial<GatewayOptions> = {}): Promise<Running> {
  await running?.close();
  running = await startBefore(service.trust(), { dataDir: dir, ...options });
  return running;
}

async function enqueue(body: Uint8Array): Promise<string> {
  const { status, headers, json } = await store(running!.url, body);
  assert.equal(status, 202);
  assert.equal(headers.location, `/queue/${json().queued}`);
  return String(json().queued);
}
const look = async (id: string) => (await lan(`${running!.url}/queue/${id}`)).json();
const remove = async (id: string) => (await lan(`${running!.url}/queue/${id}`, { method: 'DELETE' })).status;
const files = (end: string) => readdirSync(join(dir, 'queue')).filter((name) => name.endsWith(end));

/** Lets the service take what is queued. */
async function drain(): Promise<void> {
  service.healthStatus = 200;
  await until(running!.gateway, (state) => isOpen(state) && isDrained(state));
}

test('in the order of the acknowledgements, with path and headers, over a restart', async () => {
  await start();
  const bodies = [0, 1, 65_536 - 200, 65_536, 200_000].map((bytes) => randomBytes(bytes));
  const ids: string[] = [];
  for (const body of bodies.slice(0, 3)) ids.push(await enqueue(body));
  await start();
  for (const body of bodies.slice(3)) ids.push(await enqueue(body));
  assert.deepEqual(await look(ids[0]!), { id: ids[0], state: 'queued' });
  assert.equal(files('.upload').length, 5);
  await drain();
  assert.deepEqual(
    service.arrived.map((each) => each.sha256),
    bodies.map(sha256),
  );
  const { path, headers } = service.arrived[0]!;
  assert.deepEqual([path, headers['content-type']], ['/dicom-web/studies', 'application/dicom']);
  const { state, status, contentType, body } = await look(ids[4]!);
  assert.deepEqual([state, status, contentType, body], ['forwarded', 200, 'application/json', '{"stored":200000}']);
  assert.equal(files('.upload').length, 0);
  await start();
  assert.equal((await look(ids[4]!)).state, 'forwarded', 'the answer outlives a restart');
  assert.equal(await remove(ids[4]!), 204);
  assert.equal((await look(ids[4]!)).code, 'NOT_FOUND');
});

for (const status of [409, 400, 202, 415])
  test(`${status} of the service: the upload is kept with the answer until it is deleted`, async () => {
    await start();
    const id = await enqueue(Buffer.from('odd'));
    assert.equal(await remove(id), 409, 'what waits is not deleted');
    service.storeStatus = status;
    await drain();
    const answer = await look(id);
    assert.deepEqual([answer.state, answer.status, answer.body], ['refused', status, '{"stored":3}']);
    assert.equal(files('.upload').length, 1);
    assert.deepEqual(running!.gateway.state().queue.refused, 1);
    service.storeStatus = 200;
    await start();
    assert.equal((await look(id)).state, 'refused', 'and is not sent again');
    assert.equal(await remove(id), 204);
    assert.deepEqual([files('.upload'), files('.answer')], [[], []]);
    assert.deepEqual(running!.gateway.state().queue, { queued: 0, refused: 0, bytes: 0 });
    assert.equal(service.arrived.length, 1);
  });

test('503 of the service: it is tried again', async () => {
  await start();
  const id = await enqueue(Buffer.from('later'));
  service.storeStatus = 503;
  service.healthStatus = 200;
  await until(running!.gateway, () => service.arrived.length > 0);
  assert.equal((await look(id)).state, 'queued');
  service.storeStatus = 200;
  await drain();
  assert.equal((await look(id)).state, 'forwarded');
});

test('a week after it was forwarded its answer is forgotten; a refused one never is', async () => {
  await start();
  service.storeStatus = 409;
  const refused = await enqueue(Buffer.from('refused'));
  await drain();
  const [kept] = files('.answer');
  Object.assign(service, { storeStatus: 200, healthStatus: 503 });
  await start();
  const id = await enqueue(Buffer.from('old'));
  await drain();
  const [file] = files('.answer').filter((name) => name !== kept);
  const age = (days: number) => new Date(Date.now() - days * 86_400_000);
  utimesSync(join(dir, 'queue', file!), age(6.9), age(6.9));
  await start();
  assert.equal((await look(id)).state, 'forwarded');
  for (const name of [file!, kept!]) utimesSync(join(dir, 'queue', name), age(7.1), age(7.1));
  await start();
  assert.equal((await look(id)).code, 'NOT_FOUND');
  assert.equal((await look(refused)).state, 'refused');
  assert.deepEqual([files('.upload').length, files('.answer')], [1, [kept]]);
});

test('more than the queue may hold: 507 or 413, and nothing of it stays', async () => {
  await start({ maxQueueBytes: 300_000 });
  assert.equal((await store(running!.url, Buffer.alloc(300_001))).status, 413);
  await enqueue(randomBytes(200_000));
  async function* unannounced(): AsyncGenerator<Uint8Array> {
    for (let i = 0; i < 3; i++) yield randomBytes(65_536);
  }
  const { status, json } = await store(running!.url, unannounced());
  assert.deepEqual([status, json().code], [507, 'QUEUE_FULL']);
  assert.equal(files('.part').length, 0);
  assert.equal(running!.gateway.state().queue.queued, 1);
  await enqueue(randomBytes(50_000));
});

test('what did not arrive in whole is not queued', async () => {
  await start();
  async function* half(): AsyncGenerator<Uint8Array> {
    yield randomBytes(200_000);
    throw new Error('the power is gone');
  }
  await assert.rejects(store(running!.url, half()));
  await until(running!.gateway, () => files('.part').length === 0);
  assert.deepEqual(running!.gateway.state().queue, { queued: 0, refused: 0, bytes: 0 });
});

const path = (name: string) => join(dir, 'queue', name);
const flip = (name: string, at: number) => {
  const bytes = readFileSync(path(name));
  bytes[at]! ^= 1;
  writeFileSync(path(name), bytes);
};
const DAMAGES: Record<string, (name: string, other: string) => void> = {
  'cut in a chunk': (name) => truncateSync(path(name), statSync(path(name)).size - 1),
  'cut between chunks': (name) => truncateSync(path(name), 82 + 65_552),
  'cut in the header': (name) => truncateSync(path(name), 50),
  empty: (name) => truncateSync(path(name), 0),
  'longer by a byte': (name) => writeFileSync(path(name), Buffer.concat([readFileSync(path(name)), Buffer.alloc(1)])),
  'a bit of the header': (name) => flip(name, 4),
  'a bit of the wrapped key': (name) => flip(name, 40),
  'a bit of the first chunk': (name) => flip(name, 100),
  'a bit of the last chunk': (name) => flip(name, statSync(path(name)).size - 20),
  'a bit in the middle': (name) => flip(name, 82 + 65_552 + 100),
  'another upload': (name, other) => copyFileSync(path(other), path(name)),
  deleted: (name) => rmSync(path(name)),
};
for (const [what, damage] of Object.entries(DAMAGES))
  test(`a damaged file (${what}) is not forwarded as a whole, and does not hold up the next`, async () => {
    await start();
    const id = await enqueue(randomBytes(150_000));
    const other = await enqueue(Buffer.from('sound'));
    const nameOf = (each: string) => files('.upload').find((name) => name.includes(each))!;
    damage(nameOf(id), nameOf(other));
    await drain();
    const { state, status } = await look(id);
    assert.deepEqual([state, status], ['refused', null]);
    assert.equal((await look(other)).state, 'forwarded');
    assert.deepEqual(
      service.arrived.map(({ bytes }) => bytes.toString()),
      ['sound'],
    );
  });

test('the key: made once, for this user alone, and never replaced while something is sealed', async () => {
  await start();
  const key = join(dir, 'key');
  assert.equal(statSync(key).mode & 0o777, 0o600);
  assert.equal(statSync(join(dir, 'queue')).mode & 0o777, 0o700);
  const made = readFileSync(key, 'utf8');
  await enqueue(Buffer.from('sealed'));
  await start();
  assert.equal(readFileSync(key, 'utf8'), made);
  await running!.close();
  running = null;
  const invalid = { code: 'QUEUE_KEY_INVALID' };
  const open = () => openQueue(dir, 2 ** 20);
  chmodSync(key, 0o640);
  await assert.rejects(open(), invalid);
  chmodSync(key, 0o600);
  writeFileSync(key, 'abaton-queue-key-v2 00\n');
  await assert.rejects(open(), invalid);
  writeFileSync(key, `abaton-queue-key-v1 ${'5a'.repeat(32)}\n`); // of an old backup: it must settle nothing
  await assert.rejects(open(), invalid);
  rmSync(key);
  await assert.rejects(open(), invalid);
  writeFileSync(key, made, { mode: 0o600 });
  (await open()).close();
});

test('a file that cannot be read holds up no other, and goes once it can be', async () => {
  await start();
  const stuck = await enqueue(Buffer.from('stuck'));
  const other = await enqueue(Buffer.from('other'));
  const [name] = files('.upload');
  const path = join(dir, 'queue', name!);
  await running!.close();
  running = null;
  renameSync(path, `${path}.away`);
  mkdirSync(path); // EISDIR stands for a disk that does not give it out
  service.healthStatus = 200;
  await start();
  await until(running!.gateway, ({ queue }) => queue.queued === 1);
  assert.deepEqual([(await look(other)).state, (await look(stuck)).state], ['forwarded', 'queued']);
  rmSync(path, { recursive: true });
  renameSync(`${path}.away`, path);
  await until(running!.gateway, isDrained);
  assert.equal((await look(stuck)).state, 'forwarded');
});

test('a crash between the answer and the end of a forwarded upload leaves nothing refused', async () => {
  await start();
  const id = await enqueue(Buffer.from('forwarded'));
  const [name] = files('.upload');
  const bytes = readFileSync(join(dir, 'queue', name!));
  await drain();
  await running!.close();
  running = null;
  writeFileSync(join(dir, 'queue', name!), bytes);
  service.healthStatus = 503;
  await start();
  assert.deepEqual([(await look(id)).state, files('.upload')], ['forwarded', []]);
  assert.equal(running!.gateway.state().queue.refused, 0);
});

test('an upload that is deleted while others come and go is counted out once', async () => {
  await start();
  service.storeStatus = 409;
  const id = await enqueue(Buffer.alloc(100_000));
  await drain();
  const statuses = await Promise.all(
    Array.from({ length: 3 }, async () => (await lan(`${running!.url}/queue/${id}`, { method: 'DELETE' })).status),
  );
  assert.deepEqual(statuses.sort(), [204, 404, 404]);
  assert.equal(running!.gateway.state().queue.bytes, 0);
});

test('an address that is none is said at the start', async () => {
  const trust = { ...service.trust(), url: 'http://127.0.0.1:1' };
  await assert.rejects(startBefore(trust, { dataDir: dir }), { code: 'URL_INVALID' });
});

test('one gateway at a time', async () => {
  await start();
  await assert.rejects(startBefore(service.trust(), { dataDir: dir }), { code: 'QUEUE_IN_USE' });
});
