/** Collateral that outlives an outage of the PCCS and a restart, never its signed end, and never goes back in time. */
import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { type SoftTee, startSoftTee } from '@abaton/soft-tee';
import { readCollateralDates } from '@abaton/verify';
import { openCollateralStore } from '../src/index.ts';

const dir = mkdtempSync(join(tmpdir(), 'abaton-store-'));
const DAY_MS = 86_400_000;
const PLATFORM = { fmspc: '00ff00ff00ff', ca: 'platform' } as const;
const FILE = '00ff00ff00ff-platform.json';
let tee: SoftTee;
let proxy: Server;
let proxyUrl: string;
let fetches = 0;
/** What the service does to its answers. */
let bend: (path: string, body: string) => string | null;

before(async () => {
  tee = await startSoftTee({ state: join(dir, 'tee'), socket: join(dir, 'agent.sock'), compose: '{"name":"x"}' });
  proxy = createServer(async (request, response) => {
    fetches++;
    const { status, headers, body } = await fetch(`${tee.pccsUrl}${request.url}`);
    const bytes = Buffer.from(await new Response(body).arrayBuffer());
    const bent = bend(request.url!, bytes.toString('latin1'));
    if (bent === null) return void response.writeHead(503).end();
    response.writeHead(
      status,
      Object.fromEntries([...headers].filter(([name]) => !/^(connection|content-length)$/.test(name))),
    );
    response.end(Buffer.from(bent, 'latin1'));
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  proxyUrl = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
});

let directory: string;
let troubles: string[] = [];
let nowMs = Date.now();
const openStore = (pccsUrls = [proxyUrl]) =>
  openCollateralStore({ directory, pccsUrls, nowMs: () => nowMs, onTrouble: ({ message }) => troubles.push(message) });
const down = () => {
  bend = () => null;
};

beforeEach(() => {
  directory = mkdtempSync(join(dir, 'kept-'));
  fetches = 0;
  troubles = [];
  nowMs = Date.now();
  bend = (_, body) => body;
});

after(async () => {
  proxy.close().closeAllConnections();
  await tee.close();
  rmSync(dir, { recursive: true });
});

const unavailable = (pattern: RegExp) => (error: { name: string; code: string; message: string }) =>
  error.name === 'UnavailableError' && error.code === 'COLLATERAL_UNAVAILABLE' && pattern.test(error.message);

test('what was kept is handed out after a restart without the service, until its signed end', async () => {
  const { collateral, dates, fresh } = await openStore().collateralFor(PLATFORM);
  assert.equal(fresh, true);
  assert.deepEqual(dates, readCollateralDates(collateral));
  assert.equal(statSync(join(directory, FILE)).mode & 0o777, 0o600);
  down();
  nowMs = dates.expiresMs;
  const kept = await openStore().collateralFor(PLATFORM);
  assert.deepEqual([kept.collateral, kept.fresh], [collateral, false]);
  assert.ok(troubles.length > 0);
  nowMs++;
  await assert.rejects(openStore().collateralFor(PLATFORM), unavailable(/has expired on \d{4}-/));
});

test('collateral of a week is a warning', async () => {
  const { dates } = await openStore().collateralFor(PLATFORM);
  down();
  nowMs = dates.issuedMs + 7 * DAY_MS + 1;
  await openStore().collateralFor(PLATFORM);
  assert.ok(troubles.includes('The collateral that is kept is older than a week'));
});

test('without anything kept, nothing is handed out', async () => {
  down();
  await assert.rejects(openStore().collateralFor(PLATFORM), unavailable(/^No service handed out/));
  assert.deepEqual(readdirSync(directory), []);
});

test('the next service is asked when the first fails', async () => {
  down();
  const { fresh } = await openStore([proxyUrl, tee.pccsUrl]).collateralFor(PLATFORM);
  assert.equal(fresh, true);
  assert.equal(troubles.length, 1);
});

test('an answer that goes back in time does not replace what is kept', async () => {
  const { collateral } = await openStore().collateralFor(PLATFORM);
  for (const older of [
    (text: string) =>
      text.replace(/("tcbEvaluationDataNumber"\s*:\s*)(\d+)/, (_, name, n) => `${name}${Number(n) - 1}`),
    (text: string) => text.replace(/("issueDate"\s*:\s*")(\d{4})/, (_, name, year) => `${name}${Number(year) - 1}`),
  ]) {
    bend = (path, body) => (path.includes('/tcb?') ? older(body) : body);
    const again = await openStore().collateralFor(PLATFORM);
    assert.deepEqual([again.collateral, again.fresh], [collateral, false]);
  }
  assert.match(troubles[0]!, /older collateral than is kept$/);
});

test('a file that is torn, foreign or of another version is replaced', async () => {
  for (const content of ['', '{', '{"version":2}', '{"version":1,"collateral":{}}', 'x'.repeat(1e6)]) {
    writeFileSync(join(directory, FILE), content);
    down();
    await assert.rejects(openStore().collateralFor(PLATFORM), unavailable(/^No service/));
    bend = (_, body) => body;
    await openStore().collateralFor(PLATFORM);
    assert.equal(JSON.parse(readFileSync(join(directory, FILE), 'utf8')).version, 1);
  }
});

test('a write that a crash has cut off leaves the old file whole', async () => {
  await openStore().collateralFor(PLATFORM);
  writeFileSync(join(directory, `${FILE}.0000.tmp`), '{"version":1,"coll');
  down();
  assert.equal((await openStore().collateralFor(PLATFORM)).fresh, false);
});

test('a directory that cannot be written is a trouble, and no more', {
  skip: process.getuid?.() === 0 && 'root writes everywhere',
}, async () => {
  chmodSync(directory, 0o500);
  const store = openStore();
  assert.equal((await store.collateralFor(PLATFORM)).fresh, true);
  assert.deepEqual(troubles, ['Collateral cannot be kept on disk']);
  down();
  assert.equal((await store.collateralFor(PLATFORM)).fresh, false);
});

test('a directory that is gone is a trouble, and no more', async () => {
  const store = openStore();
  rmSync(directory, { recursive: true });
  assert.equal((await store.collateralFor(PLATFORM)).fresh, true);
  assert.deepEqual(troubles, ['Collateral cannot be kept on disk']);
});

test('callers at the same time share one question', async () => {
  const store = openStore();
  const answers = await Promise.all(Array.from({ length: 20 }, () => store.collateralFor(PLATFORM)));
  assert.equal(fetches, 4);
  for (const answer of answers) assert.equal(answer, answers[0]);
});
