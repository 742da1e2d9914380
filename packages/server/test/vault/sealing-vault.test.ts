// The vault: objects and values, each opened where it was sealed and nowhere else.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { listed } from '../../../../test/contract/blobs.suite.ts';
import type { BlobStore } from '../../src/vault/blobs.ts';
import { SealingVault } from '../../src/vault/sealing-vault.ts';
import { ciphertextSize } from '../../src/vault/stream.ts';
import type { PatientRef, SealedObject, Vault } from '../../src/vault/vault.ts';
import { collect, flipped, pieces, runs, scratch, TEE_KEY, testState } from './support.ts';

const isBroken = { code: 'SEAL_BROKEN' };

async function store(vault: Vault, patient: PatientRef, plaintext: Uint8Array, cut?: number): Promise<SealedObject> {
  const writer = vault.createObject();
  for await (const piece of pieces(plaintext, cut)) await writer.write(piece);
  return writer.finish(patient);
}
const open = (vault: Vault, patient: PatientRef, object: SealedObject, range?: { offset: number; length: number }) =>
  collect(vault.openObject(patient, object, range));

test('an object opens to what was written, whole and in ranges', async (t) => {
  const { vault } = await testState(t);
  const patient = vault.patientRef('t', 'issuer', 'id');
  const property = fc.asyncProperty(fc.nat(200_000), fc.integer({ min: 1, max: 100_000 }), async (length, cut) => {
    const plaintext = randomBytes(length);
    const object = await store(vault, patient, plaintext, cut);
    assert.equal(object.plaintextBytes, length);
    assert.equal(object.plaintextSha256, createHash('sha256').update(plaintext).digest('hex'));
    assert.ok((await open(vault, patient, object)).equals(plaintext));
    const offset = Math.floor(length / 3);
    const part = await open(vault, patient, object, { offset, length: length - offset });
    assert.ok(part.equals(plaintext.subarray(offset)));
  });
  await fc.assert(property, runs());
});

test('the same plaintext is never the same blob', async (t) => {
  const { vault, blobs } = await testState(t);
  const patient = vault.patientRef('t', '', 'id');
  for (let i = 0; i < 3; i++) await store(vault, patient, Buffer.from('same'));
  assert.equal((await listed(blobs)).length, 3);
});

test('an object opens again after a restart, and not with another TEE key', async (t) => {
  const dataDir = await scratch(t);
  const first = await testState(t, { dataDir });
  const patient = first.vault.patientRef('t', '', 'id');
  const object = await store(first.vault, patient, Buffer.from('kept'));
  await first.db.query(
    `insert into instances (ref, study, series, patient, origin, blob_key, sealed) values ('r', 's', 's', 'p', 'o', $1, $2)`,
    [object.blobKey, new Uint8Array()],
  );
  await first.close();
  await assert.rejects(testState(t, { dataDir, teeKey: randomBytes(32) }), isBroken);
  const second = await testState(t, { dataDir });
  assert.equal(second.vault.patientRef('t', '', 'id'), patient);
  assert.equal((await open(second.vault, patient, object)).toString(), 'kept');
});

test('a blob with any bit flipped, truncated, extended or exchanged is broken', async (t) => {
  const dataDir = await scratch(t);
  const { vault } = await testState(t, { dataDir });
  const patient = vault.patientRef('t', '', 'id');
  const object = await store(vault, patient, randomBytes(40));
  const other = await store(vault, patient, randomBytes(40));
  const pathOf = ({ blobKey }: SealedObject) => join(dataDir, 'blobs', blobKey.slice(0, 2), blobKey.slice(2));
  const blob = await readFile(pathOf(object));
  assert.equal(blob.length, ciphertextSize(40));
  const damaged = [
    ...Array.from({ length: blob.length * 8 }, (_, bit) => flipped(blob, bit)).filter((_, bit) => bit % 7 === 0),
    blob.subarray(0, -1),
    Buffer.alloc(0),
    Buffer.concat([blob, blob]),
    await readFile(pathOf(other)),
  ];
  for (const bytes of damaged) {
    await writeFile(pathOf(object), bytes);
    await assert.rejects(open(vault, patient, object), isBroken);
  }
  await writeFile(pathOf(object), blob);
  assert.equal((await open(vault, patient, object)).length, 40);
});

test('a sealed object with a field changed is broken, and another patient cannot open it', async (t) => {
  const { vault } = await testState(t);
  const [alice, bob] = [vault.patientRef('t', '', 'a'), vault.patientRef('t', '', 'b')];
  const object = await store(vault, alice, randomBytes(100));
  const other = await store(vault, alice, randomBytes(100));
  await store(vault, bob, randomBytes(100));
  const wrapped = Buffer.from(object.wrappedKey, 'base64url');
  const changed: Partial<SealedObject>[] = [
    ...Array.from({ length: wrapped.length * 8 }, (_, bit) => ({
      wrappedKey: flipped(wrapped, bit).toString('base64url'),
    })),
    { wrappedKey: '' },
    { wrappedKey: object.wrappedKey.slice(0, -4) },
    { wrappedKey: `${object.wrappedKey}=` }, // the same bytes to a lenient reader
    { wrappedKey: object.wrappedKey.replace(/^/, ' ') },
    { wrappedKey: other.wrappedKey },
    { blobKey: other.blobKey },
    { blobKey: `../${object.blobKey}` },
    { plaintextBytes: 99 },
    { plaintextBytes: 101 },
    { plaintextBytes: 70_000 },
  ];
  for (const change of changed)
    await assert.rejects(open(vault, alice, { ...object, ...change }), isBroken, JSON.stringify(change));
  await assert.rejects(open(vault, bob, object), isBroken);
  await assert.rejects(open(vault, vault.patientRef('t', '', 'nobody'), object), isBroken);
});

