/**
 * Key derivation and signature chain against the vectors that dstack shares between its SDKs
 * (Dstack-TEE/dstack sdk/tests/vectors/signature_chain.json; root scalar and app id stand in
 * guest-agent/tests/signature_chain_vectors.rs).
 */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { createKms } from '../src/kms.ts';
import { call, start } from './harness.ts';

const kms = createKms(
  Buffer.from('KMS-root-test-key-do-not-use!!!\x01', 'latin1'),
  Buffer.from('a9019d1b2c3d4e5f60718293a4b5c6d7e8f90a1b', 'hex'),
);
const ROOT = '0318f228673448772dd4835a82149a9d475db8095234469a8fcc85cfa18b85abbc';
const APP_SIGNATURE =
  '00ac321fbbe6817c5de0720644e936b20046ff1c9226e0558a9c86856e8a1dd06bb7a7efae1cf3ec522553c28627ea96c139d5dc9cdd5a1898c2406c074438d800';
const DATA = Buffer.from('dstack signature chain test vector');
const PREHASHED = Buffer.from('18779657704cffe138dcca907960ddc7c4586078c0a7a60b689de8ec0e9f558b', 'hex');
const SECP256K1 = {
  publicKey: '03f6e0f232f5eb6f4b118960a80c3939ea947b6dc727215aba43451910f2741bb8',
  signature:
    '4753cea786fe882ec17a1f75199d15f43e864286ddf1d599a901e503db787dc25c825c8a7a259a7c256fdbf75e74bd73282737f03fc449f9e627c8b540a161f4',
  keySignature:
    '77ae5ea476f00df11938fd1df3a65a4fbd9f92b64c816b9f29ee79a1e4ae74ed43269a36376b4ed838460ef3b56ba553cefa6e63def4a4487386f783f14295a001',
};
const CASES = [
  { algorithm: 'secp256k1', data: DATA, ...SECP256K1 },
  { algorithm: 'secp256k1_prehashed', data: PREHASHED, ...SECP256K1 },
  {
    algorithm: 'ed25519',
    data: DATA,
    publicKey: 'f2c761dfee96542500c1ca5460bb0e327b4acb67d882f5846e21baa8d55d2f5b',
    signature:
      'b29c21a4aa614b434542e938abe9e48c46369c4d37ecfcdbaae02251c73eff5f1912ada04309445575204a110a6fc74dd73734240a7c6e2bffbb5c9e1bd0b408',
    keySignature:
      '181498cdcebe6cae41fe1474b3d8af53c7969a2fb20f9f20a5cdcc9d92f5596d500cf9605996ec2e55406666fee630d5882e5e97c2417e079c6f074ca6c7c57301',
  },
] as const;

suite('dstack signature chain', () => {
  for (const { algorithm, data, publicKey, signature, keySignature } of CASES)
    test(algorithm, () => {
      assert.equal(kms.rootPublicKey.toString('hex'), ROOT);
      const signed = kms.sign(algorithm, data);
      assert.equal(signed.publicKey.toString('hex'), publicKey);
      assert.deepEqual(
        signed.signatureChain.map((link) => link.toString('hex')),
        [signature, keySignature, APP_SIGNATURE],
      );
      assert.ok(kms.verify(algorithm, data, signed.signature, signed.publicKey));
      const other = Buffer.from(data);
      other[0]! ^= 1;
      assert.ok(!kms.verify(algorithm, other, signed.signature, signed.publicKey));
    });

  test('a high-S signature is refused', () => {
    const highS = `${SECP256K1.signature.slice(0, 64)}a37da37585da6583da902408a18b428b9287a4f66f845641d9aa95d78f94df4d`;
    const publicKey = Buffer.from(SECP256K1.publicKey, 'hex');
    assert.ok(!kms.verify('secp256k1', DATA, Buffer.from(highS, 'hex'), publicKey));
  });

  test('over the socket: Sign, Verify, and GetKey whose bytes neither purpose nor algorithm changes', async (t) => {
    const tee = await start(t);
    for (const algorithm of ['secp256k1', 'k256', 'ed25519']) {
      const signed = await call<Record<string, string>>(tee, 'Sign', { algorithm, data: 'abcd' });
      const question = { algorithm, data: 'abcd', signature: signed.signature, public_key: signed.public_key };
      assert.deepEqual(await call(tee, 'Verify', question), { valid: true });
      assert.deepEqual(await call(tee, 'Verify', { ...question, data: 'abce' }), { valid: false });
    }
    const key = async (args: object) => (await call(tee, 'GetKey', args)).key;
    const plain = await key({ path: 'v1/vault' });
    assert.equal(await key({ path: 'v1/vault', purpose: 'sealing' }), plain);
    assert.equal(await key({ path: 'v1/vault', algorithm: 'ed25519' }), plain);
    assert.notEqual(await key({ path: 'v2/vault' }), plain);
  });
});
