/** C2SP tlog-witness, sentence by sentence where it says MUST: add-checkpoint. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { createNoteSigner } from '@abaton/client';
import { ED25519_COSIGNATURE_TYPE, ED25519_TYPE, formatCheckpoint, ML_DSA_44_TYPE, parseVkey } from '@abaton/verify';
import fc from 'fast-check';
import { formatAddCheckpoint } from '../../src/witness/request.ts';
import { trustLogs } from '../../src/witness/trusted-logs.ts';
import { cosignedAt, FAMILY, LetterLog, newWitness, ORIGIN, signed, signersOf, YEAR } from './support.ts';

const LOG = new LetterLog('abcdefghijklmnopqrstu');
const FORK = new LetterLog('abcdefgXijklmnopqrstu');

/** A witness that holds size 10. */
async function atTen(t: TestContext) {
  const opened = await newWitness(t);
  assert.equal((await opened.witness.addCheckpoint(LOG.request(0, 10))).status, 200);
  const ask = (body: string) => opened.witness.addCheckpoint(body);
  const isUnmoved = () => assert.equal(opened.witness.head(ORIGIN)?.text, LOG.text(10));
  return { ...opened, ask, isUnmoved };
}

test('200: a body of cosignature lines of both keys, on the whole checkpoint, with the time', async (t) => {
  const { witness } = await newWitness(t, { nowMs: () => 1_700_000_000_999 });
  const { status, contentType, body } = await witness.addCheckpoint(LOG.request(0, 7));
  assert.deepEqual([status, contentType], [200, 'text/plain; charset=utf-8']);
  assert.match(body, /^(\u2014 hospital\.example\/witness [A-Za-z0-9+/=]+\n){2}$/);
  assert.deepEqual(
    witness.vkeys.map((vkey) => parseVkey(vkey).type),
    [ED25519_COSIGNATURE_TYPE, ML_DSA_44_TYPE],
  );
  assert.deepEqual(cosignedAt(LOG.text(7), body, witness), [1_700_000_000, 1_700_000_000]);
  assert.throws(() => cosignedAt(LOG.text(8), body, witness), { code: 'CHECKPOINT_SIGNATURE_INVALID' });
});

test('every step from m to n of a tree of 21 is cosigned with the proof of RFC 6962', async (t) => {
  for (let m = 0; m <= LOG.letters.length; m++) {
    const { witness } = await newWitness(t);
    if (m > 0) await witness.addCheckpoint(LOG.request(0, m));
    let from = m;
    for (let n = m; n <= LOG.letters.length; n += 5, from = n - 5)
      assert.equal((await witness.addCheckpoint(LOG.request(from, n))).status, 200, `${from} to ${n}`);
  }
});

test('a checkpoint may carry extension lines: Ed25519 cosigns them', async (t) => {
  const { witness } = await newWitness(t);
  const text = `${LOG.text(3)}extension\n`;
  const { status, body } = await witness.addCheckpoint(`old 0\n\n${signed(text)}`);
  assert.equal(status, 200);
  cosignedAt(text, body, witness);
  assert.throws(() => cosignedAt(LOG.text(3), body, witness), { code: 'CHECKPOINT_SIGNATURE_INVALID' });
});

test('signatures from unknown keys are ignored; one trusted key is enough', async (t) => {
  const { witness } = await newWitness(t);
  const stranger = createNoteSigner({ name: ORIGIN, type: ED25519_TYPE, seed: new Uint8Array(32) });
  const other = createNoteSigner({ name: 'else.example', type: ED25519_TYPE, seed: new Uint8Array(32) });
  const [ed25519, mlDsa] = signersOf();
  const ask = (size: number, old: number, signers: (typeof stranger)[]) =>
    witness.addCheckpoint(formatAddCheckpoint(old, LOG.proof(old, size), signed(LOG.text(size), signers)));
  assert.equal((await ask(3, 0, [stranger, other, ed25519!])).status, 200);
  assert.equal((await ask(4, 3, [mlDsa!])).status, 200);
  assert.doesNotMatch(witness.head(ORIGIN)!.note, /else\.example/, 'and not kept');
});

test('404: the origin is unknown, whoever signed', async (t) => {
  const { ask, isUnmoved } = await atTen(t);
  for (const origin of ['else.example/audit/2026', `${FAMILY}/0000`, `${FAMILY}/9999`, `${FAMILY}/${YEAR}0`, FAMILY])
    for (const signers of [signersOf(), signersOf(origin)])
      assert.equal((await ask(`old 0\n\n${signed(LOG.text(12, origin), signers)}`)).status, 404, origin);
  isUnmoved();
});

