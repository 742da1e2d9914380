/** The log and its witnesses (C2SP tlog-witness), the server's side: quorum, tail, and histories that do not fit. */
import assert from 'node:assert/strict';
import { cp } from 'node:fs/promises';
import { type TestContext, test } from 'node:test';
import { createNoteSigner, type NoteSigner } from '@abaton/client';
import { ED25519_COSIGNATURE_TYPE, ED25519_TYPE, ML_DSA_44_TYPE, parseVkey, verifyCheckpoint } from '@abaton/verify';
import { createLogKeys } from '../../src/audit/log-keys.ts';
import { directoryOfLogs } from '../../src/audit/log-place.ts';
import { Tail } from '../../src/audit/witnessing/tail.ts';
import { parseWitnesses } from '../../src/audit/witnessing/witness-set.ts';
import { createWitnessing } from '../../src/audit/witnessing/witnessing.ts';
import { openYearlyLog, type YearlyLog } from '../../src/audit/yearly-log.ts';
import { createLogger } from '../../src/log.ts';
import { entryOf, scratch } from './support.ts';

const NOW_MS = Date.parse('2026-11-24T12:00:00Z');
const NOW_S = NOW_MS / 1000;
const keys = createLogKeys('hospital.example/audit', new Uint8Array(32).fill(1));
const witness = (n: number, type: number = ML_DSA_44_TYPE): NoteSigner =>
  createNoteSigner({ name: `witness.example/w${n}`, type, seed: new Uint8Array(32).fill(n) });
const W = [1, 2, 3].map((n) => witness(n, n === 1 ? ED25519_COSIGNATURE_TYPE : ML_DSA_44_TYPE));

async function open(t: TestContext, dir: string): Promise<YearlyLog> {
  const log = await openYearlyLog({ place: directoryOfLogs(dir), keys, firstYear: 2026 });
  t.after(() => log.close());
  return log;
}

async function openWitnessed(t: TestContext, manifest: Parameters<typeof parseWitnesses>[0], dir?: string) {
  const log = await open(t, dir ?? (await scratch(t)));
  const incidents: number[] = [];
  const witnessing = createWitnessing({
    ...{ log, set: parseWitnesses(manifest), logger: createLogger(() => {}), nowMs: () => NOW_MS },
    onRolledBack: async () => void incidents.push(log.size()),
  });
  t.after(() => witnessing.stop());
  return { log, witnessing, incidents };
}

const named = (...signers: NoteSigner[]) => ({ witnesses: signers.map(({ vkey }) => ({ vkey })) });
const cosigned = (note: string, signers: readonly NoteSigner[], timeS = NOW_S): string =>
  note + signers.map((signer) => signer.sign(`${note.split('\n\n')[0]}\n`, timeS)).join('');

test('a quorum is more than half; keys that cannot cosign, or twice, are refused', () => {
  assert.deepEqual(
    [0, 1, 2, 3].map((n) => parseWitnesses(named(...W.slice(0, n))).quorum),
    [0, 1, 2, 2],
  );
  assert.equal(parseWitnesses({ ...named(...W), witness_quorum: 3 }).quorum, 3);
  const own = createNoteSigner({ name: 'x', type: ED25519_TYPE, seed: new Uint8Array(32) });
  const twin = createNoteSigner({ name: 'other', type: ML_DSA_44_TYPE, seed: new Uint8Array(32).fill(2) });
  for (const manifest of [
    { ...named(...W), witness_quorum: 1 },
    { ...named(...W), witness_quorum: 4 },
    { witness_quorum: 1 },
    named(own),
    named(W[1]!, twin),
    { witnesses: [{ vkey: 'name+00000000+AAAA' }] },
  ])
    assert.throws(() => parseWitnesses(manifest), { code: 'MANIFEST_INVALID' });
});

test('pending until a quorum has cosigned the entry of the start; proofs are then given under their signatures', async (t) => {
  const { log, witnessing, incidents } = await openWitnessed(t, named(...W));
  await log.append(entryOf(0));
  const boot = await log.append(entryOf(1));
  const before = log.checkpoint();
  witnessing.start(boot);
  assert.equal(witnessing.state().label, 'pending');
  await assert.rejects(witnessing.witnessed(boot, 50), { code: 'WITNESS_UNAVAILABLE' });
  assert.deepEqual(await witnessing.accept(cosigned(before, [W[0]!])), { witnesses: 1 });
  assert.deepEqual(await witnessing.accept(cosigned(before, [W[0]!])), { witnesses: 1 }, 'twice is once');
  assert.equal(witnessing.state().label, 'pending');
  const waiting = witnessing.witnessed(boot);
  await log.append(entryOf(2));
  assert.deepEqual(await witnessing.accept(cosigned(log.checkpoint(), [W[2]!])), { witnesses: 1 });
  await waiting;
  assert.deepEqual([witnessing.state().label, witnessing.state().cosignedSize], ['witnessed', 2]);
  assert.deepEqual(await witnessing.accept(cosigned(log.checkpoint(), [W[1]!, W[2]!])), { witnesses: 2 });
  await log.append(entryOf(3));
  const vkeys = [...log.vkeys(), ...W.map(({ vkey }) => vkey)];
  const signers = verifyCheckpoint((await log.proof(boot)).checkpoint, vkeys).signedBy.map(({ name }) => name);
  assert.deepEqual(signers.slice(2), ['witness.example/w2', 'witness.example/w3']);
  assert.deepEqual(incidents, []);
});

