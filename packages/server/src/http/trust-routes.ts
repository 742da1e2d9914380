/**
 * The trust centre, for anybody: signed reports of the server's own proofs, a badge, and a page that verifies this
 * server in the visitor's browser. A deployment whose manifest says `attestation_public: false` lists nothing and has
 * no badge; the page still verifies fresh evidence, which is given to everybody.
 */
import { type Context, Hono } from 'hono';
import { errorOf } from '../errors.ts';
import { GRACE_MS } from '../tee/attestation-state.ts';
import type { Gate } from '../tee/gate.ts';
import type { SelfAttestationMonitor } from '../tee/self-attestation.ts';
import type { ReportLedger } from '../trust/report-ledger.ts';
import type { Summary } from '../trust/summary-line.ts';
import type { DoorEnv } from './door-env.ts';
import { publicOrigin } from './public-origin.ts';
import { publicRead } from './public-read.ts';
import { createRateLimit } from './rate-limit.ts';
import { renderBadge } from './trust/badge.ts';
import { loadPageFiles, PAGE_FILES_ROOT } from './trust/modules.ts';
import { renderPage } from './trust/page.ts';
import { createStanding } from './trust/standing.ts';

export interface TrustDeps {
  /** Null: reports are not published. */
  reports: ReportLedger | null;
  monitor: Pick<SelfAttestationMonitor, 'newest'>;
  gate: Pick<Gate, 'state'>;
  /** Between two of the server's own proofs. */
  intervalMs: number;
  nowMs: () => number;
}

// each lists, draws or verifies a file: about a millisecond. The files of the page are in memory, and not limited.
const READS_PER_SECOND = 20;
const READ_BURST = 40;

const PAGE_SIZE = 100;
const MAX_PAGE_SIZE = 1000;

/** Nothing but this origin, no inline script or style, and no text that becomes markup (W3C CSP 3, Trusted Types). */
const PAGE_POLICY = [
  "default-src 'none'",
  ...["script-src 'self'", "style-src 'self'", "img-src 'self'", "connect-src 'self'"],
  ...["base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"],
  ...["require-trusted-types-for 'script'", "trusted-types 'none'"],
].join('; ');

export function trustRoutes({ reports, monitor, gate, intervalMs, nowMs }: TrustDeps): Hono<DoorEnv> {
  const limit = createRateLimit({ perSecond: READS_PER_SECOND, burst: READ_BURST });
  const page = loadPageFiles();
  const app = new Hono<DoorEnv>();

  const incidentOpen = () => gate.state().reasons.includes('incident-open');
  const shown = reports && { reports, standing: createStanding(reports, { intervalMs, nowMs, incidentOpen }) };

  const published = () => {
    limit.take();
    if (!shown) throw errorOf('NOT_FOUND', 'This deployment does not publish its reports.');
    return shown;
  };

  publicRead(app, '/', (c) => c.redirect('/trust', 302)); // what a person types into a browser

  publicRead(app, '/attestations', (c) => {
    const { reports, standing } = published();
    const { newestFirst, continuity } = standing();
    const listed = pageOf(newestFirst, readPaging(c));
    return c.json({ ...listed, continuity, intervalMs, graceMs: GRACE_MS, vkey: reports.vkey });
  });

  publicRead(app, '/attestations/:id', async (c) => {
    const note = await published().reports.find(c.req.param('id') ?? '');
    if (note === null)
      throw errorOf(
        'NOT_FOUND',
        'There is no such report. Whole reports are kept for 24 hours, the last 1000 at most.',
      );
    return c.text(note);
  });

  publicRead(app, '/badge.svg', (c) =>
    c.body(renderBadge(published().standing(), nowMs()), 200, {
      'content-type': 'image/svg+xml; charset=utf-8',
      'cache-control': 'public, max-age=60', // a fifth of the default interval
    }),
  );

  publicRead(app, '/trust', (c) => {
    limit.take();
    const now = nowMs();
    const standing = shown?.standing();
    const facts = {
      origin: publicOrigin(c),
      published: shown && standing ? { standing, proofs: shown.reports.summaries(), vkey: shown.reports.vkey } : null,
      simulated: [standing?.trust, monitor.newest()?.trust].includes('simulated'),
      ...{ intervalMs, nowMs: now, script: page.script, style: page.style, icon: page.icon },
    };
    return c.body(renderPage(facts), 200, {
      'content-type': 'text/html; charset=utf-8',
      'content-security-policy': PAGE_POLICY,
    });
  });

  publicRead(app, `${PAGE_FILES_ROOT}/*`, (c) => {
    const file = page.files.get(c.req.path);
    if (!file) throw errorOf('NOT_FOUND', 'The trust page has no such file.');
    return c.body(file.text, 200, {
      'content-type': file.contentType,
      'cache-control': 'public, max-age=31536000, immutable', // the path holds the digest
    });
  });

  return app;
}

interface Paging {
  /** ISO 8601; null: from the newest. */
  before: string | null;
  limit: number;
}

/** Throws REQUEST_INVALID. */
function readPaging(c: Context<DoorEnv>): Paging {
  const { before = null, limit = String(PAGE_SIZE), ...others } = c.req.query();
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) throw errorOf('REQUEST_INVALID', 'Only `before` and `limit` can be asked for.');
  if (before !== null && !isIsoTime(before))
    throw errorOf(
      'REQUEST_INVALID',
      '`before` must be a time as the list writes it, such as 2026-11-24T08:25:10.123Z.',
    );
  if (!/^[1-9]\d{0,3}$/.test(limit) || Number(limit) > MAX_PAGE_SIZE)
    throw errorOf('REQUEST_INVALID', `\`limit\` must be a number from 1 to ${MAX_PAGE_SIZE}.`);
  return { before, limit: Number(limit) };
}

const isIsoTime = (text: string): boolean =>
  /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(text) && !Number.isNaN(Date.parse(text));

/** Of the newest first, as they come; `next` is the `before` of the page after, null on the last. */
function pageOf(newestFirst: readonly Summary[], { before, limit }: Paging) {
  const indexBefore = (time: string): number => {
    const index = newestFirst.findIndex(({ at }) => at < time);
    return index < 0 ? newestFirst.length : index;
  };
  const from = before === null ? 0 : indexBefore(before);
  const last = newestFirst[from + limit - 1]?.at;
  const to = last === undefined ? newestFirst.length : indexBefore(last); // never parts reports of one millisecond
  return {
    reports: newestFirst.slice(from, to).map(({ id, at, state, codes }) => ({ id, at, state, codes })),
    next: to < newestFirst.length ? newestFirst[to - 1]!.at : null,
  };
}
