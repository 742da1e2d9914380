/** What a stranger gets of the trust centre over a real connection: signed reports, a badge, a page, its files only. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { connectVerified, type VerifiedConnection } from '@abaton/client';
import { parsePolicy, parseVkey, verifyNote } from '@abaton/verify';
import { createApp } from '../../src/http/app.ts';
import { type Door, openDoor } from '../../src/http/server.ts';
import { createStanding } from '../../src/http/trust/standing.ts';
import { type TrustDeps, trustRoutes } from '../../src/http/trust-routes.ts';
import { createLogger } from '../../src/log.ts';
import { createMetrics } from '../../src/metrics.ts';
import type { ReportLedger } from '../../src/trust/report-ledger.ts';
import { NO_KEYHOLDER, NO_WITNESSES } from '../tee/absent.ts';
import { type AttestedServer, INTERVAL_MS, startAttested } from '../tee/attested-server.ts';
import { openLedger } from '../trust/support.ts';

const LIFE_MS = INTERVAL_MS + 20_000;
let server: AttestedServer;
let reports: ReportLedger;
const dir = mkdtempSync(join(tmpdir(), 'abaton-trust-'));
const logger = createLogger(() => {});
/** What the routes take for now. */
let nowMs = Date.now();

const openReports = (name: string) => openLedger(join(dir, name), { logger, nowMs: () => nowMs });

before(async () => {
  server = await startAttested();
  await server.boot();
  reports = await openReports('main');
  for (const state of ['verified', 'failed', 'verified'] as const) {
    await server.tee.setFault(state === 'failed' ? 'tcb-revoked' : null);
    const proof = await server.monitor.attest();
    assert.equal(proof.state, state);
    await reports.record(proof);
  }
  nowMs = Date.now();
});
after(async () => {
  await server.close();
  rmSync(dir, { recursive: true });
});

interface Answer {
  status: number;
  headers: Record<string, string | undefined>;
  text: string;
}

/** A door with the trust centre behind it, and a verified connection to it. Each has its own rate limit. */
async function openCentre(change: Partial<TrustDeps> = {}) {
  const { evidence, monitor, gate, log } = server;
  const app = createApp({
    ...{ evidence, monitor, gate, log, logger, witnesses: NO_WITNESSES, keyholder: NO_KEYHOLDER },
    ...{ metrics: createMetrics(), version: '0.0.0' },
  });
  app.route('/', trustRoutes({ reports, monitor, gate, intervalMs: INTERVAL_MS, nowMs: () => nowMs, ...change }));
  const handler: Parameters<typeof openDoor>[0]['handler'] = (request, env) => app.fetch(request, env);
  const door: Door = await openDoor({ key: server.key, host: '127.0.0.1', port: 0, handler });
  const url = `https://localhost:${door.port}`;
  const policy = parsePolicy(server.tee.policy);
  const connection: VerifiedConnection = await connectVerified({
    url,
    policy,
    acceptedRootsSha256: [server.tee.rootSha256],
  });
  const ask = async (path: string, method = 'GET'): Promise<Answer> => {
    const { status, headers, bytes } = await connection.request({ method, path });
    return { status, headers: headers as Answer['headers'], text: Buffer.from(await bytes()).toString() };
  };
  const close = async () => {
    connection.close();
    await door.close(0);
  };
  return { url, ask, close };
}

type Centre = Awaited<ReturnType<typeof openCentre>>;
async function withCentre(run: (centre: Centre) => Promise<void>, change: Partial<TrustDeps> = {}): Promise<void> {
  const centre = await openCentre(change);
  try {
    await run(centre);
  } finally {
    await centre.close();
  }
}

