/**
 * The trust page, for a person: what this server proves, checked in the visitor's own browser, and what nobody can
 * prove this way. All words stand here, so that it can be read without its script; the script fills in what it finds.
 */
import { GRACE_MS } from '../../tee/attestation-state.ts';
import type { Proof } from '../../trust/continuity.ts';
import { type Markup, markup } from './markup.ts';
import { longestOf, percent, type Standing } from './standing.ts';
import { renderTimeline } from './timeline.ts';

export interface PageFacts {
  /** Scheme, host and port that the visitor has used. */
  origin: string;
  /** Null: this deployment does not publish its reports. */
  published: { standing: Standing; proofs: readonly Proof[]; vkey: string } | null;
  simulated: boolean;
  intervalMs: number;
  nowMs: number;
  script: string;
  style: string;
  icon: string;
}

export function renderPage(facts: PageFacts): string {
  return markup`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Abaton: what this server can prove</title>
<link rel="icon" type="image/svg+xml" href="${facts.icon}">
<link rel="stylesheet" href="${facts.style}">
<script type="module" src="${facts.script}"></script>
</head>
<body>
${simulatedBanner(facts.simulated)}
<header>
<p class="brand"><img src="${facts.icon}" alt="" width="28" height="28"> Abaton</p>
<h1>What this server can prove</h1>
<p class="lede">Before you send it anything, ask it who it is. Your browser draws a random number, this server has it signed by
its protected hardware, and below is every check of the answer. Then repeat it where this server cannot interfere:
<a href="#independent">on your own command line</a>.</p>
</header>
<main>
${verification()}
${record(facts)}
${demands()}
${checks()}
${meaning()}
${independent(facts)}
</main>
<footer><p>This page proves what runs here, not that anybody complies with a law, and it clears nothing for sending.
It sets no cookie, stores nothing, and loads nothing from elsewhere.</p></footer>
</body>
</html>
`.text;
}

/** The script shows it too, when it finds so itself. */
const simulatedBanner = (simulated: boolean): Markup => markup`<div class="banner" id="simulated"${
  simulated ? '' : markup` hidden`
}>
<p><strong>SIMULATED.</strong> A software TEE signs here, for development and tests. No hardware protects this server:
synthetic data only, whatever the checks say.</p>
</div>`;

const verification = (): Markup => markup`<section class="card" aria-labelledby="verification-title">
<h2 id="verification-title">Checked by your browser</h2>
<div id="outcome" class="outcome" data-outcome="asking" role="status">
<p id="headline" class="headline">Nothing is checked yet</p>
<p id="reason">The checks need JavaScript. Without it, use the command line below.</p>
</div>
<ul id="meanings" class="meanings"></ul>
<dl id="facts" class="facts"></dl>
<p><button type="button" id="again">Ask again with a new number</button></p>
</section>`;

function record({ published, intervalMs, nowMs }: PageFacts): Markup {
  if (!published)
    return markup`<section class="card" aria-labelledby="record-title">
<h2 id="record-title">The server’s own record</h2>
<p>This deployment does not publish the proofs that it makes of itself (<code>attestation_public: false</code> in its
manifest). Fresh evidence is given to everybody all the same, and is checked here.</p>
</section>`;
  const { standing, proofs } = published;
  const { state, newest, continuity } = standing;
  const longest = longestOf(continuity, nowMs);
  return markup`<section class="card" aria-labelledby="record-title">
<h2 id="record-title">The server’s own record</h2>
<p>Every ${duration(intervalMs)} the server proves itself to itself, and closes its door when it cannot. That is what it
<em>claims</em>; each report is signed by a key that exists only inside.</p>
${
  state === 'incident'
    ? markup`<p class="state" data-state="failed"><span class="dot"></span><strong>The door is closed: an incident is open.</strong>
Whatever later proofs say, it stays so until an officer has signed the cause. <a href="/api/v1/incidents">Incidents</a></p>`
    : ''
}<p class="state" data-state="${newest?.state ?? 'pending'}"><span class="dot"></span>Newest proof: <strong>${
    state === 'incident' ? (newest?.state ?? 'pending') : state
  }</strong>${newest ? markup` <time datetime="${newest.at}">${utc(newest.at)}</time>` : ''}</p>
${newest && newest.codes.length > 0 ? markup`<p>Because of <code>${newest.codes.join(' ')}</code>.</p>` : ''}
<dl class="numbers">
<div><dt>24 hours</dt><dd>${percent(continuity.last24h)}</dd></div>
<div><dt>${longest.label}</dt><dd>${percent(longest.part)}</dd></div>
</dl>
<figure>
${renderTimeline(proofs, continuity.last24h, intervalMs + GRACE_MS, nowMs)}
<div class="axis" aria-hidden="true"><span>24 h ago</span><span>12 h</span><span>now</span></div>
<figcaption><span><i class="key verified"></i>covered by a verified proof</span> <span><i class="key failed"></i>failed</span>
<span><i class="key track"></i>no proof</span></figcaption>
</figure>
<p class="small">Share of the time within ${duration(intervalMs)} and ${GRACE_MS / 1000} s after a verified proof${
    continuity.since
      ? markup`; the first report kept here is of ${utc(continuity.since)}, and before it nothing counts`
      : ''
  }. <a href="/attestations">All reports</a>${
    newest ? markup`, <a href="/attestations/${newest.id}">the newest, signed</a>` : ''
  }.</p>
</section>`;
}

