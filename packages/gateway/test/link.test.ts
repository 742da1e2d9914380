/** The verified connection over time: it is replaced, ages, is refused, breaks; and what becomes of what runs. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Http2Session } from 'node:http2';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { parsePolicy } from '@abaton/verify';
import { json } from '../../client/test/hostile-door.ts';
import type { Gateway, GatewayOptions } from '../src/index.ts';
import {
  GUARD_MS,
  isDrained,
  isOpen,
  type LanAnswer,
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
let running: Running;
before(async () => {
  service = await startService();
});
afterEach(async () => {
  service.withholds = null;
  service.arrived.length = 0;
  await service.attested.tee.setFault(null);
  await running.close();
});
after(() => service.close());

async function open(options: Partial<GatewayOptions>): Promise<Gateway> {
  running = await startBefore(service.trust(), options);
  await until(running.gateway, isOpen);
  return running.gateway;
}

/** Waits for so many more verdicts. */
async function verdicts(gateway: Gateway, count: number): Promise<void> {
  for (; count > 0; count--) {
    const { at } = gateway.state().verdict!;
    await until(gateway, ({ verdict }) => verdict!.at !== at);
  }
}

interface HeldUpload {
  body: Buffer;
  /** Sends the rest. */
  release(): void;
  answer: Promise<LanAnswer>;
}

/** Sends half of an upload, and returns when that is on its way. */
async function holdUpload(bytes: number): Promise<HeldUpload> {
  const body = randomBytes(bytes);
  const released = Promise.withResolvers<void>();
  const underWay = Promise.withResolvers<void>();
  async function* pieces(): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < bytes; at += 2 ** 16) {
      if (at >= bytes / 2) {
        underWay.resolve();
        await released.promise;
      }
      yield body.subarray(at, at + 2 ** 16);
    }
  }
  const answer = store(running.url, pieces());
  answer.catch(() => {});
  await underWay.promise;
  return { body, release: released.resolve, answer };
}

/** The upload ends without an answer of the service. */
async function assertCut({ answer, release }: HeldUpload): Promise<void> {
  const ended = answer.then(
    ({ status }) => status,
    () => 'broken off',
  );
  release();
  assert.ok([502, 'broken off'].includes(await ended));
  assert.equal(service.arrived.length, 0);
}

test('50 MiB go over several changes of the connection without a break, and the old one is let go', async () => {
  const gateway = await open({ intervalMs: 300 });
  const upload = await holdUpload(50 * 2 ** 20);
  await verdicts(gateway, 3);
  assert.equal((await lan(`${running.url}/dicom-web/studies`)).status, 200);
  upload.release();
  assert.equal((await upload.answer).status, 200);
  const [arrived] = service.arrived;
  assert.equal(arrived!.sha256, sha256(upload.body));
  assert.notEqual(arrived!.session, [...service.sessions].at(-1), 'new requests go over a newer one');
  await verdicts(gateway, 1);
  assert.ok(arrived!.session.destroyed);
  assert.ok(service.sessions.size <= 2);
});

test('an upload that outlives interval and grace goes on while its connection proves itself again', async () => {
  const gateway = await open({ intervalMs: 300, graceMs: 500 });
  const upload = await holdUpload(2 ** 20);
  await verdicts(gateway, 5);
  upload.release();
  assert.equal((await upload.answer).status, 200);
  assert.equal(service.arrived[0]!.sha256, sha256(upload.body));
});

test('without fresh evidence it is cut at its deadline', async () => {
  const gateway = await open({ intervalMs: 300, graceMs: 500 });
  const upload = await holdUpload(2 ** 20);
  const old = [...service.sessions];
  service.withholds = (session: Http2Session) => old.includes(session);
  for (const deadline = Date.now() + GUARD_MS; !old.every(({ destroyed }) => destroyed); await sleep(10))
    assert.ok(Date.now() < deadline, 'the old connection stays');
  assert.ok(isOpen(gateway.state()), 'others are not affected');
  await assertCut(upload);
});

test('no evidence at all: open until the deadline, then closed, and what runs is cut', async () => {
  const gateway = await open({ intervalMs: 300, graceMs: 500 });
  const upload = await holdUpload(2 ** 20);
  service.withholds = () => true;
  const { reasons } = await until(gateway, ({ state }) => state === 'closed');
  assert.deepEqual(reasons, ['evidence-stale']);
  await assertCut(upload);
  await until(gateway, (state) => state.reasons.includes('EVIDENCE_UNAVAILABLE'));
  assert.equal(gateway.state().lastRefusal, null, 'nobody is accused');
});

