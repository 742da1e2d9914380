/** Collateral is fetched once in an interval and never used past its own next update; what is kept survives an outage. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { type SoftTee, startSoftTee } from '@abaton/soft-tee';
import { readCollateralDates } from '@abaton/verify';
import { openGuestAgent } from '../../src/tee/agent-client.ts';
import { createCollateralSource } from '../../src/tee/collateral.ts';

const dir = mkdtempSync(join(tmpdir(), 'abaton-collateral-'));
const HOUR_MS = 3_600_000;
const INTERVAL_MS = 6 * HOUR_MS;
const makeSource = (nowMs: () => number = Date.now, directory: string | null = null) =>
  createCollateralSource({ pccsUrls: [pccsUrl], directory, maxAgeMs: INTERVAL_MS, nowMs });
let tee: SoftTee;
let quote: Uint8Array;
let proxy: Server;
let pccsUrl: string;
let fetches = 0;
let down = false;
let bend = (text: string) => text;

before(async () => {
  tee = await startSoftTee({ state: join(dir, 'tee'), socket: join(dir, 'agent.sock'), compose: '{"name":"x"}' });
  quote = (await openGuestAgent(tee.socket).getQuote(new Uint8Array(64))).quote;
  // counts what passes, and can be down, or lie
  proxy = createServer(async (request, response) => {
    fetches++;
    if (down) return void response.writeHead(503).end();
    const { status, headers, body } = await fetch(`${tee.pccsUrl}${request.url}`);
    response.writeHead(
      status,
      Object.fromEntries([...headers].filter(([name]) => !/^(connection|content-length)$/.test(name))),
    );
    response.end(Buffer.from(bend(Buffer.from(await new Response(body).arrayBuffer()).toString('latin1')), 'latin1'));
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  pccsUrl = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
});

beforeEach(() => {
  fetches = 0;
  down = false;
});

after(async () => {
  proxy.close().closeAllConnections();
  await tee.close();
  rmSync(dir, { recursive: true });
});

const PARTS = 4;

test('concurrent and later calls share one fetch, until the interval has passed', async () => {
  let ms = Date.now();
  const source = makeSource(() => ms);
  const [one, two] = await Promise.all([source.collateralFor(quote), source.collateralFor(quote)]);
  assert.deepEqual(one, two);
  ms += INTERVAL_MS - 1;
  assert.equal(await source.collateralFor(quote), one);
  assert.equal(fetches, PARTS);
  ms += 1;
  await source.collateralFor(quote);
  assert.equal(fetches, 2 * PARTS);
});

test('the signed next update comes before the interval', async () => {
  const probe = await makeSource().collateralFor(quote);
  let ms = Date.parse(JSON.parse(probe.tcb_info).nextUpdate) - HOUR_MS;
  const source = makeSource(() => ms);
  await source.collateralFor(quote);
  fetches = 0;
  ms += HOUR_MS - 1;
  await source.collateralFor(quote);
  assert.equal(fetches, 0);
  ms += 1;
  await source.collateralFor(quote);
  assert.equal(fetches, PARTS);
});

test('while the PCCS is down the last set is handed on, and the PCCS is asked once a minute', async () => {
  let ms = Date.now();
  const source = makeSource(() => ms);
  const last = await source.collateralFor(quote);
  ms += 7 * HOUR_MS;
  down = true;
  fetches = 0;
  assert.equal(await source.collateralFor(quote), last);
  assert.equal(await source.collateralFor(quote), last);
  assert.equal(fetches, PARTS);
  down = false;
  ms += 60_000;
  await source.collateralFor(quote);
  assert.equal(fetches, 2 * PARTS);
});

test('after a restart without the PCCS the kept set is handed on until its signed end, and then none', async () => {
  const directory = join(dir, 'kept');
  const last = await makeSource(Date.now, directory).collateralFor(quote);
  down = true;
  const { expiresMs } = readCollateralDates(last);
  let ms = expiresMs;
  const source = makeSource(() => ms, directory);
  assert.deepEqual(await source.collateralFor(quote), last);
  ms++;
  await assert.rejects(source.collateralFor(quote), {
    code: 'COLLATERAL_UNAVAILABLE',
    message: new RegExp(`has expired on ${new Date(expiresMs).toISOString()}`),
  });
});

test('a forged set is neither handed on nor kept', async () => {
  const directory = join(dir, 'forged');
  const source = makeSource(Date.now, directory);
  bend = (text) => text.replace(/("tcbEvaluationDataNumber":)\d+/, '$12147483647');
  await assert.rejects(source.collateralFor(quote), { code: 'COLLATERAL_UNAVAILABLE' });
  bend = (text) => text;
  const genuine = await source.collateralFor(quote);
  assert.ok(readCollateralDates(genuine).tcbEvaluationDataNumber < 2 ** 31 - 1);
});

test('without any set there is none, and the next call tries again', async () => {
  const source = makeSource();
  down = true;
  await assert.rejects(source.collateralFor(quote), { code: 'COLLATERAL_UNAVAILABLE', name: 'UnavailableError' });
  down = false;
  await source.collateralFor(quote);
});

test('a quote that cannot be read names no platform', async () => {
  await assert.rejects(makeSource().collateralFor(quote.subarray(0, 600)), {
    code: 'QUOTE_MALFORMED',
  });
});