test('the list: newest first, in pages, with continuity and the key', () =>
  withCentre(async ({ ask }) => {
    const { headers, text } = await ask('/attestations');
    const list = JSON.parse(text);
    assert.equal(headers['cache-control'], 'no-store');
    const expected = reports.summaries().map(({ id, at, state, codes }) => ({ id, at, state, codes }));
    assert.deepEqual(list.reports, expected.toReversed());
    assert.deepEqual(
      list.reports.map(({ codes }: { codes: string[] }) => codes),
      [[], ['TCB_REVOKED'], []],
    );
    assert.deepEqual([list.next, list.vkey, list.intervalMs, list.graceMs], [null, reports.vkey, INTERVAL_MS, 20_000]);
    const [first, second, third] = reports.summaries().map(({ at }) => Date.parse(at)) as [number, number, number];
    const coveredMs = second - first + (nowMs - third);
    assert.equal(list.continuity.last24h, coveredMs / 86_400_000);
    assert.equal(list.continuity.last30d, coveredMs / (30 * 86_400_000));
    assert.equal(list.continuity.since, reports.summaries()[0]!.at);

    const seen: unknown[] = [];
    for (let next: string | null = null; ; ) {
      const page = JSON.parse((await ask(`/attestations?limit=1${next ? `&before=${next}` : ''}`)).text);
      assert.equal(page.reports.length, 1);
      seen.push(...page.reports);
      next = page.next;
      if (next === null) break;
    }
    assert.deepEqual(seen, list.reports);
  }));

test('by their time, also where the clock was set back, and reports of one millisecond stay on one page', async () => {
  const back = await openReports('back');
  const proof = { ...server.monitor.newest()!, id: null, evidence: null };
  const at = (ms: number) => new Date(nowMs - 60_000 + ms).toISOString();
  for (const [i, ms] of [1, 5, 3, 3, 3, 4].entries())
    await back.record({ ...proof, at: at(ms), codes: [`MADE_${i}`], state: 'failed' });
  await withCentre(
    async ({ ask }) => {
      const pages: number[][] = [];
      for (let query = '?limit=2'; query !== ''; ) {
        const { reports: listed, next } = JSON.parse((await ask(`/attestations${query}`)).text);
        pages.push(listed.map((report: { at: string }) => Date.parse(report.at) - Date.parse(at(0))));
        query = next === null ? '' : `?limit=2&before=${next}`;
      }
      assert.deepEqual(pages, [[5, 4], [3, 3, 3], [1]]);
    },
    { reports: back },
  );
});

test('what stands is found anew with a new report, after a second, and when an incident opens', async () => {
  const ledger = await openReports('standing');
  const proof = { ...server.monitor.newest()!, id: null, evidence: null, at: new Date(nowMs).toISOString() };
  let [ms, incident] = [nowMs + 60_000, false];
  const options = { intervalMs: INTERVAL_MS, nowMs: () => ms, incidentOpen: () => incident };
  const standing = createStanding(ledger, options);
  assert.deepEqual([standing().state, standing().newest], ['pending', null]);
  await ledger.record(proof);
  const first = standing();
  assert.deepEqual([first.state, first.newest, first.continuity.sinceFirst], ['verified', ledger.summaries()[0], 1]);
  ms += 999;
  assert.equal(standing().newestFirst, first.newestFirst, 'not walked over again');
  incident = true;
  assert.equal(standing().state, 'incident');
  incident = false;
  ms += 1;
  assert.notEqual(standing().newestFirst, first.newestFirst);
  ms = nowMs + LIFE_MS + 1;
  assert.equal(standing().state, 'stale');
  ms = nowMs + 60_000; // set back
  await ledger.record({ ...proof, state: 'failed', codes: ['TCB_REVOKED'] });
  assert.deepEqual([standing().state, standing().newestFirst.length], ['failed', 2]);
});

test('what is no page is refused', () =>
  withCentre(async ({ ask }) => {
    for (const query of [
      'limit=0',
      'limit=1001',
      'limit=x',
      'limit=',
      'before=yesterday',
      'before=2026-13-01T00:00:00.000Z',
      'after=1',
    ]) {
      const { status, text } = await ask(`/attestations?${query}`);
      assert.deepEqual([status, JSON.parse(text).code], [400, 'REQUEST_INVALID'], query);
    }
    const { status, headers } = await ask('/attestations', 'POST');
    assert.deepEqual([status, headers.allow], [405, 'GET, HEAD']);
  }));

