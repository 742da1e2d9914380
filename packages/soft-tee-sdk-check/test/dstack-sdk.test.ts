/** The real `@phala/dstack-sdk` 0.5.8 against the software TEE, over its unix socket. */
import assert from 'node:assert/strict';
import { createHash, X509Certificate } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, type TestContext, test } from 'node:test';
import { startSoftTee } from '@abaton/soft-tee';
import { ed25519 } from '@noble/curves/ed25519';
import { secp256k1 } from '@noble/curves/secp256k1';
import { keccak_256 } from '@noble/hashes/sha3';
import { DstackClient, getComposeHash } from '@phala/dstack-sdk';

/** As the SDK normalises it, so that its own hash is the code hash. */
const COMPOSE = JSON.stringify({
  docker_compose_file: 'services: {}',
  manifest_version: 2,
  name: 'abaton',
  runner: 'docker-compose',
});

async function connect(t: TestContext) {
  const dir = await mkdtemp(join(tmpdir(), 'soft-tee-sdk-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const tee = await startSoftTee({ state: join(dir, 'state'), socket: join(dir, 'a.sock'), compose: COMPOSE });
  t.after(() => tee.close());
  return { tee, client: new DstackClient(tee.socket) };
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

/** The signer of `message`, compressed. */
const recover = (signature: Uint8Array, ...message: (string | Uint8Array)[]): string =>
  secp256k1.Signature.fromCompact(signature.slice(0, 64))
    .addRecoveryBit(signature[64]!)
    .recoverPublicKey(keccak_256(Buffer.concat(message.map((part) => Buffer.from(part)))))
    .toHex(true);

suite('@phala/dstack-sdk 0.5.8', { timeout: 60_000 }, () => {
  test('info and version', async (t) => {
    const { tee, client } = await connect(t);
    assert.ok(await client.isReachable());
    assert.match((await client.version()).version, /simulated/);
    const info = await client.info();
    assert.equal(info.tcb_info.app_compose, COMPOSE);
    assert.equal(`sha256:${info.compose_hash}`, tee.codeHash);
    assert.equal(getComposeHash(JSON.parse(COMPOSE)), info.compose_hash);
    assert.equal(JSON.parse(info.key_provider_info).name, 'simulated');
    assert.ok(new X509Certificate(info.app_cert));
  });

  test('getKey: the signature chain ends at the KMS root that the key provider names', async (t) => {
    const { client } = await connect(t);
    const info = await client.info();
    for (const algorithm of ['secp256k1', 'ed25519']) {
      const { key, signature_chain: chain } = await client.getKey('v1/vault', 'sealing', algorithm);
      assert.equal(key.length, 32);
      const publicKey = hex(algorithm === 'ed25519' ? ed25519.getPublicKey(key) : secp256k1.getPublicKey(key, true));
      const appKey = recover(chain[0]!, `sealing:${publicKey}`);
      const root = recover(
        chain[1]!,
        'dstack-kms-issued:',
        Buffer.from(info.app_id, 'hex'),
        Buffer.from(appKey, 'hex'),
      );
      assert.equal(root, JSON.parse(info.key_provider_info).id);
    }
  });

  test('getQuote: the registers replay', async (t) => {
    const { client } = await connect(t);
    const quote = await client.getQuote(Buffer.alloc(32, 7));
    const { tcb_info: tcb } = await client.info();
    assert.deepEqual(quote.replayRtmrs(), [tcb.rtmr0, tcb.rtmr1, tcb.rtmr2, tcb.rtmr3]);
    // version 4: report data at 48 + 520
    assert.equal(quote.quote.slice(2 * 568, 2 * 632), hex(Buffer.alloc(32, 7)).padEnd(128, '0'));
    await assert.rejects(client.getQuote(Buffer.alloc(65)), /too large/);
  });

  test('attest, sign and verify', async (t) => {
    const { client } = await connect(t);
    assert.match((await client.attest('x')).attestation, /^0000/);
    for (const algorithm of ['ed25519', 'secp256k1', 'secp256k1_prehashed']) {
      const data = createHash('sha256').update('x').digest();
      const { signature, public_key: publicKey } = await client.sign(algorithm, data);
      assert.ok((await client.verify(algorithm, data, signature, publicKey)).valid);
      assert.ok(!(await client.verify(algorithm, Buffer.alloc(32), signature, publicKey)).valid);
    }
  });

  test('getTlsKey with all its options', async (t) => {
    const { client } = await connect(t);
    const notAfter = Math.floor(Date.now() / 1000) + 3600;
    const options = { subject: 'localhost', altNames: ['localhost'], usageRaTls: true, usageClientAuth: true };
    const answer = await client.getTlsKey({ ...options, notAfter });
    const [leaf, ca] = answer.certificate_chain.map((pem) => new X509Certificate(pem));
    assert.ok(leaf!.verify(ca!.publicKey));
    assert.equal(Date.parse(leaf!.validTo), notAfter * 1000);
    assert.ok(answer.asUint8Array(32).length === 32);
  });

  test('emitEvent has gone, as in dstack 0.6: the SDK does not notice, the registers do not move', async (t) => {
    const { client } = await connect(t);
    const before = (await client.info()).tcb_info.rtmr3;
    await client.emitEvent('x', 'y');
    assert.equal((await client.info()).tcb_info.rtmr3, before);
  });
});
