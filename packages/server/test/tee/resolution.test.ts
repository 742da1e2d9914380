/** Only a named officer's signed root cause, for this incident of this log, opens the door again: over the real door. */
import assert from 'node:assert/strict';
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import https from 'node:https';
import { after, before, test } from 'node:test';
import { ED25519_TYPE, formatSignatureLine, formatVkey, parseVkey } from '@abaton/verify';
import { detailOf, type FhirAuditEvent } from '../../src/audit/audit-event.ts';
import { AuditKeys } from '../../src/audit/audit-keys.ts';
import type { Door } from '../../src/http/server.ts';
import type { Officer } from '../../src/officers/officer-note.ts';
import { deriveTeeKeys } from '../../src/tee/tee-keys.ts';
import { THIS_YEAR } from '../audit/support.ts';
import { type AttestedServer, sha256, startAttested } from './attested-server.ts';
import { openDesk, openIncidentDoor } from './incident-door.ts';

const ORIGIN = `abaton.test/audit/${THIS_YEAR}`;
const CAUSE = 'BIOS of node 7 replaced without notice; restored and measured again.';

interface Signer {
  key: KeyObject;
  vkey: string;
}

function createSigner(name: string): Signer {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const raw = Buffer.from(publicKey.export({ format: 'jwk' }).x!, 'base64url');
  return { key: privateKey, vkey: formatVkey(name, ED25519_TYPE, raw) };
}

const anna = createSigner('hospital.example/anna');
const bo = createSigner('hospital.example/bo');
const stranger = createSigner('hospital.example/anna'); // the name alone is nobody
const OFFICERS: Officer[] = [
  { name: 'Anna', role: 'security-officer', public_key: anna.vkey },
  { name: 'Bo', role: 'officer', public_key: bo.vkey },
];

let server: AttestedServer;
let door: Door;
before(async () => {
  server = await startAttested({ latched: true });
  await server.boot();
  door = await openIncidentDoor(server, deskFor(OFFICERS));
});
after(async () => {
  await door.close(0);
  await server.close();
});

const deskFor = (officers: readonly Officer[]) => openDesk(server, officers);

// biome-ignore lint/suspicious/noExplicitAny: the answers of a server, looked into below
type Json = any;

function ask(method: string, path: string, body?: string, type = 'text/plain'): Promise<[number, Json]> {
  return new Promise((resolve, reject) => {
    const options = { method, headers: body === undefined ? {} : { 'content-type': type }, rejectUnauthorized: false };
    const request = https.request(
      `https://127.0.0.1:${door.port}${path}`,
      { ...options, agent: false },
      async (answer) => {
        let text = '';
        for await (const chunk of answer) text += chunk;
        resolve([answer.statusCode!, JSON.parse(text)]);
      },
    );
    request.on('error', reject).end(body);
  });
}

const post = (id: string, note: string) =>
  ask('POST', `/api/v1/incidents/${id}/resolution`, note, 'text/plain; charset=utf-8');

const TITLE = 'abaton incident resolution v1';
const textOf = (
  id: string,
  { title = TITLE, origin = ORIGIN, at = new Date().toISOString(), cause = `cause: ${CAUSE}` } = {},
) => `${[title, origin, id, at, cause].join('\n')}\n`;
const signed = (text: string, { key, vkey }: Signer) =>
  `${text}\n${formatSignatureLine(parseVkey(vkey), sign(null, Buffer.from(text), key))}`;

async function breakPlatform(): Promise<string> {
  await server.tee.setFault('pck-revoked');
  server.forgetCollateral();
  await server.monitor.attest();
  await server.tee.setFault(null);
  await server.monitor.attest();
  assert.deepEqual(server.gate.state().reasons, ['incident-open']);
  return server.latch.open().at(-1)!.id;
}

test('what does not hold is refused with its code, and the gate stays closed', async () => {
  const id = await breakPlatform();
  const minutesAgo = (minutes: number) => new Date(Date.now() - minutes * 60_000).toISOString();
  const good = textOf(id);
  const refused: Record<string, [string, RegExp]> = {
    'by a stranger': [signed(good, stranger), /not signed by a security-officer or privacy-officer/],
    'by an officer of another role': [signed(good, bo), /not signed by a security-officer or privacy-officer/],
    unsigned: [good, /not signed by a security-officer or privacy-officer/],
    'signed, then changed': [
      signed(good, anna).replace('node 7', 'node 8'),
      /not signed by a security-officer or privacy-officer/,
    ],
    'for another incident': [signed(textOf('00'.repeat(8)), anna), /another incident/],
    'for another log': [signed(textOf(id, { origin: 'other.test/audit' }), anna), /another log/],
    'something else that she has signed': [signed(textOf(id, { title: 'abaton policy v1' }), anna), /it is no/],
    'with a line more': [signed(`${good}and more\n`, anna), /it is no/],
    'too old': [signed(textOf(id, { at: minutesAgo(16) }), anna), /last 15 minutes/],
    'from the future': [signed(textOf(id, { at: minutesAgo(-6) }), anna), /five minutes ahead/],
    'without a time': [signed(textOf(id, { at: 'today' }), anna), /its time/],
    'without a cause': [signed(textOf(id, { cause: 'cause: ' }), anna), /no cause/],
    'with a cause that hides': [signed(textOf(id, { cause: 'cause: ok \u202e' }), anna), /no cause/],
    'with a long cause': [signed(textOf(id, { cause: `cause: ${'x'.repeat(501)}` }), anna), /no cause/],
  };
  const size = server.log.size();
  const desk = deskFor(OFFICERS);
  for (const [name, [note, message]] of Object.entries(refused))
    await assert.rejects(desk.resolve(id, note), { code: 'RESOLUTION_INVALID', name: 'RejectedError', message }, name);
  await assert.rejects(desk.resolve('ff'.repeat(8), signed(good, anna)), { code: 'INCIDENT_UNKNOWN' });
  await assert.rejects(deskFor([]).resolve(id, signed(good, anna)), { message: /names no security-officer/ });
  assert.throws(() => deskFor([{ ...OFFICERS[0]!, public_key: 'anna+00000000+AAAA' }]), { code: 'MANIFEST_INVALID' });
  // as the door says it
  const [status, { code, class: kind }] = await post(id, signed(good, stranger));
  assert.deepEqual([status, code, kind], [403, 'RESOLUTION_INVALID', 'stop']);
  assert.equal((await post('ff'.repeat(8), signed(good, anna)))[0], 404);
  assert.equal((await post(id, 'x'.repeat(9_000)))[0], 413);
  assert.equal((await ask('POST', `/api/v1/incidents/${id}/resolution`, '{}', 'application/json'))[0], 415);
  assert.equal((await ask('GET', `/api/v1/incidents/${id}/resolution`))[0], 405);
  assert.equal(server.log.size(), size, 'nothing is recorded');
  assert.deepEqual(server.gate.state().reasons, ['incident-open']);
});