test('a report is a note of the key that the list names; another id is not found, and no path leads elsewhere', () =>
  withCentre(async ({ ask }) => {
    const { id } = reports.summaries().at(-1)!;
    const { headers, text } = await ask(`/attestations/${id}`);
    assert.match(headers['content-type']!, /^text\/plain/);
    assert.equal(headers['cache-control'], 'no-store');
    const signed = verifyNote(text, [parseVkey(reports.vkey)]);
    assert.equal(JSON.parse(signed.text).id, id);
    assert.equal(JSON.parse(signed.text).evidence.reportData.manifestSha256, server.binding.manifestSha256);
    for (const other of ['0'.repeat(64), '..%2fsummaries', '%252e%252e', `${id}.tmp`, 'x'.repeat(5000)])
      assert.equal((await ask(`/attestations/${other}`)).status, 404, other);
  }));

test('the badge says SIMULATED and its state, and holds nothing that runs or loads', async () => {
  const badgeOf = async (change: Partial<TrustDeps> = {}) => {
    let text = '';
    await withCentre(async ({ ask }) => {
      const answer = await ask('/badge.svg');
      assert.match(answer.headers['content-type']!, /^image\/svg\+xml/);
      assert.equal(answer.headers['cache-control'], 'public, max-age=60');
      text = answer.text;
    }, change);
    assert.doesNotMatch(text.replace('http://www.w3.org/2000/svg', ''), /script|href|url\(|style|https?:|on[a-z]+=/i);
    return /<title>(.*)<\/title>/.exec(text)![1];
  };
  assert.match((await badgeOf())!, /^attestation: SIMULATED · verified · since \d{4}-\d\d-\d\d \d+\.\d\d %$/);
  const closed = { ...server.gate.state(), reasons: ['incident-open'] };
  assert.match((await badgeOf({ gate: { state: () => closed } }))!, /SIMULATED · incident/);
  const later = nowMs + LIFE_MS + 1000;
  assert.match((await badgeOf({ nowMs: () => later }))!, /SIMULATED · stale/);
  const down = await openReports('down');
  assert.equal(await badgeOf({ reports: down }), 'attestation: no root · pending · 30 days 0.00 %');
  const newest = server.monitor.newest()!;
  await down.record(newest);
  await down.record({
    ...newest,
    id: null,
    state: 'failed',
    codes: ['AGENT_UNAVAILABLE'],
    trust: 'none',
    evidence: null,
  });
  assert.match((await badgeOf({ reports: down }))!, /SIMULATED · failed/); // the failure itself shows no root
});

test('the page: its policy allows nothing inline, it names the command, the key and the limits, and certifies nothing', () =>
  withCentre(async ({ ask, url }) => {
    const { status, headers, text } = await ask('/trust');
    assert.equal(status, 200);
    assert.equal(headers['cache-control'], 'no-store');
    const policy = headers['content-security-policy']!;
    assert.match(policy, /^default-src 'none'; script-src 'self'; style-src 'self'; /);
    assert.match(policy, /require-trusted-types-for 'script'; trusted-types 'none'$/);
    assert.doesNotMatch(policy, /unsafe|\*|https?:|data:|blob:/);
    assert.doesNotMatch(text, /<script(?![^>]*\ssrc=)|<style|\sstyle=|\son[a-z]+=|javascript:/i);
    assert.ok(text.includes(`abaton verify ${url} --policy policy.json`));
    assert.ok(text.includes(reports.vkey));
    for (const limit of [/hostile server can serve a page/, /interposer/, /relay the reports of a\s+genuine GPU/])
      assert.match(text, limit);
    assert.match(text, /<div class="banner" id="simulated">/);
    assert.match(text, /Newest proof: <strong>verified/);
    assert.match(text, /aria-label="Last 24 hours: 0\.0\d % covered by verified proofs, 1 times failed"/);
    assert.doesNotMatch(text, /HIPAA|complian(t|ce)|certified/i);
  }));

test('a deployment that does not publish its reports has none, no list and no badge, and its page still verifies', () =>
  withCentre(
    async ({ ask }) => {
      const { id } = reports.summaries().at(-1)!;
      for (const path of ['/attestations', `/attestations/${id}`, '/badge.svg']) {
        const { status, text } = await ask(path);
        assert.deepEqual([status, JSON.parse(text).code], [404, 'NOT_FOUND'], path);
      }
      const { status, text } = await ask('/trust');
      assert.equal(status, 200);
      assert.match(text, /does not publish the proofs/);
      assert.match(text, /<div class="banner" id="simulated">/);
      assert.doesNotMatch(text, /Newest proof|\/attestations/);
      assert.equal((await ask(`/attestation?nonce=${'ab'.repeat(32)}`)).status, 200);
    },
    { reports: null },
  ));

test('the files of the page: the sources with their types blanked, every import among them, for ever', () =>
  withCentre(async ({ ask }) => {
    const { text: page } = await ask('/trust');
    const script = /<script type="module" src="([^"]+)"/.exec(page)![1]!;
    const seen = new Map<string, string>();
    for (const waiting = [script]; waiting.length > 0; ) {
      const path = waiting.pop()!;
      if (seen.has(path)) continue;
      const { status, headers, text } = await ask(path);
      assert.equal(status, 200, path);
      assert.match(headers['content-type']!, /^text\/javascript/);
      assert.equal(headers['cache-control'], 'public, max-age=31536000, immutable');
      seen.set(path, text);
      for (const [, specifier] of text.matchAll(/^[^*\n]*\bfrom\s+['"]([^'"]+)['"]/gm))
        waiting.push(new URL(specifier!, `https://x${path}`).pathname);
    }
    const paths = [...seen.keys()];
    assert.ok(paths.some((path) => path.endsWith('/@abaton/verify/src/tdx/verify-tdx.ts')));
    assert.ok(paths.some((path) => path.endsWith('/@noble/curves/ed25519.js')));
    const served = seen.get(paths.find((path) => path.endsWith('/@abaton/verify/src/report-data.ts'))!)!;
    const source = readFileSync(new URL('../../../verify/src/report-data.ts', import.meta.url), 'utf8');
    const withoutImports = (text: string) => text.split('\n').filter((line) => !line.startsWith('import'));
    assert.deepEqual(withoutImports(served), withoutImports(stripTypeScriptTypes(source)));
    assert.equal(served.split('\n').length, source.split('\n').length);
  }));

