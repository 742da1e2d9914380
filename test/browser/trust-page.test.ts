/**
 * The trust page in a real Chromium, from a real door before a software TEE: it says what Node says of the same
 * evidence.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type Check, type Evidence, parsePolicy, verifyEvidence } from '@abaton/verify';
import { createApp } from '../../packages/server/src/http/app.ts';
import { type Door, openDoor } from '../../packages/server/src/http/server.ts';
import { trustRoutes } from '../../packages/server/src/http/trust-routes.ts';
import { createLogger } from '../../packages/server/src/log.ts';
import { createMetrics } from '../../packages/server/src/metrics.ts';
import type { ReportLedger } from '../../packages/server/src/trust/report-ledger.ts';
import { NO_KEYHOLDER } from '../../packages/server/test/tee/absent.ts';
import { type AttestedServer, INTERVAL_MS, startAttested } from '../../packages/server/test/tee/attested-server.ts';
import { openLedger } from '../../packages/server/test/trust/support.ts';
import { skip } from './browser.ts';
import { type Page, startPage } from './devtools.ts';

/** Set it to a directory to look at the page: `TRUST_SCREENSHOTS=/tmp/trust`. */
const SCREENSHOTS = process.env.TRUST_SCREENSHOTS;

let server: AttestedServer;
let reports: ReportLedger;
let door: Door;
let page: Page;
let url: string;
/** The last evidence that was handed out. */
let handedOut: Evidence;
const closing: (() => unknown)[] = [];

before(async () => {
  if (skip) return;
  server = await startAttested();
  await server.boot();
  const dir = mkdtempSync(join(tmpdir(), 'abaton-trust-'));
  const [logger, nowMs] = [createLogger(() => {}), Date.now];
  reports = await openLedger(dir, { logger, nowMs });
  await recordDay();
  const { monitor, gate, log } = server;
  const evidence = {
    async evidenceFor(nonce: string) {
      handedOut = await server.evidence.evidenceFor(nonce);
      return handedOut;
    },
  };
  const app = createApp({
    ...{ evidence, monitor, gate, log, logger, witnesses: () => server.witnessing.state(), keyholder: NO_KEYHOLDER },
    ...{ metrics: createMetrics(), version: '0.0.0' },
  });
  app.route('/', trustRoutes({ reports, monitor, gate, intervalMs: INTERVAL_MS, nowMs }));
  const handler: Parameters<typeof openDoor>[0]['handler'] = (request, env) => app.fetch(request, env);
  door = await openDoor({ key: server.key, host: '127.0.0.1', port: 0, handler });
  url = `https://localhost:${door.port}/trust`;
  const chromium = await startPage(server.key.chainPem[0]!);
  page = chromium.page;
  closing.push(
    chromium.close,
    () => door.close(0),
    () => server.close(),
    () => rmSync(dir, { recursive: true }),
  );
});
after(async () => {
  for (const close of closing) await close();
});

/** A day of proofs with a failure in it and an hour in which nothing was proved, so that there is something to see. */
async function recordDay(): Promise<void> {
  const proof = server.monitor.newest()!;
  for (let ms = 24 * 3_600_000; ms > 0; ms -= INTERVAL_MS) {
    if (ms > 9 * 3_600_000 && ms <= 10 * 3_600_000) continue;
    const at = new Date(Date.now() - ms).toISOString();
    const failed = ms > 16 * 3_600_000 && ms < 16.4 * 3_600_000;
    const state = failed ? 'failed' : 'verified';
    await reports.record({ ...proof, id: null, at, state, codes: failed ? ['TCB_REVOKED'] : [], evidence: null });
  }
  await reports.record(proof);
}

/** The outcome, once there is one. */
const outcome = () =>
  page.eventually<string>(
    `(({ outcome }) => outcome !== 'asking' && outcome)(document.getElementById('outcome').dataset)`,
  );

const press = async (id: string): Promise<string> => {
  await page.evaluate(`document.getElementById('${id}').click()`);
  return outcome();
};

const demand = (policy: unknown, root: string) =>
  page.evaluate(
    `void (document.getElementById('policy').value = ${JSON.stringify(JSON.stringify(policy))}, document.getElementById('root').value = '${root}')`,
  );

type Shown = Pick<Check, 'id' | 'title' | 'status' | 'code' | 'expected' | 'seen'>;

const shownChecks = () =>
  page.evaluate<Shown[]>(`[...document.querySelectorAll('#checks > li')].map((li) => {
    const details = [...li.querySelectorAll('dl > div')].map((row) => [...row.children].map(({ textContent }) => textContent));
    return {
      id: li.dataset.check, title: li.querySelector('p').firstChild.textContent, status: li.dataset.status,
      ...Object.fromEntries(details.map(([term, text]) => [term === 'why' ? 'seen' : term, text])),
    };
  })`);

/** What Node says of the evidence that the page has got last. */
const judgedByNode = (policy: unknown, root: string | null) =>
  verifyEvidence({
    evidence: structuredClone(handedOut),
    policy: parsePolicy(policy),
    nowMs: Date.now(),
    expect: { nonce: handedOut.reportData.nonce, tlsSpkiSha256: null },
    acceptedRootsSha256: root === null ? [] : [root],
  });

const text = (id: string) => page.evaluate<string>(`document.getElementById('${id}').textContent`);