test('by the officer it is resolved once, recorded first, and a fresh proof opens the gate', async () => {
  const [incident] = server.latch.open();
  const { id } = incident!;
  const [, { incidents }] = await ask('GET', '/api/v1/incidents');
  assert.deepEqual(incidents, [{ ...incident, state: 'open' }]);
  const before = server.monitor.newest()!.id;
  const note = signed(textOf(id), anna);
  const [status, answer] = await post(id, note);
  assert.deepEqual(
    [status, answer],
    [200, { incident: { ...incident, state: 'resolved' }, gate: { open: true, reasons: [] } }],
  );
  assert.notEqual(server.monitor.newest()!.id, before, 'the proof before does not open it');

  const indexes = [server.log.size() - 2, server.log.size() - 1];
  const [end, proof] = await Promise.all(
    indexes.map(async (i) => Buffer.from(await server.log.current().entry(i)).toString()),
  );
  const entry = JSON.parse(end!);
  assert.deepEqual([entry.action, entry.object.ref], ['incident-resolved', id]);
  assert.deepEqual(entry.facts, { officer: 'Anna', causeSha256: sha256(CAUSE) });
  assert.ok(!end!.includes('BIOS'), 'the cause is sealed');
  const { auditEvents } = await deriveTeeKeys(server.agent);
  const resource = (await new AuditKeys(auditEvents, 'test').openDetail(
    end!,
    async () => null,
  )) as unknown as FhirAuditEvent;
  assert.deepEqual(detailOf(resource), { cause: CAUSE, note });
  assert.deepEqual([JSON.parse(proof!).action, JSON.parse(proof!).facts.openIncidents], ['attest', '[]']);

  const [replayed, { message }] = await post(id, note);
  assert.equal(replayed, 403);
  assert.match(message, /resolved already/);
  const other = await breakPlatform();
  await assert.rejects(deskFor(OFFICERS).resolve(other, note), {
    code: 'RESOLUTION_INVALID',
    message: /another incident/,
  });
});

test('two posts of one note end one incident; the platform has to be well before the gate opens', async () => {
  const { id } = server.latch.open()[0]!;
  await server.tee.setFault('agent-down');
  const note = signed(textOf(id), anna);
  const desk = deskFor([{ name: 'Anna', role: 'privacy-officer', public_key: anna.vkey }]);
  const [one, two] = await Promise.allSettled([desk.resolve(id, note), desk.resolve(id, note)]);
  assert.deepEqual([one.status, two.status], ['fulfilled', 'rejected']);
  assert.equal((two as PromiseRejectedResult).reason.code, 'RESOLUTION_INVALID');
  assert.deepEqual(server.gate.state().reasons, ['attestation-failed', 'AGENT_UNAVAILABLE'], 'no older proof stands');
  await server.tee.setFault(null);
  await server.monitor.attest();
  assert.equal(server.gate.state().open, true);
});

test('a proof under way while the incident ends opens nothing', async () => {
  const id = await breakPlatform();
  const before = server.monitor.attest();
  const ending = server.latch.resolve(id, { facts: {} });
  const [old] = await Promise.all([before, ending]);
  assert.equal(old.state, 'verified');
  assert.deepEqual(server.gate.state().reasons, ['attestation-pending']);
  await server.monitor.attest();
  assert.equal(server.gate.state().open, true);
});

test('what is resolved stays so over a restart, and its id is known no more', async () => {
  const known = server.latch.list().map(({ id }) => id);
  assert.ok(known.length >= 3);
  server = await server.restart();
  await server.boot();
  assert.deepEqual([server.gate.state().reasons, server.latch.list()], [[], []]);
  for (const id of known)
    await assert.rejects(deskFor(OFFICERS).resolve(id, signed(textOf(id), anna)), { code: 'INCIDENT_UNKNOWN' });
});