test('without witnesses nothing is waited for, and the state says so', async (t) => {
  const { log, witnessing } = await openWitnessed(t, {});
  const boot = await log.append(entryOf(0));
  witnessing.start(boot);
  await witnessing.witnessed(boot);
  assert.equal(witnessing.state().label, 'unwitnessed');
});

test('what is not ours, wrongly signed, undated or dated ahead counts for nothing', async (t) => {
  const { log, witnessing, incidents } = await openWitnessed(t, named(W[1]!));
  witnessing.start(await log.append(entryOf(0)));
  const note = log.checkpoint();
  const other = createLogKeys('other.example/audit', new Uint8Array(32).fill(1));
  const foreign = await openYearlyLog({ place: directoryOfLogs(await scratch(t)), keys: other, firstYear: 2026 });
  t.after(() => foreign.close());
  const line = W[1]!.sign(`${note.split('\n\n')[0]}\n`, NOW_S);
  for (const bad of [
    '',
    'nonsense',
    cosigned(foreign.checkpoint(), [W[1]!]),
    note.replace(/\n1\n/, '\n2\n'),
    `${note}${line.slice(0, -6)}AAAA=\n`,
    cosigned(note, [W[1]!], 0),
    cosigned(note, [W[1]!], NOW_S + 301),
    `${note.split('\n\n')[0]}\n\n${line}`, // the witness alone
  ])
    await assert.rejects(witnessing.accept(bad), { code: 'COSIGNATURE_INVALID' });
  assert.deepEqual(await witnessing.accept(cosigned(note, [witness(9)])), { witnesses: 0 }, 'a stranger');
  assert.deepEqual([witnessing.state().label, incidents], ['pending', []]);
});

test('a longer, other or later history under our key is an incident, whoever brings it', async (t) => {
  const dir = await scratch(t);
  const first = await open(t, dir);
  for (let i = 0; i < 300; i++) await first.append(entryOf(i));
  await first.close();
  const yesterday = await scratch(t);
  await cp(dir, yesterday, { recursive: true });
  const today = await open(t, dir);
  await today.append(entryOf(300));
  const shown = today.checkpoint();
  today.begin(2027, ({ size }) => Buffer.from(`{"after":${size}}`));
  await today.append(entryOf(301));

  const { log, witnessing, incidents } = await openWitnessed(t, named(W[1]!), yesterday);
  const boot = await log.append(Buffer.from('{"another":"boot"}'));
  witnessing.start(boot);
  await assert.rejects(witnessing.accept(cosigned(shown, [W[1]!])), { code: 'LOG_ROLLED_BACK' }, 'another entry 300');
  await assert.rejects(witnessing.accept(today.checkpoint()), { code: 'LOG_ROLLED_BACK' }, 'a year that is not here');
  assert.deepEqual(incidents, [301, 301]);
  assert.equal(witnessing.state().label, 'pending');
  // an honest older one is in the history
  assert.deepEqual(await witnessing.accept(first.checkpoint()), { witnesses: 0 });
});

test('the tail is as old as the oldest entry that is not cosigned', () => {
  let now = 0;
  const tail = new Tail(() => now);
  tail.look(10, 10);
  assert.equal(tail.ageMs(), 0);
  now = 1_000;
  tail.look(11, 10);
  now = 3_000;
  tail.look(15, 10);
  assert.equal(tail.ageMs(), 2_000);
  tail.look(15, 12);
  assert.equal(tail.ageMs(), 0, 'seen at 15 just now: 13 to 15 came since');
  now = 9_000;
  assert.equal(tail.ageMs(), 6_000);
  tail.look(15, 15);
  assert.equal(tail.ageMs(), 0);
  tail.look(1, 0); // another year
  now = 10_000;
  assert.equal(tail.ageMs(), 1_000);
});

test('every checkpoint of a later year names what it continues', async (t) => {
  const log = await open(t, await scratch(t));
  await log.append(entryOf(0));
  const end = verifyCheckpoint(log.checkpoint(), log.vkeys());
  log.begin(2027, () => entryOf(1));
  await log.append(entryOf(2));
  const { extensions } = verifyCheckpoint(log.checkpoint(), log.vkeys());
  assert.deepEqual(extensions, [`previous ${end.origin} 1 ${Buffer.from(end.root).toString('base64')}`]);
  assert.equal(parseVkey(log.vkeys()[0]!).name, 'hospital.example/audit/2027');
});
