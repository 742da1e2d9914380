/**
 * Not one byte of a share, and not even a question, for a server that the officers' policy does not admit (threat model, rows 4–7): the
 * server notes every request that it decrypts, and what stands between is recorded. An admitted server gets the share.
 */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { after, afterEach, before, beforeEach, type TestContext, test } from 'node:test';
import type { VerifyOptions } from '@abaton/client';
import { parsePolicy } from '@abaton/verify';
import { startRecorder } from '../harness.ts';
import { type CustomerServer, startCustomerServer } from './customer-server.ts';
import { type RunningKeyholder, run, waitFor } from './running.ts';
import { makePlace, optionsOf, type Place, SUBJECT } from './support.ts';

let server: CustomerServer;
let place: Place;
before(async () => {
  server = await startCustomerServer();
});
beforeEach(async () => {
  place = await makePlace();
  Object.assign(server, { told: [], questions: 0, requests: [], vkey: place.vkey });
  server.wishes = { subject: SUBJECT, wanted: 1, retired: [] };
});
afterEach(() => place.remove());
after(() => server.close());

async function start(t: TestContext, trust: Partial<VerifyOptions> = {}): Promise<RunningKeyholder> {
  const keyholder = await run(optionsOf(place), { ...server.trust(), ...trust });
  t.after(() => keyholder.stop());
  return keyholder;
}

test('the admitted server gets it', async (t) => {
  await start(t);
  await waitFor('epoch 1', () => server.told.length === 1);
  assert.ok(server.requests.includes('POST /api/v1/keyholder/share'));
});

async function assertNothing(keyholder: RunningKeyholder, codes: string[]): Promise<void> {
  await waitFor('refused twice', () => keyholder.events('verification-refused').length >= 2);
  assert.deepEqual(keyholder.events('verification-refused')[0]!.codes, codes);
  assert.deepEqual([...new Set(server.requests)], ['GET /attestation']);
  assert.deepEqual(server.told, []);
  assert.deepEqual(
    readdirSync(place.dir).filter((name) => name.startsWith('epoch')),
    [],
    'nor was one made',
  );
}

for (const [fault, code] of [
  ['wrong-compose', 'CODE_HASH_MISMATCH'],
  ['unlisted-rtmr2', 'OS_MEASUREMENT_UNLISTED'],
  ['expired-collateral', 'COLLATERAL_EXPIRED'],
  ['pck-revoked', 'CERTIFICATE_REVOKED'],
] as const)
  test(`${fault}: ${code}`, async (t) => {
    const { attested } = server;
    await attested.tee.setFault(fault);
    attested.forgetCollateral();
    t.after(async () => {
      await attested.tee.setFault(null);
      attested.forgetCollateral();
    });
    await assertNothing(await start(t), [code]);
  });

for (const [member, other, code] of [
  ['codeHashes', `sha256:${'5a'.repeat(32)}`, 'CODE_HASH_MISMATCH'],
  ['manifestSha256', '5a'.repeat(32), 'MANIFEST_MISMATCH'],
] as const)
  test(`a policy of other ${member}: ${code}`, async (t) => {
    const policy = parsePolicy({ ...server.attested.tee.policy, [member]: [other] });
    await assertNothing(await start(t, { policy }), [code]);
  });

test('a software TEE whose root nobody has accepted', async (t) => {
  await assertNothing(await start(t, { acceptedRootsSha256: [] }), ['ROOT_UNTRUSTED']);
});

for (const stolen of [false, true])
  test(`a relay: genuine evidence, handed on under ${stolen ? 'the stolen key of the server' : 'another key'}`, async (t) => {
    const { agent, key } = server.attested;
    const { keyPem, chainPem } = stolen
      ? key
      : await agent.getTlsKey({ subject: 'localhost', altNames: ['localhost'] });
    const recorder = await startRecorder(
      { key: keyPem, cert: chainPem.join('\n'), minVersion: 'TLSv1.3' },
      server.port,
    );
    t.after(() => recorder.close());
    await assertNothing(await start(t, { url: recorder.url }), ['CHANNEL_MISMATCH']);
    const read = Buffer.concat(recorder.plaintext);
    assert.ok(
      read.includes('PRI * HTTP/2.0') && !read.includes('abaton key share'),
      'it can read, and there is nothing',
    );
  });

test('a server that was admitted and no longer is, when it wants the share: withheld', async (t) => {
  server.wishes.wanted = null;
  const keyholder = await start(t);
  await waitFor('a question', () => server.questions > 0);
  await server.attested.tee.setFault('wrong-compose');
  t.after(() => server.attested.tee.setFault(null));
  server.wishes.wanted = 1;
  await waitFor('withheld', () => keyholder.events('share-withheld').length > 0);
  const [{ level, codes }] = keyholder.events('share-withheld') as [Record<string, unknown>];
  assert.deepEqual([level, codes], ['error', ['CODE_HASH_MISMATCH']]);
  assert.deepEqual(server.told, []);
  assert.ok(!server.requests.includes('POST /api/v1/keyholder/share'));
});