test('nothing but the listed files can be reached under /trust/modules', () =>
  withCentre(async ({ ask }) => {
    const script = /src="([^"]+main\.ts)"/.exec((await ask('/trust')).text)![1]!;
    const [root] = /^\/trust\/modules\/[0-9a-f]+/.exec(script)!;
    for (const path of [
      ...['/trust/modules/', '/trust/modules/x', `${root}/`, `${root}/@abaton/server/package.json`],
      ...[`${root}/@abaton/server/src/main.ts`, `${root}/@abaton/server/src/http/trust/page.ts`, `${script}/`],
      ...[
        `${root}/../../../etc/passwd`,
        `${root}/..%2f..%2f..%2f..%2fetc%2fpasswd`,
        `${root}/%2e%2e/%2e%2e/package.json`,
      ],
      ...[
        `${root}//etc/passwd`,
        `${script}%00`,
        script.replace('main.ts', 'MAIN.ts'),
        script.replace(root, '/trust/modules/0'),
      ],
    ])
      assert.equal((await ask(path)).status, 404, path);
    assert.equal((await ask(script)).status, 200);
  }));

test('what reads a month or a file is rationed; the files of the page are not', () =>
  withCentre(async ({ ask }) => {
    const script = /src="([^"]+main\.ts)"/.exec((await ask('/trust')).text)![1]!;
    const pages = await Promise.all(Array.from({ length: 99 }, () => ask('/attestations')));
    const refused = pages.find(({ status }) => status === 503)!;
    assert.equal(JSON.parse(refused.text).code, 'OVERLOADED');
    const files = await Promise.all(Array.from({ length: 99 }, () => ask(script)));
    assert.ok(files.every(({ status }) => status === 200));
  }));
