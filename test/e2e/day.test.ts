/**
 * A day of attested life: a real server in a software TEE whose clock is compressed, with an hour in which no collateral
 * service answers. `SOAK=1` runs 24 simulated hours in a quarter of an hour; the sample here runs forty minutes of them, with a
 * sixth of it without the service.
 */
import assert from 'node:assert/strict';
import { createServer, get } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { GRACE_MS } from '../../packages/server/src/tee/attestation-state.ts';
import { readYears } from '../../packages/server/test/audit/support.ts';
import { careless } from './careless.ts';
import { root, startStack } from './stack.ts';

const SOAK = process.env.SOAK === '1';
/** A proof takes some tens of milliseconds on a busy machine; the grace of 20 s has to be more than that. */
const FACTOR = SOAK ? 96 : 144;
const DAY_MS = SOAK ? 24 * 3_600_000 : 40 * 60_000;
const INTERVAL_MS = 300_000; // the default

/** Between the server and the collateral service: counts, and may be out of order. */
async function startCountingProxy(target: string) {
  const service = { tcbInfos: 0, down: false };
  const server = createServer((request, response) => {
    if (request.url!.includes('/tcb')) service.tcbInfos++;
    if (service.down) return void response.writeHead(503).end();
    const ask = get(`${target}${request.url}`, (answer) => {
      response.writeHead(answer.statusCode!, answer.headers);
      answer.pipe(response);
    });
    ask.on('error', () => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { service, url, close: () => server.close().closeAllConnections() };
}

const read = async (url: string, path: string): Promise<string> => (await careless(url, 'GET', path)).text;

test(`${DAY_MS / 60_000} minutes of attestation`, { timeout: 3_600_000 }, async (t) => {
  const stack = await startStack();
  const proxy = await startCountingProxy(stack.softTee.pccsUrl);
  t.after(async () => {
    await stack.close();
    proxy.close();
  });
  const server = await stack.startServer({
    PCCS_URL: proxy.url,
    CLOCK_FACTOR: String(FACTOR),
    NODE_OPTIONS: `--import=${join(root, 'test/e2e/compressed-clock.mjs')}`,
  });
  const began = Date.now();
  const residents: number[] = [];
  const closed: string[] = [];
  for (let passedMs = 0; passedMs < DAY_MS; passedMs = (Date.now() - began) * FACTOR) {
    proxy.service.down = passedMs > DAY_MS / 2 && passedMs < DAY_MS / 2 + (SOAK ? 3_600_000 : DAY_MS / 6);
    const { status, reasons } = JSON.parse(await read(server.url, '/healthz'));
    if (status !== 'open') closed.push(`after ${Math.round(passedMs / 60_000)} minutes: ${reasons}`);
    const [, bytes] = /^abaton_resident_bytes (\d+)$/m.exec(await read(server.url, '/metrics'))!;
    residents.push(Number(bytes));
    await sleep(250);
  }
  const { continuity } = JSON.parse(await read(server.url, '/attestations?limit=1'));
  const { auditLogVkeys } = JSON.parse(await read(server.url, '/.well-known/abaton'));
  await server.stop();

  const log = (await readYears(join(stack.dataDir, 'audit'), auditLogVkeys)).map(
    (bytes) => JSON.parse(Buffer.from(bytes).toString()) as { time: string; action: string; outcome: string },
  );
  const proofs = log.filter(({ action }) => action === 'attest');
  const gapsMs = proofs.slice(1).map(({ time }, i) => Date.parse(time) - Date.parse(proofs[i]!.time));
  assert.ok(proofs.every(({ outcome }) => outcome === 'success'));
  assert.ok(proofs.length >= 3, `${proofs.length} proofs`);
  assert.ok(proxy.service.tcbInfos >= proofs.length, 'each proof asks for new collateral');
  const longestMs = Math.max(...gapsMs);
  const warm = residents.slice(residents.length >> 2);
  const [first, last] = [warm.slice(0, warm.length >> 1), warm.slice(warm.length >> 1)].map(median) as [number, number];
  console.log(
    `${proofs.length} proofs, longest gap ${longestMs / 1000} s, ${proxy.service.tcbInfos} requests for TCB info, ` +
      `continuity ${(continuity.last24h * 100).toFixed(2)} % of 24 h, memory ${mib(first)} to ${mib(last)} MiB`,
  );
  if (!SOAK) return; // times and memory of a sample say little on a busy machine
  assert.deepEqual(closed, []);
  assert.ok(proofs.length >= 0.9 * (DAY_MS / INTERVAL_MS), `${proofs.length} proofs`);
  assert.ok(longestMs <= INTERVAL_MS + GRACE_MS, `${longestMs}`);
  assert.ok(last - first < 16 * 2 ** 20, 'memory is flat');
});

const median = (values: number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1]!;
const mib = (bytes: number): number => Math.round(bytes / 2 ** 20);