test('403: no signature of a trusted key, or one that does not verify', async (t) => {
  const { ask, isUnmoved } = await atTen(t);
  const request = (note: string) => formatAddCheckpoint(10, LOG.proof(10, 12), note);
  const text = LOG.text(12);
  assert.equal((await ask(request(signed(text, signersOf(ORIGIN, 43))))).status, 403);
  assert.equal((await ask(request(signed(text, signersOf('else.example'))))).status, 403);
  const wrong = signersOf().map((signer) => signer.sign(LOG.text(11)));
  const right = signersOf().map((signer) => signer.sign(text));
  for (const lines of [
    [wrong[0]],
    [wrong[1]],
    [right[0], wrong[1]],
    [wrong[0], right[1]],
    [right[0], wrong[0]], // the second of one key, too
    [right[1], wrong[1]],
  ])
    assert.equal((await ask(request(`${text}\n${lines.join('')}`))).status, 403);
  isUnmoved();
});

test('400: an old size above the checkpoint, and every other deviation from the format', async (t) => {
  const { ask, isUnmoved } = await atTen(t);
  assert.equal((await ask(formatAddCheckpoint(13, [], LOG.note(12)))).status, 400);
  const proof = LOG.proof(10, 12).map((hash) => Buffer.from(hash).toString('base64'));
  const note = LOG.note(12);
  const good = ['old 10', ...proof, '', note].join('\n');
  const hash = Buffer.alloc(32).toString('base64');
  const bad = [
    '',
    '\n',
    '\n\n',
    note,
    good.slice(1),
    good.slice(0, -1),
    ` ${good}`,
    good.replace('old 10', 'old  10'),
    good.replace('old 10', 'old 010'),
    good.replace('old 10', 'old +10'),
    good.replace('old 10', 'old 1e1'),
    good.replace('old 10', 'old -0'),
    good.replace('old 10', 'old 00'),
    good.replace('old 10', 'old '),
    good.replace('old 10', 'Old 10'),
    good.replace('old 10', 'old 9007199254740993'),
    good.replace('old 10', 'old 18446744073709551616'),
    good.replace('old 10', 'old 10 '),
    good.replace('old 10\n', 'old 10\r\n'),
    good.replace(proof[0]!, proof[0]!.slice(0, -1)),
    good.replace(proof[0]!, `${proof[0]}=`),
    good.replace(proof[0]!, ` ${proof[0]}`),
    good.replace(proof[0]!, proof[0]!.replaceAll('/', '_').replaceAll('+', '-').replace('=', '')),
    good.replace(proof[0]!, Buffer.alloc(31).toString('base64')),
    good.replace(proof[0]!, `${hash.slice(0, -2)}B=`), // bits that are not of the hash
    good.replace(proof.join('\n'), [...proof, ...Array(64 - proof.length).fill(hash)].join('\n')), // 64 lines
    good.replace('\n\n', '\n'),
    good.replace('\n12\n', '\n012\n'),
    `${good}\n`,
    `${good}no signature\n`,
    `old 10\n${`${hash}\n`.repeat(100_000)}\n${note}`,
  ];
  for (const body of bad) assert.equal((await ask(body)).status, 400, JSON.stringify(body.slice(0, 200)));
  isUnmoved();
  assert.equal((await ask(good)).status, 200, 'and as it was: cosigned');
});

test('63 proof lines are read, and judged', async (t) => {
  const { ask } = await atTen(t);
  const proof = Array.from({ length: 63 }, () => new Uint8Array(32));
  assert.equal((await ask(formatAddCheckpoint(10, proof, LOG.note(12)))).status, 422);
});

test('409: another old size than that of the newest cosigned, which is the body', async (t) => {
  const { ask, witness, isUnmoved } = await atTen(t);
  for (const old of [0, 1, 9, 11, 12]) {
    const answer = await ask(formatAddCheckpoint(old, LOG.proof(old, 12), LOG.note(12)));
    assert.deepEqual(answer, { status: 409, contentType: 'text/x.tlog.size', body: '10\n' });
  }
  isUnmoved();
  const fresh = await newWitness(t);
  const answer = await fresh.witness.addCheckpoint(LOG.request(5, 12));
  assert.deepEqual(answer, { status: 409, contentType: 'text/x.tlog.size', body: '0\n' });
  assert.equal(witness.head(ORIGIN)?.size, 10);
});

