/** kill -9 at any moment loses nothing that was answered 202, and no torn upload is ever forwarded (I6). */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomBytes, randomInt } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { GatewayOptions } from '../src/index.ts';
import { isDrained, lan, type Service, sha256, startBefore, startService, store, until } from './harness.ts';

const KILLS = process.env.SLOW ? 200 : 6;
const SEED = Number(process.env.SEED ?? randomInt(2 ** 31));

let service: Service;
let dir: string;
before(async () => {
  service = await startService();
  dir = mkdtempSync(join(tmpdir(), 'abaton-gateway-'));
});
after(async () => {
  await service.close();
  rmSync(dir, { recursive: true });
});

async function startChild(
  options: { trust: GatewayOptions['trust']; dataDir: string } & Partial<GatewayOptions>,
  wrapper: string[] = [],
): Promise<{ child: ChildProcess; url: string }> {
  const script = fileURLToPath(new URL('./gateway-child.ts', import.meta.url));
  const [command = process.execPath, ...args] = [...wrapper, process.execPath, script, JSON.stringify(options)];
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'ignore'] });
  const port = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout! }).once('line', resolve);
    child.once('exit', () => reject(new Error('the gateway did not start')));
  });
  return { child, url: `http://127.0.0.1:${port}` };
}

/** Numerical Recipes' linear congruential generator: the same kills for the same seed. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

test(`kill -9 at ${KILLS} random moments (SEED=${SEED})`, { timeout: 120_000 + KILLS * 5_000 }, async () => {
  const next = random(SEED);
  const acknowledged: string[] = [];
  const sent = new Set<string>();
  for (let kill = 0; kill < KILLS; kill++) {
    service.healthStatus = kill % 2 ? 200 : 503; // every second time it drains while it is killed
    const { child, url } = await startChild({ trust: service.trust(), dataDir: dir });
    let killed = false;
    const sender = async () => {
      while (!killed) {
        const body = randomBytes(1 + Math.floor(next() * 2 ** 19));
        sent.add(sha256(body));
        const answer = await store(url, body).catch(() => null);
        if (answer?.status === 202 || answer?.status === 200) acknowledged.push(sha256(body));
      }
    };
    const senders = [sender(), sender(), sender()];
    await sleep(100 + next() * 500);
    child.kill('SIGKILL');
    killed = true;
    await once(child, 'exit');
    await Promise.all(senders);
  }
  assert.ok(acknowledged.length > 0, 'something was acknowledged: an idle run proves nothing');
  assert.ok(sent.size > acknowledged.length, 'something was cut: else the kills came at no bad moment');

  service.healthStatus = 200;
  const last = await startBefore(service.trust(), { dataDir: dir });
  await until(last.gateway, isDrained);
  await last.close();
  assert.deepEqual(
    readdirSync(join(dir, 'queue')).filter((name) => !name.endsWith('.answer')),
    [],
  );
  const arrived = new Set(service.arrived.map(({ sha256: digest }) => digest));
  assert.deepEqual(
    acknowledged.filter((digest) => !arrived.has(digest)),
    [],
    'lost',
  );
  assert.deepEqual(
    [...arrived].filter((digest) => !sent.has(digest)),
    [],
    'torn',
  );
});

/** A file system of its own, of 2 MiB, for one process. */
const SMALL_DISK = ['unshare', '--user', '--map-root-user', '--mount', 'sh', '-c'];

function canMount(folder: string): boolean {
  try {
    execFileSync(SMALL_DISK[0]!, [...SMALL_DISK.slice(1), `mount -t tmpfs -o size=2m tmpfs '${folder}'`]);
    return true;
  } catch {
    return false;
  }
}

test('a full disk: 507, nothing half-queued, and what was queued before is forwarded', async (t) => {
  const small = join(dir, 'small');
  mkdirSync(small);
  if (!canMount(small)) return t.skip('needs unprivileged user namespaces, or root');
  service.healthStatus = 503;
  service.arrived.length = 0;
  const { child, url } = await startChild({ trust: service.trust(), dataDir: small }, [
    ...SMALL_DISK,
    `mount -t tmpfs -o size=2m tmpfs '${small}' && exec "$0" "$@"`,
  ]);
  t.after(() => child.kill('SIGKILL'));
  const [first, second] = [randomBytes(2 ** 20), randomBytes(2 ** 18)];
  assert.equal((await store(url, first)).status, 202);
  const refused = await store(url, randomBytes(2 ** 21));
  assert.deepEqual([refused.status, refused.json().code], [507, 'QUEUE_FULL']);
  assert.equal((await store(url, second)).status, 202, 'what the refused one had taken is free again');
  const health = (await lan(`${url}/healthz`)).json() as { queue: { queued: number } };
  assert.equal(health.queue.queued, 2);
  service.healthStatus = 200;
  while (service.arrived.length < 2) await sleep(20);
  assert.deepEqual(
    service.arrived.map(({ sha256: digest }) => digest),
    [sha256(first), sha256(second)],
  );
});
