// State directories of earlier releases open; those of later ones are refused untouched.
import assert from 'node:assert/strict';
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openState } from '../../src/open-state.ts';
import { MIGRATIONS } from '../../src/vault/migrations.ts';
import { openSqlite } from '../../src/vault/sqlite.ts';
import { collect, filesUnder, scratch } from './support.ts';

const VECTOR = fileURLToPath(new URL('../vectors/state-v1/data', import.meta.url));
const SECRETS = { teeKey: new Uint8Array(32).fill(1), keyholderShare: new Uint8Array(32).fill(2) };

async function copyOfVector(t: TestContext): Promise<string> {
  const dataDir = join(await scratch(t), 'data');
  await cp(VECTOR, dataDir, { recursive: true });
  return dataDir;
}
const open = (dataDir: string, secrets: Partial<{ teeKey: Uint8Array; keyholderShare: Uint8Array | null }> = {}) =>
  openState({ dataDir, ...SECRETS, ...secrets, tenant: 'vector', studyIdleMs: 0 });

test('version 1 opens with all that it holds', async (t) => {
  const state = await open(await copyOfVector(t));
  t.after(() => state.close());
  const { archive, vault, queue, sealedState, db } = state;
  const contents: [string, string][] = [];
  for await (const { sopInstanceUid, patient, object } of archive.listInstances())
    contents.push([sopInstanceUid, (await collect(vault.openObject(patient, object))).toString()]);
  assert.deepEqual(contents.sort(), [
    ['2.25.11', 'first instance'],
    ['2.25.12', 'second'.repeat(11_667).slice(0, 70_000)],
    ['2.25.191', 'report'],
    ['2.25.21', 'content of 2.25.21'],
  ]);
  const first = await archive.findInstance('2.25.1', '2.25.1.1', '2.25.11');
  assert.equal(Buffer.from(first!.dataset.get(0x00100020)!.value as Uint8Array).toString(), 'P1');
  assert.equal(first!.patient, vault.patientRef('test', '', 'P1'));
  assert.equal(await archive.studyState(archive.studyRef('2.25.1')), 'complete');
  const [result] = await archive.results(archive.studyRef('2.25.1'));
  assert.equal(result?.body.studyInstanceUid, '2.25.1');
  assert.equal(result?.inputDigest, (await archive.inputOf(archive.studyRef('2.25.1'))).inputDigest);
  assert.deepEqual(await archive.findResult(result!.id), result);
  const job = await queue.lease('analyze-study', 1000);
  assert.equal(job?.subject, archive.studyRef('2.25.2'));
  assert.equal(Buffer.from((await sealedState.get(db, 'note'))!).toString(), 'sealed in version 1');
  assert.deepEqual(vault.status(), { keyholder: 'held', epoch: 1 });
  assert.equal((await db.query('select max(version) as version from migrations'))[0]?.version, MIGRATIONS.length);
});

test('with other keys it is SEAL_BROKEN, and stays as it was', async (t) => {
  const dataDir = await copyOfVector(t);
  const before = await filesUnder(dataDir);
  await assert.rejects(open(dataDir, { teeKey: new Uint8Array(32) }), { code: 'SEAL_BROKEN' });
  await assert.rejects(open(dataDir, { keyholderShare: null }), { code: 'SEAL_BROKEN' });
  assert.deepEqual(await filesUnder(dataDir), before);
});

test('a state of a newer release is STATE_TOO_NEW, and untouched', async (t) => {
  const dataDir = await copyOfVector(t);
  const db = openSqlite(join(dataDir, 'abaton.db'));
  await db.query('insert into migrations (version, applied_ms) values ($1, 0)', [MIGRATIONS.length + 1]);
  await db.close();
  const before = await filesUnder(dataDir);
  await assert.rejects(open(dataDir), { code: 'STATE_TOO_NEW' });
  assert.deepEqual(await filesUnder(dataDir), before);
});

test('a state that is open elsewhere is STATE_IN_USE, and its files are left alone', async (t) => {
  const dataDir = await copyOfVector(t);
  const state = await open(dataDir);
  t.after(() => state.close());
  const writer = state.vault.createObject();
  await writer.write(new Uint8Array(200_000));
  await assert.rejects(open(dataDir), { code: 'STATE_IN_USE' });
  const object = await writer.finish(state.vault.patientRef('test', '', 'P1')); // its half-written file was not removed
  assert.equal(object.plaintextBytes, 200_000);
});