test('422: size zero with another root than that of the empty tree; with that root it is cosigned', async (t) => {
  const { witness } = await newWitness(t);
  const wrong = formatCheckpoint(ORIGIN, 0, new Uint8Array(32));
  assert.equal((await witness.addCheckpoint(`old 0\n\n${signed(wrong)}`)).status, 422);
  assert.equal(witness.head(ORIGIN), null);
  assert.equal((await witness.addCheckpoint(LOG.request(0, 0))).status, 200);
  assert.equal((await witness.addCheckpoint(LOG.request(0, 5))).status, 200);
});

test('422: a proof from size zero, a proof that does not verify, a fork', async (t) => {
  const { ask, witness, lines, isUnmoved } = await atTen(t);
  const request = (proof: Uint8Array[], note = LOG.note(20)) => formatAddCheckpoint(10, proof, note);
  const right = LOG.proof(10, 20);
  const flipped = right.map((hash, i) => (i === 1 ? hash.map((byte, k) => (k === 0 ? byte ^ 1 : byte)) : hash));
  for (const proof of [[], flipped, right.slice(1), right.slice(0, -1), [...right, right[0]!], right.toReversed()])
    assert.equal((await ask(request(proof))).status, 422);
  assert.equal((await ask(request(FORK.proof(10, 20), FORK.note(20)))).status, 422);
  assert.equal((await ask(formatAddCheckpoint(10, [], FORK.note(10)))).status, 422, 'the same size, another root');
  assert.equal((await ask(formatAddCheckpoint(10, right, LOG.note(10)))).status, 422, 'a proof where none belongs');
  isUnmoved();
  const { event, level, roots } = JSON.parse(lines.findLast((line) => line.includes('inconsistent'))!);
  assert.deepEqual([event, level, roots.length], ['checkpoint-inconsistent', 'error', 2]);
  const fresh = await newWitness(t);
  assert.equal((await fresh.witness.addCheckpoint(formatAddCheckpoint(0, right, LOG.note(20)))).status, 422);
  assert.equal(witness.head(ORIGIN)?.size, 10);
});

test('the same checkpoint again gets a cosignature of now', async (t) => {
  let nowMs = 1_700_000_000_000;
  const { witness } = await newWitness(t, { nowMs: () => nowMs });
  await witness.addCheckpoint(LOG.request(0, 10));
  nowMs += 5_000;
  const { body } = await witness.addCheckpoint(LOG.request(10, 10));
  assert.deepEqual(cosignedAt(LOG.text(10), body, witness), [1_700_000_005, 1_700_000_005]);
});

test('a clock that is set back does not set back the time that is signed', async (t) => {
  let nowMs = 1_700_000_000_000;
  const { witness } = await newWitness(t, { nowMs: () => nowMs });
  await witness.addCheckpoint(LOG.request(0, 10));
  nowMs -= 86_400_000;
  const { body } = await witness.addCheckpoint(LOG.request(10, 12));
  assert.deepEqual(cosignedAt(LOG.text(12), body, witness), [1_700_000_000, 1_700_000_000]);
  nowMs = -1;
  const atZero = await newWitness(t, { nowMs: () => nowMs });
  const first = await atZero.witness.addCheckpoint(LOG.request(0, 10));
  assert.deepEqual(cosignedAt(LOG.text(10), first.body, atZero.witness), [1, 1], 'the time must not be zero');
});

test('requests A (N) and B (N + K) at once: one is cosigned, the other gets 409; never N after N + K', async (t) => {
  for (const order of [
    [12, 20],
    [20, 12],
  ]) {
    const { ask, witness } = await atTen(t);
    const answers = await Promise.all(order.map((size) => ask(LOG.request(10, size))));
    assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 409]);
    const won = order[answers.findIndex(({ status }) => status === 200)]!;
    assert.equal(answers.find(({ status }) => status === 409)?.body, `${won}\n`);
    assert.equal(witness.head(ORIGIN)?.size, won);
  }
});

test('a hundred requests at once for a log and its fork: one history is cosigned', async (t) => {
  const { witness } = await newWitness(t);
  const cosigned: string[] = [];
  await Promise.all(
    Array.from({ length: 100 }, async (_, i) => {
      const log = i % 2 ? LOG : FORK;
      const size = 8 + (i % 13);
      for (let tries = 0; tries < 3; tries++) {
        const old = witness.head(ORIGIN)?.size ?? 0;
        if (old > size) return;
        const { status } = await witness.addCheckpoint(log.request(old, size));
        if (status === 200) cosigned.push(log.letters);
      }
    }),
  );
  assert.ok(cosigned.length > 1);
  assert.equal(new Set(cosigned).size, 1);
});