test('it loads under its policy without a complaint, and refuses a platform whose root nobody has named', {
  skip,
}, async () => {
  await page.setView({ width: 1280, height: 900, scheme: 'light' });
  await page.open(url);
  assert.equal(await outcome(), 'refused');
  assert.match(await text('headline'), /no hardware stands behind this \(SIMULATED\)/);
  assert.equal(await page.evaluate(`document.getElementById('simulated').hidden`), false);
  assert.deepEqual(await shownChecks(), (await judgedByNode({ version: 1 }, null)).checks);
  assert.deepEqual(page.complaints, []);
});

test('with nothing pinned it says so, and is not green', { skip }, async () => {
  await page.evaluate(`void (document.getElementById('root').value = '${server.tee.rootSha256}')`);
  assert.equal(await press('judge'), 'unpinned');
  assert.match(await text('pinned'), /Nothing is pinned/);
  assert.deepEqual(await shownChecks(), (await judgedByNode({ version: 1 }, server.tee.rootSha256)).checks);
});

test("by a pasted policy it shows the same checks as Node, and clears nothing: the channel isn't bound", {
  skip,
}, async () => {
  await demand(server.tee.policy, server.tee.rootSha256);
  assert.equal(await press('judge'), 'passed-simulated');
  const { checks, valid, codeHash } = await judgedByNode(server.tee.policy, server.tee.rootSha256);
  assert.deepEqual(await shownChecks(), checks);
  assert.equal(valid, false);
  assert.deepEqual(
    checks.filter(({ id }) => id === 'channel').map(({ status, seen }) => [status, seen]),
    [['not-run', 'not bound']],
  );
  assert.match(await text('reason'), /nothing is cleared/);
  assert.ok((await text('facts')).includes(codeHash!));
  if (SCREENSHOTS) await takePictures('passed');
});

test('each question has a new number', { skip }, async () => {
  const first = handedOut.reportData.nonce;
  assert.equal(await press('again'), 'passed-simulated');
  assert.notEqual(handedOut.reportData.nonce, first);
  assert.ok((await text('facts')).includes(handedOut.reportData.nonce));
});

test('a policy for other code, and a faulted platform, are refused in red with their codes', { skip }, async () => {
  const other = { ...server.tee.policy, codeHashes: [`sha256:${'11'.repeat(32)}`] };
  await demand(other, server.tee.rootSha256);
  assert.equal(await press('judge'), 'refused');
  assert.match(await text('meanings'), /CODE_HASH_MISMATCH/);

  await demand(server.tee.policy, server.tee.rootSha256);
  await server.tee.setFault('tcb-revoked');
  server.forgetCollateral();
  assert.equal(await press('judge'), 'refused');
  const { checks } = await judgedByNode(server.tee.policy, server.tee.rootSha256);
  assert.deepEqual(await shownChecks(), checks);
  assert.equal(checks.find(({ id }) => id === 'tcb-status')?.code, 'TCB_REVOKED');
  assert.match(await text('meanings'), /^TCB_REVOKED/);
  const [red, ink] = await page.evaluate<[string, string]>(
    `['headline', 'reason'].map((id) => getComputedStyle(document.getElementById(id)).color)`,
  );
  assert.notEqual(red, ink);
  if (SCREENSHOTS) await takePictures('refused');
  await server.tee.setFault(null);
  server.forgetCollateral();
  assert.equal(await press('again'), 'passed-simulated');
});

test('no evidence is no verdict, and earlier checks go', { skip }, async () => {
  await server.tee.setFault('agent-down');
  assert.equal(await press('again'), 'refused');
  assert.match(await text('headline'), /No verdict: AGENT_UNAVAILABLE/);
  assert.deepEqual(await shownChecks(), []);
  await server.tee.setFault(null);
  page.complaints.length = 0; // Chromium itself reports the 503
});

test('what is no policy or no root is named, and changes nothing', { skip }, async () => {
  assert.equal(await press('again'), 'passed-simulated');
  await demand({ version: 2 }, '');
  assert.equal(await press('judge'), 'passed-simulated');
  assert.match(await text('demands-error'), /policy\.version/);
  await demand(server.tee.policy, 'none');
  await press('judge');
  assert.match(await text('demands-error'), /64 hex digits/);
});

test('a hostile policy text stays text', { skip }, async () => {
  const name = '<img src=x onerror=alert(1)>';
  await demand({ ...server.tee.policy, keyProviders: [{ name: 'kms', id: name }] }, server.tee.rootSha256);
  assert.equal(await press('judge'), 'refused');
  assert.ok((await text('checks')).includes(name));
  assert.equal(await page.evaluate(`document.querySelectorAll('#checks img').length`), 0);
});

test('markup from text is stopped by the browser itself, and counts as a complaint', { skip }, async () => {
  await assert.rejects(page.evaluate(`document.body.innerHTML = '<p>x</p>'`), /TrustedHTML/);
  assert.match(page.complaints.join(), /ContentSecurityPolicy/);
  page.complaints.length = 0;
});

test('it fits a phone of 360 px, in both schemes', { skip }, async () => {
  for (const scheme of ['light', 'dark'] as const) {
    await page.setView({ width: 360, height: 780, scheme });
    assert.equal(await page.evaluate('document.documentElement.scrollWidth'), 360);
  }
  assert.deepEqual(page.complaints, []);
});

async function takePictures(name: string): Promise<void> {
  for (const scheme of ['light', 'dark'] as const)
    for (const [width, height] of [
      [1280, 900],
      [390, 844],
    ] as const) {
      await page.setView({ width, height, scheme });
      await page.screenshot(`${SCREENSHOTS}/${name}-${width}x${height}-${scheme}.png`);
    }
  await page.setView({ width: 1280, height: 900, scheme: 'light' });
}