test('a refusal closes at once, cuts what runs, and is kept for a person to see; one that holds opens', async () => {
  const gateway = await open({ intervalMs: 300 });
  const upload = await holdUpload(2 ** 20);
  await service.attested.tee.setFault('wrong-compose');
  const { reasons, verdict, lastRefusal } = await until(gateway, ({ state }) => state === 'closed');
  assert.deepEqual(reasons, ['verification-refused', 'CODE_HASH_MISMATCH']);
  assert.deepEqual([verdict!.headline, verdict!.codes], ['DO NOT send PHI (simulated)', ['CODE_HASH_MISMATCH']]);
  await assertCut(upload);
  while (service.sessions.size > 0) await new Promise((resolve) => setTimeout(resolve, 10)); // it hears of it later

  const queued = await store(running.url, Buffer.from('meanwhile'));
  assert.equal(queued.status, 202);
  await service.attested.tee.setFault(null);
  await until(gateway, (state) => isOpen(state) && isDrained(state));
  assert.equal(service.arrived[0]!.bytes.toString(), 'meanwhile');
  assert.deepEqual(gateway.state().lastRefusal, lastRefusal);
  const kept = JSON.parse(readFileSync(join(running.dir, 'last-refusal.json'), 'utf8'));
  assert.deepEqual(kept, { version: 1, ...lastRefusal });
});

test('a connection that breaks is noticed, and replaced', async () => {
  const gateway = await open({});
  for (const session of service.sessions) session.destroy();
  const asked = await lan(`${running.url}/dicom-web/studies`);
  assert.deepEqual([asked.status, asked.json().code], [502, 'CONNECTION_CUT']);
  await until(gateway, ({ reasons }) => reasons[0] === 'connection-lost');
  assert.equal((await store(running.url, Buffer.from('later'))).status, 202);
  await until(gateway, (state) => isOpen(state) && isDrained(state));
  assert.equal(service.arrived.length, 1);
});

test("the service's own gate: while it is closed uploads wait here", async () => {
  const gateway = await open({});
  service.healthStatus = 503;
  await until(gateway, ({ reasons }) => reasons[0] === 'service-closed');
  const queued = await store(running.url, Buffer.from('wait'));
  assert.equal(queued.status, 202);
  service.healthStatus = 200;
  await until(gateway, isDrained);
  const { json } = await lan(running.url + queued.headers.location);
  assert.deepEqual([json().state, json().status, json().body], ['forwarded', 200, '{"stored":4}']);
});

test('programs that stand still are cut after their patience; others pass meanwhile', async () => {
  const gateway = await open({ patienceMs: 500, intervalMs: 300 });
  const held = await Promise.all(Array.from({ length: 8 }, () => holdUpload(2 ** 18)));
  await verdicts(gateway, 1);
  assert.equal((await store(running.url, Buffer.from('quick'))).status, 200);
  await Promise.all(held.map(({ answer }) => assert.rejects(answer)));
  assert.deepEqual(
    service.arrived.map(({ bytes }) => bytes.toString()),
    ['quick'],
  );
});

test('evidence of the old connection is refused, that of the new one holds: the old one is cut, and it is kept', async (t) => {
  const recorded = await service.attested.evidence.evidenceFor('00'.repeat(32));
  const gateway = await open({ intervalMs: 300 });
  const upload = await holdUpload(2 ** 20);
  const old = [...service.sessions];
  const { answer } = service.door;
  t.after(() => {
    service.door.answer = answer;
  });
  service.door.answer = (stream, headers, socket) =>
    headers[':path']!.startsWith('/attestation') && old.includes(stream.session!)
      ? json(stream, 200, recorded)
      : answer(stream, headers, socket);
  const { lastRefusal } = await until(gateway, (state) => state.lastRefusal !== null);
  assert.deepEqual(lastRefusal!.codes, ['NONCE_MISMATCH']);
  assert.ok(isOpen(gateway.state()), 'others are not affected');
  const logged = running.lines.map((line) => JSON.parse(line)).find(({ event }) => event === 'verification-refused');
  assert.deepEqual([logged.level, logged.codes], ['error', lastRefusal!.codes]);
  await assertCut(upload);
});

test('a required check that did not run is named, and a person has to look', async () => {
  const { tee } = service.attested;
  const policy = parsePolicy({ ...(tee.policy as object), osMeasurements: [] });
  running = await startBefore({ ...service.trust(), policy });
  const { reasons, lastRefusal } = await until(running.gateway, (state) => state.lastRefusal !== null);
  assert.equal(reasons[0], 'verification-refused');
  assert.ok(reasons.includes('not-run:os-measurement'));
  assert.ok(lastRefusal!.codes.includes('not-run:os-measurement'));
  assert.ok(!running.lines.join('').includes('"?"'), 'the log knows the form');
});

test('interval and grace may be shorter than their defaults, not longer', async () => {
  running = await startBefore(service.trust(), {});
  for (const options of [{ intervalMs: 300_001 }, { intervalMs: 0 }, { intervalMs: Number.NaN }, { graceMs: 60_001 }])
    await assert.rejects(startBefore(service.trust(), options), RangeError);
});