test('a log of a year ends where that of a later year begins: it is cosigned as it is, and grows no more', async (t) => {
  const [last, other] = [`${FAMILY}/${YEAR - 1}`, `else.example/audit/${YEAR - 1}`];
  const signers = signersOf(last);
  const logs = trustLogs([...signers, ...signersOf(ORIGIN), ...signersOf(other)].map(({ vkey }) => vkey));
  const { witness } = await newWitness(t, { logs: () => logs });
  /** In this year's checkpoints stands what they continue (server, yearly-log.ts). */
  const previous = (size: number) => `previous ${last} ${size} ${LOG.text(size, last).split('\n')[2]}\n`;
  const ask = async (from: number, to: number, origin = last, extension = origin === ORIGIN ? previous(10) : '') => {
    const text = LOG.text(to, origin) + extension;
    const note = signed(text, origin === ORIGIN ? signersOf() : signersOf(origin));
    return (await witness.addCheckpoint(formatAddCheckpoint(from, LOG.proof(from, to), note))).status;
  };
  assert.deepEqual([await ask(0, 7), await ask(7, 10)], [200, 200]);
  for (const forgotten of ['', previous(7), previous(9), previous(12), previous(10).replace(last, other)])
    assert.equal(await ask(0, 3, ORIGIN, forgotten), 422, 'a year that does not continue the one before');
  assert.equal(await ask(0, 3, ORIGIN), 200);
  assert.deepEqual([await ask(10, 10), await ask(10, 12), await ask(3, 5, ORIGIN)], [200, 422, 200]);
  assert.deepEqual([await ask(0, 7, other), await ask(7, 10, other)], [200, 200], 'another family goes on');
});

test('a key of a year also signs later years of its family, up to a year ahead of the clock; nothing else', () => {
  const nowMs = Date.UTC(2026, 5);
  const logs = trustLogs(
    [...signersOf(`${FAMILY}/2025`), ...signersOf('fixed.example/log'), ...signersOf('x/2024')].map(({ vkey }) => vkey),
    () => nowMs,
  );
  const known = (origin: string) => logs.keysOf(origin).map(({ name }) => name);
  for (const year of [2025, 2026, 2027])
    assert.deepEqual(known(`${FAMILY}/${year}`), [`${FAMILY}/2025`, `${FAMILY}/2025`]);
  for (const origin of [`${FAMILY}/2024`, `${FAMILY}/2028`, `${FAMILY}/02026`, `${FAMILY}/2026/`, `${FAMILY}2026`])
    assert.deepEqual(known(origin), [], origin);
  assert.equal(known('fixed.example/log').length, 2);
  assert.deepEqual([known('fixed.example/log/2026'), known('/2026'), known('2026')], [[], [], []]);
});

test('keys that no log can have are refused', () => {
  const vkeyOf = (name: string) => signersOf(name)[0]!.vkey;
  assert.throws(() => trustLogs(['nonsense']), { code: 'VKEY_INVALID' });
  assert.throws(() => trustLogs([vkeyOf('x'.repeat(256))]), { code: 'VKEY_INVALID' });
  assert.equal(trustLogs([vkeyOf('a'), vkeyOf('a')]).keysOf('a').length, 1, 'one key twice is one key');
});

test('hostile bodies: an answer of the specification for each, and nothing is cosigned', async (t) => {
  const { witness, isUnmoved } = await atTen(t);
  const numRuns = process.env.SLOW ? 1000 : 30;
  // one signature: with two, a change in the name of one is a key that is not known, and ignored
  const good = formatAddCheckpoint(10, LOG.proof(10, 12), signed(LOG.text(12), signersOf().slice(0, 1)));
  const mutated = fc
    .tuple(fc.nat(good.length - 1), fc.nat(6), fc.string({ maxLength: 8 }))
    .map(([at, cut, put]) => good.slice(0, at) + put + good.slice(at + cut))
    .filter((body) => body !== good);
  await fc.assert(
    fc.asyncProperty(fc.oneof(fc.string(), fc.string({ unit: 'binary' }), mutated), async (body) => {
      const { status } = await witness.addCheckpoint(body);
      assert.ok([400, 403, 404, 409, 422].includes(status), String(status));
    }),
    { numRuns },
  );
  isUnmoved();
  assert.equal((await witness.addCheckpoint(good)).status, 200, 'and as it was: cosigned');
});