test('a value opens in its place only', async (t) => {
  const { vault } = await testState(t);
  const [alice, bob] = [vault.patientRef('t', '', 'a'), vault.patientRef('t', '', 'b')];
  const sealed = await vault.sealValue(alice, 'results/1', Buffer.from('value'));
  await vault.sealValue(bob, 'results/1', Buffer.from('value'));
  assert.equal(Buffer.from(await vault.openValue(alice, 'results/1', sealed)).toString(), 'value');
  await assert.rejects(vault.openValue(alice, 'results/2', sealed), isBroken);
  await assert.rejects(vault.openValue(bob, 'results/1', sealed), isBroken);
  for (let bit = 0; bit < sealed.length * 8; bit++)
    await assert.rejects(vault.openValue(alice, 'results/1', flipped(sealed, bit)), isBroken);
});

test('references and indexes are stable, keyed and apart from each other', async (t) => {
  const { vault } = await testState(t);
  const other = await testState(t, { teeKey: randomBytes(32) });
  assert.equal(vault.patientRef('t', 'i', 'p'), vault.patientRef('t', 'i', 'p'));
  const all = [
    vault.patientRef('t', 'i', 'p'),
    vault.patientRef('ti', '', 'p'),
    vault.patientRef('t', 'ip', ''),
    vault.patientRef('t2', 'i', 'p'),
    vault.studyPatientRef('t', 'p'),
    vault.blindIndex('patient', 't', 'i', 'p'),
    vault.blindIndex('study', 't', 'p'),
    vault.blindIndex('studyt', 'p'),
    other.vault.patientRef('t', 'i', 'p'),
    other.vault.blindIndex('study', 't', 'p'),
  ];
  assert.equal(new Set(all).size, all.length);
  for (const ref of all) assert.match(ref, /^[A-Za-z0-9_-]{43}$/);
});

test('the status says that no keyholder holds a share', async (t) => {
  assert.deepEqual((await testState(t)).vault.status(), { keyholder: 'none', epoch: 1 });
});

test('what is given up, before or after its end, leaves no file', async (t) => {
  const dataDir = await scratch(t);
  const { vault, blobs } = await testState(t, { dataDir });
  const patient = vault.patientRef('t', '', 'id');
  await vault.createObject().abort();
  const half = vault.createObject();
  await half.write(randomBytes(200_000));
  await half.abort();
  await half.abort();
  const busy = vault.createObject();
  const write = busy.write(randomBytes(200_000)); // the sender leaves while the disk is still busy
  await Promise.all([busy.abort(), assert.rejects(write)]);
  const whole = vault.createObject();
  await whole.write(randomBytes(10));
  await whole.finish(patient);
  await whole.abort();
  assert.deepEqual(await listed(blobs), []);
  assert.deepEqual(await readdir(join(dataDir, 'blobs', 'tmp')), []);
});

/** A store that takes one piece and then waits, or fails. */
const storeThat = (then: (take: () => Promise<unknown>) => Promise<never>): BlobStore =>
  ({
    put: (source: AsyncIterable<Uint8Array>) => {
      const iterator = source[Symbol.asyncIterator]();
      return then(() => iterator.next());
    },
  }) as unknown as BlobStore;

test('a slow store slows the writer: no more than a few chunks are ever held', async (t) => {
  const { keys } = await testState(t);
  const vault = new SealingVault(
    storeThat(async (take) => {
      await take();
      await take();
      return new Promise<never>(() => undefined);
    }),
    keys,
    TEE_KEY,
  );
  const writer = vault.createObject();
  let written = 0;
  void (async () => {
    for (;;) {
      await writer.write(new Uint8Array(65536));
      written++;
    }
  })();
  await sleep(30);
  assert.ok(written >= 1 && written <= 3, `${written} chunks`);
});

test('a store that fails reaches the writer and the end; nothing hangs', async (t) => {
  const { keys, vault: real } = await testState(t);
  const failing = storeThat(async (take) => {
    await take();
    throw Object.assign(new Error('disk full'), { code: 'STORE_UNAVAILABLE' });
  });
  const vault = new SealingVault(failing, keys, TEE_KEY);
  const writing = vault.createObject();
  await assert.rejects(
    async () => {
      for (;;) await writing.write(new Uint8Array(65536));
    },
    { code: 'STORE_UNAVAILABLE' },
  );
  await writing.abort();
  await assert.rejects(vault.createObject().finish(real.patientRef('t', '', 'id')), { code: 'STORE_UNAVAILABLE' });
});
