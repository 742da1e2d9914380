/** An order is carried out once, by the right office, for this log, while it is fresh, and recorded before: nothing else. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatOfficerOrder, parseOfficerOrder } from '@abaton/verify';
import type { AuditEntry } from '../../src/audit/audit-trail.ts';
import { createAuditTrail } from '../../src/audit/audit-trail.ts';
import { createDenials } from '../../src/audit/denials.ts';
import { createOrderDesk, type OrderDeskOptions, orderInvalid } from '../../src/officers/order-desk.ts';
import { FAMILY, openYears, scratch, THIS_YEAR } from '../audit/support.ts';
import { createOfficer, newOrderId, orderText, signNote } from './support.ts';

const ORIGIN = `${FAMILY}/${THIS_YEAR}`;
const anna = createOfficer('hospital.example/anna');
const bo = createOfficer('hospital.example/bo');
const stranger = createOfficer('hospital.example/anna'); // the name alone is nobody
const OFFICERS = [
  { name: 'Anna', role: 'security-officer', public_key: anna.vkey },
  { name: 'Bo', role: 'officer', public_key: bo.vkey },
];
const REQUEST = { id: 'request-1', address: '192.0.2.1' };
const BODY = { do: 'audit-export', format: 'csv' };

async function openHouse(dir: string, options: Partial<OrderDeskOptions> = {}) {
  const log = await openYears(dir);
  const carriedOut: string[] = [];
  const nowMs = () => Date.now();
  const trail = createAuditTrail({
    ...{ log, auditKey: new Uint8Array(32).fill(3), tenant: 'test', bootId: 'boot', lastEntryMs: 0, nowMs },
  });
  const denials = createDenials(trail);
  const desk = createOrderDesk({
    officers: OFFICERS,
    handlers: {
      'audit-export': ({ format }) => {
        if (format === 'none') throw orderInvalid('no such format');
        return {
          patient: null,
          async carryOut({ entry: { index } }) {
            if (format === 'broken') throw new Error('no room');
            carriedOut.push(`${index}`);
            return { json: { format: format! } };
          },
        };
      },
      unlisted: () => assert.fail('no office may order it'),
    },
    log,
    trail,
    denials,
    nowMs,
    ...options,
  });
  const entries = async (): Promise<AuditEntry[]> =>
    log.size() === 0
      ? []
      : (await log.current().entriesOf(0)).map((bytes) => JSON.parse(Buffer.from(bytes).toString()));
  return { log, desk, denials, carriedOut, entries, submit: (note: string) => desk.submit(note, REQUEST) };
}

test('the text of an order is the one that is documented, and reads back', () => {
  const signedMs = Date.parse('2026-08-20T12:00:00.000Z');
  const order = {
    origin: ORIGIN,
    signedMs,
    id: '0123456789abcdef'.repeat(2),
    order: { do: 'account', patientId: 'P 1' },
  };
  const text = formatOfficerOrder(order);
  assert.equal(
    text,
    `abaton officer order v1\n${ORIGIN}\n2026-08-20T12:00:00.000Z\n0123456789abcdef0123456789abcdef\n{"do":"account","patientId":"P 1"}\n`,
  );
  assert.deepEqual(parseOfficerOrder(text), order);
  const line = '{"do":"account","patientId":"P 1"}';
  const refused: Record<string, string> = {
    'another title': text.replace('v1', 'v2'),
    'a line more': `${text}more\n`,
    'no last newline': text.slice(0, -1),
    'another form of the time': text.replace('.000Z', 'Z'),
    'a short id': text.replace('0123456789abcdef\n', '\n'),
    'an id in capitals': text.replace('abcdef', 'ABCDEF'),
    'a member twice': text.replace(line, '{"do":"account","do":"erase"}'),
    'white space': text.replace(line, '{"do": "account"}'),
    'members out of order': text.replace(line, '{"patientId":"P 1","do":"account"}'),
    'nothing to do': text.replace(line, '{"patientId":"P 1"}'),
    'a verb of another kind': text.replace(line, '{"do":["account"]}'),
    'no object': text.replace(line, '"account"'),
    'no JSON': text.replace(line, 'account'),
    'what cannot be seen': text.replace('P 1', 'P\u202e1'),
    'too much': text.replace('P 1', 'P'.repeat(5000)),
  };
  for (const [name, changed] of Object.entries(refused)) {
    assert.notEqual(changed, text, name);
    assert.throws(() => parseOfficerOrder(changed), { code: 'ORDER_INVALID', name: 'RejectedError' }, name);
  }
});

test('what does not hold is refused with its code, not carried out, and recorded as denied', async (t) => {
  const { submit, carriedOut, entries, denials } = await openHouse(await scratch(t));
  const good = orderText(BODY, { origin: ORIGIN });
  const at = (minutes: number) => Date.now() + minutes * 60_000;
  const signed = signNote(good, anna);
  const refused: Record<string, [string, RegExp]> = {
    'by a stranger': [signNote(good, stranger), /not signed by a security-officer or privacy-officer/],
    'by an officer of another role': [signNote(good, bo), /not signed by a security-officer or privacy-officer/],
    unsigned: [good, /not signed/],
    'changed by a byte': [signed.replace('"csv"', '"csw"'), /not signed/],
    'for another log': [signNote(orderText(BODY, { origin: 'other.example/audit' }), anna), /another log/],
    stale: [signNote(orderText(BODY, { origin: ORIGIN, signedMs: at(-16) }), anna), /last 15 minutes/],
    'from the future': [signNote(orderText(BODY, { origin: ORIGIN, signedMs: at(6) }), anna), /five minutes ahead/],
    'something else that she has signed': [signNote('abaton incident resolution v1\n', anna), /it is no/],
    'of no kind that is known': [signNote(orderText({ do: 'open' }, { origin: ORIGIN }), anna), /no such order/],
    'named like a part of every object': [
      signNote(orderText({ do: 'constructor' }, { origin: ORIGIN }), anna),
      /no such order/,
    ],
    'that no office may give': [signNote(orderText({ do: 'unlisted' }, { origin: ORIGIN }), anna), /no such order/],
    'whose members are wrong': [
      signNote(orderText({ ...BODY, format: 'none' }, { origin: ORIGIN }), anna),
      /no such format/,
    ],
  };
  for (const [name, [note, message]] of Object.entries(refused))
    await assert.rejects(submit(note), { code: 'ORDER_INVALID', name: 'RejectedError', message }, name);
  await denials.stop();
  assert.deepEqual(carriedOut, []);
  const recorded = await entries();
  assert.equal(recorded.length, Object.keys(refused).length);
  for (const { action, outcome, facts } of recorded)
    assert.deepEqual([action, outcome, facts.code, facts.dropped], ['denied', 'failure', 'ORDER_INVALID', 0]);
  const named = recorded.filter(({ facts }) => facts.officer === 'Anna').length;
  assert.equal(named, 8, 'whoever has signed is named');
});

test('an officer in no office of the order cannot give it; without officers nobody can', async (t) => {
  const privacy = await openHouse(await scratch(t), { offices: { 'audit-export': ['privacy-officer'] } });
  await assert.rejects(privacy.submit(signNote(orderText(BODY, { origin: ORIGIN }), anna)), {
    code: 'ORDER_INVALID',
    message: /a security-officer cannot give it/,
  });
  assert.deepEqual(privacy.carriedOut, []);
  const officers = [{ name: 'Anna', role: 'officer', public_key: anna.vkey }];
  const { submit } = await openHouse(await scratch(t), { officers });
  await assert.rejects(submit(signNote(orderText(BODY, { origin: ORIGIN }), anna)), {
    code: 'ORDER_INVALID',
    message: /names no security-officer/,
  });
  const bad = [{ name: 'Anna', role: 'privacy-officer', public_key: 'anna+00000000+AAAA' }];
  await assert.rejects(openHouse(await scratch(t), { officers: bad }), { code: 'MANIFEST_INVALID' });
});

test('it is recorded, then witnessed, then carried out: once, also over a restart', async (t) => {
  const dir = await scratch(t);
  const seen: string[] = [];
  const first = await openHouse(dir, {
    witnessed: async ({ index }) => {
      seen.push(`witnessed ${index} after ${first.log.size()}`);
    },
  });
  const id = newOrderId();
  const note = signNote(orderText(BODY, { origin: ORIGIN, id }), anna);
  const [one, two] = await Promise.allSettled([first.submit(note), first.submit(note)]);
  assert.ok(one.status === 'fulfilled');
  const { index } = one.value.accepted.entry;
  assert.equal(two.status === 'rejected' && two.reason.code, 'ORDER_INVALID');
  assert.deepEqual(one.value, {
    accepted: { id, do: 'audit-export', officer: 'Anna', entry: { origin: ORIGIN, index } },
    answer: { json: { format: 'csv' } },
  });
  await assert.rejects(first.submit(note), { code: 'ORDER_INVALID', message: /given before/ });
  assert.deepEqual([seen, first.carriedOut], [[`witnessed ${index} after ${index + 1}`], [`${index}`]]);
  await first.denials.stop();
  const entry = (await first.entries())[index];
  assert.deepEqual(
    [entry!.action, entry!.actor, entry!.facts],
    ['order', 'officer', { officer: 'Anna', role: 'security-officer', do: 'audit-export', orderId: id }],
  );
  // many entries later, in another boot
  for (let i = 0; i < 600; i += 100)
    await Promise.all(
      Array.from({ length: 100 }, () =>
        first.log.append(Buffer.from(JSON.stringify({ ...entry, action: 'gate', facts: {} }))),
      ),
    );
  await first.log.close();
  const again = await openHouse(dir);
  await assert.rejects(again.submit(note), { code: 'ORDER_INVALID', message: /given before/ });
  await again.submit(signNote(orderText(BODY, { origin: ORIGIN }), anna));
  assert.equal(again.carriedOut.length, 1);
});

test('an order that nobody witnesses, or whose work fails, says so in the log', async (t) => {
  const house = await openHouse(await scratch(t), {
    witnessed: () => Promise.reject(new Error('the witness is away')),
  });
  await assert.rejects(house.submit(signNote(orderText(BODY, { origin: ORIGIN }), anna)), /witness is away/);
  assert.deepEqual(house.carriedOut, []);
  const outcomes = (await house.entries()).map(({ action, outcome }) => `${action} ${outcome}`);
  assert.deepEqual(outcomes, ['order success', 'order failure']);
  const other = await openHouse(await scratch(t));
  await assert.rejects(
    other.submit(signNote(orderText({ ...BODY, format: 'broken' }, { origin: ORIGIN }), anna)),
    /no room/,
  );
  assert.deepEqual((await other.entries()).at(-1)?.facts.code, 'INTERNAL');
});

test('a log that cannot commit carries nothing out', async (t) => {
  const house = await openHouse(await scratch(t));
  await house.log.close();
  await assert.rejects(house.submit(signNote(orderText(BODY, { origin: ORIGIN }), anna)), {
    code: 'AUDIT_UNAVAILABLE',
  });
  assert.deepEqual(house.carriedOut, []);
});

test('strangers cannot fill the log: some refusals are recorded, the rest is counted', async (t) => {
  const { submit, entries, denials } = await openHouse(await scratch(t));
  for (let i = 0; i < 100; i++) await assert.rejects(submit('nonsense'), { code: 'ORDER_INVALID' });
  await denials.stop();
  const recorded = await entries();
  assert.equal(recorded.length, 31);
  assert.equal(recorded.at(-1)?.facts.dropped, 70);
});
