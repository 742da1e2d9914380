/** What the LAN side is told when the disk or the gateway itself fails, and what the log says of it. */
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createHandler, type HandlerDeps } from '../src/http/handler.ts';
import { listen } from '../src/http/listen.ts';
import { createLogger } from '../src/log.ts';
import { lan, type Service, startBefore, startService, store } from './harness.ts';

let service: Service;
before(async () => {
  service = await startService();
});
after(() => service.close());

test('a queue that the disk does not give out, or does not take: STORE_UNAVAILABLE, logged with its place', async (t) => {
  service.healthStatus = 503;
  const running = await startBefore(service.trust());
  t.after(() => running.close());
  const queue = join(running.dir, 'queue');
  const { text } = await store(running.url, Buffer.from('x'));
  const id = JSON.parse(text).queued;
  service.storeStatus = 409;
  service.healthStatus = 200;
  while (running.gateway.state().queue.refused === 0) await new Promise((resolve) => setTimeout(resolve, 10));
  const [answer] = readdirSync(queue).filter((name) => name.endsWith('.answer'));
  rmSync(join(queue, answer!));
  mkdirSync(join(queue, answer!)); // EISDIR stands for a disk that does not give it out
  const found = await lan(`${running.url}/queue/${id}`);
  assert.deepEqual([found.status, found.json().code, found.headers['retry-after']], [503, 'STORE_UNAVAILABLE', '10']);

  service.healthStatus = 503;
  while (running.gateway.state().state === 'open') await new Promise((resolve) => setTimeout(resolve, 10));
  rmSync(queue, { recursive: true });
  const refused = await store(running.url, Buffer.from('x'));
  assert.deepEqual([refused.status, refused.json().code], [503, 'STORE_UNAVAILABLE']);
  const logged = running.lines.map((line) => JSON.parse(line)).filter(({ event }) => event === 'store-unavailable');
  assert.deepEqual(
    logged.map(({ level, code }) => [level, code]),
    [
      ['error', 'EISDIR'],
      ['error', 'ENOENT'],
    ],
  );
  for (const { at } of logged) assert.match(at, /^packages\/gateway\/src\/queue\/[\w-]+\.ts:\d+:\d+$/);
  assert.ok(!running.lines.join('').includes(running.dir), 'no message: it would say where');
});

test('a defect: INTERNAL, with its place in the log and nothing of its message anywhere', async (t) => {
  const lines: string[] = [];
  const health = () => {
    throw new TypeError('no such thing: DOE^JOHN');
  };
  const deps = { logger: createLogger((line) => lines.push(line)), health } as unknown as HandlerDeps;
  const listener = await listen({
    host: '127.0.0.1',
    port: 0,
    tls: null,
    handler: (verifyCaller) => createHandler(deps, verifyCaller),
  });
  t.after(() => listener.close());
  const { status, text, json } = await lan(`http://127.0.0.1:${listener.port}/healthz`);
  assert.deepEqual([status, json().code, json().class], [500, 'INTERNAL', 'fix']);
  const [line] = lines.map((each) => JSON.parse(each));
  assert.deepEqual([line.level, line.event, line.code], ['error', 'defect', 'INTERNAL']);
  assert.match(line.at, /^packages\/gateway\/test\/failures\.test\.ts:\d+:\d+$/);
  assert.ok(!`${text}${lines}`.includes('DOE'));
});
