/**
 * Security contacts hear of an incident: by real HTTPS and SMTP, after failures, over a kill, without a word too many.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { Alert } from '../../src/alerts/alert.ts';
import { type AlertOptions, type AlertOutcome, type Alerts, createAlerts } from '../../src/alerts/alerts.ts';
import { createLogger } from '../../src/log.ts';
import { createIdentity, type Receiver, startSmtp, startWebhook, type TlsIdentity } from './receivers.ts';

const ALERT: Alert = {
  kind: 'incident',
  incidentId: 'ab'.repeat(8),
  codes: ['CERTIFICATE_REVOKED', 'TCB_REVOKED'],
  at: '2026-08-20T12:00:00.000Z',
};

const dir = mkdtempSync(join(tmpdir(), 'abaton-alerts-'));
let identity: TlsIdentity;
before(async () => {
  identity = await createIdentity();
});
after(() => rmSync(dir, { recursive: true }));

interface House {
  alerts: Alerts;
  outcomes: AlertOutcome[];
  lines: string[];
  outboxDir: string;
  /** Of alerts; markers of incidents are not counted. */
  files(): string[];
}

let houses = 0;
async function openHouse(options: Partial<AlertOptions>): Promise<House> {
  const outcomes: AlertOutcome[] = [];
  const lines: string[] = [];
  const outboxDir = options.outboxDir ?? join(dir, `outbox-${houses++}`);
  const alerts = await createAlerts({
    app: 'hospital-ai',
    contacts: [],
    found: [],
    smtp: null,
    record: async (outcome) => outcomes.push(outcome),
    logger: createLogger((line) => lines.push(line)),
    nowMs: Date.now,
    retryMs: 10,
    ca: identity.ca,
    ...options,
    outboxDir,
  });
  return {
    alerts,
    outcomes,
    lines,
    outboxDir,
    files: () => readdirSync(outboxDir).filter((name) => !name.startsWith('told-')),
  };
}

const until = async (isTrue: () => boolean) => {
  while (!isTrue()) await new Promise((resolve) => setTimeout(resolve, 5));
};

async function closing(alerts: Alerts, ...receivers: Receiver[]): Promise<void> {
  await Promise.all(receivers.map((receiver) => receiver.close()));
  await alerts.stop();
}

const twiceBusy = (n: number) => (n <= 2 ? 503 : 200);