const demands = (): Markup => markup`<section class="card wide" aria-labelledby="demands-title">
<h2 id="demands-title">What you demand</h2>
<p id="pinned">Nothing is pinned. Without a policy of yours this page can see that a platform signed, and what: not whether it is
the code, the operating system and the machine that <em>you</em> expect. A policy comes from whoever reviewed the code,
never from this server.</p>
<div class="demands">
<div class="field">
<label for="policy">Policy (JSON): paste it, drop a file here, or choose one</label>
<textarea id="policy" rows="7" spellcheck="false" autocomplete="off" placeholder='{ "version": 1, "codeHashes": ["sha256:…"], "osMeasurements": [ … ] }'></textarea>
<input type="file" id="policy-file" accept=".json,application/json" aria-label="Policy file">
</div>
<div class="field">
<label for="root">Root of a software TEE of your own (SHA-256), for tests only</label>
<input type="text" id="root" spellcheck="false" autocomplete="off" placeholder="64 hex digits">
<p class="small">It makes the checks run to their end. The label stays <em>simulated</em>.</p>
<p><button type="button" id="judge">Judge by this</button></p>
<p id="demands-error" class="error" role="alert"></p>
</div>
</div>
</section>`;

const checks = (): Markup => markup`<section class="card wide" aria-labelledby="checks-title">
<h2 id="checks-title">Every check <span id="tally" class="tally"></span></h2>
<p class="small">One that did not run is not a pass.</p>
<ul id="checks" class="checks"></ul>
</section>`;

const meaning = (): Markup => markup`<section class="card" aria-labelledby="proved-title">
<h2 id="proved-title">What a pass proves</h2>
<p>At the time of your number, a guest</p>
<ul>
<li>whose firmware, kernel and application have the digests that your policy lists,</li>
<li>on a platform whose maker vouches for its key and its updates,</li>
<li>that its host can neither read nor debug,</li>
<li>named the key of its TLS door, its audit log, its policy and its models.</li>
</ul>
<p>So the operator of the machines sees ciphertext, and other code than the listed one cannot answer like this.</p>
</section>
<section class="card" aria-labelledby="unproved-title">
<h2 id="unproved-title">What it does not prove</h2>
<ul>
<li><strong>That this page is honest.</strong> A hostile server can serve a page that lies, with green marks. Only the check
on your own machine is independent.</li>
<li><strong>That your connection ends there.</strong> A page cannot see the key of its own connection, so the check
<em>Channel ends inside the guest</em> does not run here: somebody between could pass evidence on.</li>
<li><strong>That the listed code is good.</strong> A digest says which code. Somebody has to have read it.</li>
<li><strong>That nobody touches the hardware.</strong> A probe between processor and memory (an interposer) has extracted
attestation keys from genuine machines.</li>
<li><strong>That the GPU is in this machine.</strong> A guest can relay the reports of a genuine GPU elsewhere; that it does not
rests on its measured code.</li>
<li><strong>Anything about people, contracts and law.</strong></li>
</ul>
</section>`;

function independent({ origin, published }: PageFacts): Markup {
  return markup`<section class="card wide" id="independent" aria-labelledby="independent-title">
<h2 id="independent-title">The independent check</h2>
<p>With the <code>abaton</code> command from a copy of the source that you trust. It binds the evidence to the connection that
it came on, and says in one line what may be sent:</p>
<pre><code id="command">abaton verify ${origin} --policy policy.json</code></pre>
<p>Against a software TEE, add <code>--accept-simulated</code> and the root that <em>you</em> installed.
The same verifier runs in this page: its source files are served as they are, with the types blanked out, under
<code>/trust/modules/</code>.</p>
${
  published
    ? markup`<p>Reports are <a href="https://c2sp.org/signed-note" rel="noreferrer">C2SP signed notes</a> by the key of the audit log. Take it
from evidence that you have verified (<code>auditLogVkeys</code>), and compare:</p>
<pre><code id="vkey">${published.vkey}</code></pre>`
    : ''
}
</section>`;
}

/** 2026-11-24T08:25:10.123Z → 2026-11-24 08:25 UTC */
const utc = (iso: string): string => `${iso.slice(0, 16).replace('T', ' ')} UTC`;

const duration = (ms: number): string =>
  ms % 60_000 === 0 ? (ms === 60_000 ? 'minute' : `${ms / 60_000} minutes`) : `${ms / 1000} s`;