test('a webhook takes it at the third try; each try is recorded, and then the outbox is empty', async () => {
  const hook = await startWebhook(identity, twiceBusy);
  const { alerts, outcomes, files, lines } = await openHouse({ contacts: [hook.url] });
  await alerts.raise(ALERT);
  assert.equal(files().length, 1, 'on disk before it is sent');
  await until(() => outcomes.length === 3 && files().length === 0);
  assert.deepEqual(JSON.parse(hook.taken[0]!), { app: 'hospital-ai', ...ALERT });
  assert.equal(hook.taken.length, 1);
  const facts = { kind: 'incident', incidentId: ALERT.incidentId, contact: 'webhook', index: 0, givenUp: false };
  assert.deepEqual(outcomes, [
    { outcome: 'failure', ...facts, reason: 'status-503' },
    { outcome: 'failure', ...facts, reason: 'status-503' },
    { outcome: 'success', ...facts, reason: null },
  ]);
  for (const text of [...lines, JSON.stringify(outcomes)]) assert.doesNotMatch(text, /localhost|\/hook|:\/\//);
  assert.equal(lines.length, 3);
  await closing(alerts, hook);
});

test('an SMTP server takes it at the third try, over verified TLS', async () => {
  const smtp = await startSmtp(identity, { answer: (n) => (n <= 2 ? '451 later' : '250 taken') });
  const { alerts, outcomes, lines, files } = await openHouse({
    contacts: ['mailto:ops@hospital.example'],
    smtp: { url: smtp.url, from: 'abaton@hospital.example', ca: identity.ca },
  });
  await alerts.raise(ALERT);
  await until(() => outcomes.length === 3 && files().length === 0);
  assert.deepEqual(
    outcomes.map(({ contact, outcome, reason }) => [contact, outcome, reason]),
    [
      ['mail', 'failure', 'EMESSAGE'],
      ['mail', 'failure', 'EMESSAGE'],
      ['mail', 'success', null],
    ],
  );
  const [mail] = smtp.taken;
  assert.match(mail!, /^To: ops@hospital\.example$/m);
  assert.match(mail!, /^Subject: Abaton hospital-ai: incident abababababababab$/m);
  assert.match(mail!, /^codes: CERTIFICATE_REVOKED TCB_REVOKED$/m);
  for (const line of lines) assert.doesNotMatch(line, /localhost|ops@|hospital\.example/);
  await closing(alerts, smtp);
});

test('without verified TLS nothing is sent: a strange authority, a server that speaks in clear, a redirect', async () => {
  const hook = await startWebhook(identity);
  const moved = await startWebhook(identity, (n) => (n === 1 ? 302 : 200));
  const clear = await startSmtp(identity, { tls: false });
  const strange = await startSmtp(identity);
  const other = await createIdentity();
  const cases: [Partial<AlertOptions>, RegExp][] = [
    [{ contacts: [hook.url], ca: other.ca }, /^(UNABLE_TO_|SELF_SIGNED|CERT_)/],
    [{ contacts: [moved.url] }, /^status-302$/],
    [
      { contacts: ['mailto:a@b.example'], smtp: { url: clear.url, from: 'c@d.example', ca: identity.ca } },
      /^E(TLS|SOCKET)/,
    ],
    [
      { contacts: ['mailto:a@b.example'], smtp: { url: strange.url, from: 'c@d.example', ca: other.ca } },
      /^E(TLS|SOCKET)/,
    ],
    [{ contacts: ['mailto:a@b.example'] }, /^no-smtp$/],
  ];
  process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'; // turns nothing off
  for (const [options, reason] of cases) {
    const { alerts, outcomes } = await openHouse({ ...options, retryMs: 60_000 });
    await alerts.raise(ALERT);
    await until(() => outcomes.length > 0);
    assert.match(outcomes[0]!.reason!, reason);
    await alerts.stop();
  }
  delete process.env.NODE_TLS_REJECT_UNAUTHORIZED;
  assert.deepEqual([hook.tries(), moved.tries(), clear.tries(), strange.tries()], [0, 1, 0, 0]);
  await Promise.all([hook, moved, clear, strange].map((receiver) => receiver.close()));
});

test('a contact that hangs delays no other, and is given up in time', async () => {
  const hanging = await startWebhook(identity, () => null);
  const hook = await startWebhook(identity);
  const { alerts, outcomes, files, outboxDir } = await openHouse({
    contacts: [hanging.url, hook.url],
    tryMs: 2_000,
    retryMs: 60_000,
  });
  await alerts.raise(ALERT);
  await until(() => outcomes.length === 1);
  assert.deepEqual([outcomes[0]!.index, hanging.tries(), hook.taken.length], [1, 1, 1], 'the other has it already');
  await until(() => outcomes.length === 2);
  assert.deepEqual([outcomes[1]!.index, outcomes[1]!.reason], [0, 'timeout']);
  const [file] = files();
  assert.equal(JSON.parse(readFileSync(join(outboxDir, file!), 'utf8')).waiting.length, 1, 'only the one that hangs');
  await closing(alerts, hanging, hook);
});

test('an alert that a contact refuses does not hold up the next', async () => {
  let refused = '';
  const hook = await startWebhook(identity, () => (refused ? 200 : 400));
  const { alerts, outcomes } = await openHouse({ contacts: [hook.url], retryMs: 60_000 });
  await alerts.raise(ALERT);
  await until(() => outcomes.length === 1);
  refused = 'first';
  await alerts.raise({ ...ALERT, incidentId: 'cd'.repeat(8) });
  await until(() => outcomes.length === 3);
  assert.deepEqual(
    hook.taken.map((body) => JSON.parse(body).incidentId),
    ['cd'.repeat(8), 'ab'.repeat(8)],
  );
  await closing(alerts, hook);
});

test('a defect and a contact that is no URL stop neither the server nor the lanes', async () => {
  const hook = await startWebhook(identity);
  let defects = 0;
  const record = (): Promise<unknown> => {
    defects++;
    throw new Error('a defect with https://localhost/hook in it');
  };
  const { alerts, lines, files } = await openHouse({ contacts: ['https://hook.example:99999/x', hook.url], record });
  await alerts.raise(ALERT);
  await alerts.raise({ ...ALERT, incidentId: 'cd'.repeat(8) });
  await until(() => hook.taken.length === 2 && defects >= 4);
  await alerts.stop();
  assert.equal(files().length, 2, 'still waiting for the first contact');
  const said = lines.map((line) => JSON.parse(line));
  assert.ok(said.some(({ index, code }) => index === 0 && code === 'ERR_INVALID_URL'));
  assert.match(said.find(({ event }) => event === 'defect').at, /^packages\/server\/test\/alerts\/alerts\.test\.ts:/);
  for (const line of lines) assert.doesNotMatch(line, /localhost|hook\.example/);
  await hook.close();
});

test('an incident that the log shows open is told of once, wherever the process was killed', async () => {
  const outboxDir = join(dir, 'found');
  const hook = await startWebhook(identity);
  const found = [{ id: ALERT.incidentId!, codes: ALERT.codes, at: ALERT.at }];
  const start = (options: Partial<AlertOptions>) => openHouse({ contacts: [hook.url], outboxDir, ...options });
  const told = () => hook.taken.map((body) => JSON.parse(body));

  const after = await start({ found }); // killed between the log and the outbox
  await until(() => after.files().length === 0 && hook.taken.length === 1);
  await after.alerts.stop();
  assert.deepEqual(told(), [{ app: 'hospital-ai', ...ALERT }]);
  assert.deepEqual(readdirSync(outboxDir), [`told-${ALERT.incidentId}`]);

  const again = await start({ found });
  await again.alerts.stop();
  assert.deepEqual(again.files(), []);
  const resolved = await start({ found: [] });
  await resolved.alerts.stop();
  assert.deepEqual(readdirSync(outboxDir), [], 'nobody asks for it any more');
  assert.equal(hook.taken.length, 1);

  const refusing = await start({ found, contacts: [hook.url], ca: (await createIdentity()).ca, retryMs: 60_000 });
  await until(() => refusing.outcomes.length === 1);
  await refusing.alerts.stop();
  rmSync(join(outboxDir, `told-${ALERT.incidentId}`)); // killed between the alert and its marker
  const held = await start({ found });
  await until(() => held.files().length === 0 && hook.taken.length === 2);
  await held.alerts.stop();
  const last = await start({ found });
  await last.alerts.stop();
  assert.deepEqual(last.files(), []);
  assert.equal(hook.taken.length, 2);
  const nobody = await start({ found: [{ ...found[0]!, id: 'cd'.repeat(8) }], contacts: [] });
  await nobody.alerts.stop();
  assert.deepEqual(readdirSync(outboxDir), [], 'told to no one: the next manifest may name somebody');
  await hook.close();
});

test('the outbox survives kill -9, and what is no alert of ours is thrown away', async () => {
  const outboxDir = join(dir, 'killed');
  const hook = await startWebhook(identity);
  const child = spawn(process.execPath, [join(import.meta.dirname, 'raise-child.ts'), outboxDir, hook.url], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout!, 'data');
  child.kill('SIGKILL');
  await once(child, 'exit');
  assert.equal(hook.taken.length, 0);
  writeFileSync(join(outboxDir, 'half.tmp'), '{"v":1,');
  writeFileSync(
    join(outboxDir, 'forged.json'),
    JSON.stringify({ v: 1, id: 'forged', raisedMs: 1, waiting: ['x'], message: { app: 'a b' } }),
  );
  const { alerts, outcomes, files } = await openHouse({ contacts: [hook.url], outboxDir });
  await until(() => files().length === 0 && outcomes.at(-1)?.outcome === 'success');
  assert.equal(JSON.parse(hook.taken[0]!).incidentId, 'ab'.repeat(8));
  await closing(alerts, hook);
});

test('after a day it is given up, and says so; a contact that the manifest no longer names is forgotten', async () => {
  let ms = Date.now();
  const { alerts, outcomes, files, outboxDir } = await openHouse({ contacts: ['mailto:a@b.example'], nowMs: () => ms });
  await alerts.raise(ALERT);
  await until(() => outcomes.length === 2);
  assert.equal(outcomes[1]!.givenUp, false);
  ms += 25 * 3_600_000;
  await until(() => files().length === 0);
  await until(() => outcomes.at(-1)!.givenUp);
  await alerts.stop();
  const left = await openHouse({ contacts: ['mailto:a@b.example'], outboxDir, retryMs: 60_000 });
  await left.alerts.raise(ALERT);
  await left.alerts.stop();
  assert.equal(left.files().length, 1);
  const other = await openHouse({ contacts: ['mailto:c@d.example'], outboxDir });
  assert.deepEqual(other.files(), []);
  await other.alerts.stop();
});

test('settings of mail are checked at the start', async () => {
  for (const [url, from] of [
    ['http://mail.example', 'a@b.example'],
    ['mail.example', 'a@b.example'],
    ['smtps://mail.example', 'nobody'],
    ['smtps://user:%zz@mail.example', 'a@b.example'],
  ] as const)
    await assert.rejects(openHouse({ smtp: { url, from } }), { code: 'SETTING_INVALID' });
});
