/**
 * The published examples: key configuration of RFC 9458 appendix A, request and response in chunks of
 * draft-ietf-ohai-chunked-ohttp-08 appendix A. Those use AES-128-GCM, which no key of ours offers.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DhkemX25519HkdfSha256 } from '@hpke/core';
import { readRequest, readResponse } from '../../src/sealed/binary-http.ts';
import { openChunks, sealChunks } from '../../src/sealed/chunks.ts';
import {
  AEAD_AES_128_GCM,
  AEAD_AES_256_GCM,
  DHKEM_X25519,
  HEADER_BYTES,
  HKDF_SHA256,
  parseHeader,
  setupRecipient,
  setupSender,
  X_WING,
} from '../../src/sealed/hpke-context.ts';
import { chooseKeyConfig, formatKeyConfigs, type KeyConfig, parseKeyConfigs } from '../../src/sealed/key-config.ts';
import { generateRecipientKey } from '../../src/sealed/ohttp-gateway.ts';
import { StreamReader } from '../../src/sealed/stream-reader.ts';
import { bytesOf, pieces } from './support.ts';

const hex = (text: string) => Buffer.from(text.replaceAll(/\s/g, ''), 'hex');
/** With its length, as in application/ohttp-keys (RFC 9458 section 3.2). */
const listed = (config: string) => Buffer.concat([Buffer.of(0, hex(config).length), hex(config)]);

const rfc9458 = '01002031e1f05a740102115220e9af918f738674aec95f54db6e04eb705aae8e79815500080001000100010003';
const draft = {
  skR: '1c190d72acdbe4dbc69e680503bb781a932c70a12c8f3754434c67d8640d8698',
  config: '010020668eb21aace159803974a4c67f08b4152d29bed10735fd08f98ccdd6fe09570800080001000100010003',
  skE: 'b26d565f3f875ed480d1abced3d665159650c99174fd0b124ac4bda0c64ae324',
  enc: '8811eb457e100811c40a0aa71340a1b81d804bb986f736f2f566a7199761a032',
  request: '00034745540568747470730b6578616d706c652e636f6d012f',
  sealedRequest: `01002000010001
    8811eb457e100811c40a0aa71340a1b81d804bb986f736f2f566a7199761a032
    1c2ad24942d4d692563012f2980c8fef437a336b9b2fc938ef77a5834f
    1d2e33d8fd25577afe31bd1c79d094f76b6250ae6549b473ecd950501311
    001c6c1395d0ef7c1022297966307b8a7f`,
  response: '0140c8',
  nonce: 'bcce7f4cb921309ba5d62edf1769ef09',
  sealedResponse: `bcce7f4cb921309ba5d62edf1769ef09
    1179bf1cc87fa0e2c02de4546945aa3d1e48
    12b348b5bd4c594c16b6170b07b475845d1f32
    00ed9d8a796617a5b27265f4d73247f639`,
};

async function pairOf(secret: string, publicKey: Uint8Array): Promise<CryptoKeyPair> {
  const kem = new DhkemX25519HkdfSha256();
  return {
    privateKey: await kem.deserializePrivateKey(hex(secret)),
    publicKey: await kem.deserializePublicKey(publicKey),
  };
}
const config = parseKeyConfigs(listed(draft.config))[0]!;
const ephemeral = await pairOf(draft.skE, hex(draft.enc));

test('RFC 9458 appendix A: a key configuration', () => {
  const [read] = parseKeyConfigs(listed(rfc9458));
  assert.deepEqual(
    { ...read, publicKey: Buffer.from(read!.publicKey).toString('hex') },
    {
      ...{ keyId: 1, kemId: DHKEM_X25519 },
      publicKey: '31e1f05a740102115220e9af918f738674aec95f54db6e04eb705aae8e798155',
      symmetric: [
        { kdfId: 1, aeadId: 1 },
        { kdfId: 1, aeadId: 3 },
      ],
    },
  );
  assert.deepEqual(Buffer.from(formatKeyConfigs([read!])), listed(rfc9458));
  assert.equal(chooseKeyConfig([read!]), null, 'it offers nothing that we would use');
});

test('draft 08 appendix A: the sender makes exactly these bytes', async () => {
  const { start, request, response } = await setupSender(config, AEAD_AES_128_GCM, ephemeral);
  const plain = hex(draft.request);
  const sealed = await bytesOf(sealChunks(pieces(plain.subarray(0, 12), plain.subarray(12)), request, true));
  assert.deepEqual(Buffer.concat([start, sealed]), hex(draft.sealedRequest));

  const reader = new StreamReader(pieces(hex(draft.sealedResponse)));
  const { open } = await response(await reader.exactly(16));
  assert.equal((await readResponse(openChunks(reader, open))).status, 200);
});

test('draft 08 appendix A: the recipient opens them, and answers with exactly these', async () => {
  const reader = new StreamReader(pieces(hex(draft.sealedRequest)));
  const header = parseHeader(await reader.exactly(HEADER_BYTES));
  assert.deepEqual(header, { keyId: 1, kemId: DHKEM_X25519, kdfId: HKDF_SHA256, aeadId: AEAD_AES_128_GCM });
  const enc = await reader.exactly(32);
  assert.deepEqual(Buffer.from(enc), hex(draft.enc));
  const context = await setupRecipient(
    { ...header, kemId: DHKEM_X25519, aeadId: AEAD_AES_128_GCM },
    await pairOf(draft.skR, config.publicKey),
    enc,
  );
  const { method, authority, path } = await readRequest(openChunks(reader, context.request));
  assert.deepEqual([method, authority, path], ['GET', 'example.com', '/']);

  assert.equal(context.nonceBytes, 16);
  const { seal } = await context.response(hex(draft.nonce));
  const plain = hex(draft.response);
  const sealed = await bytesOf(sealChunks(pieces(plain.subarray(0, 1), plain.subarray(1)), seal, true));
  assert.deepEqual(Buffer.concat([hex(draft.nonce), sealed]), hex(draft.sealedResponse));
});

test('the list: X-Wing first, unknown KEMs are passed over, and it fits the evidence', async () => {
  const ours = await Promise.all(([X_WING, DHKEM_X25519] as const).map((kemId) => generateRecipientKey(7, kemId)));
  const list = formatKeyConfigs(ours.map(({ config }) => config));
  assert.equal(list.length, 2 + 1225 + 2 + 41);
  assert.ok(Buffer.from(list).toString('base64').length <= 4096);
  const p256 = Buffer.concat([Buffer.of(0, 74, 9, 0, 0x10), Buffer.alloc(65, 4), Buffer.of(0, 4, 0, 1, 0, 2)]);
  const read = parseKeyConfigs(Buffer.concat([p256, list]));
  assert.deepEqual(
    read.map(({ keyId, kemId }) => [keyId, kemId]),
    [
      [7, X_WING],
      [7, DHKEM_X25519],
    ],
  );
  assert.equal(chooseKeyConfig(read)?.kemId, X_WING);
  const weak: KeyConfig = { ...read[0]!, symmetric: [{ kdfId: HKDF_SHA256, aeadId: AEAD_AES_128_GCM }] };
  assert.equal(chooseKeyConfig([weak, read[1]!])?.kemId, DHKEM_X25519);
  assert.equal(chooseKeyConfig(parseKeyConfigs(p256)), null);
});

test('a list that is cut off or does not have its lengths is refused', async () => {
  const list = listed(draft.config);
  for (let length = 1; length < list.length; length++)
    assert.throws(() => parseKeyConfigs(list.subarray(0, length)), { code: 'SEALED_INVALID' }, String(length));
  for (const wrong of [`${draft.config}00`, draft.config.replace('0008', '0006'), `${draft.config.slice(0, 74)}0000`])
    assert.throws(() => parseKeyConfigs(listed(wrong)), { code: 'SEALED_INVALID' });
  const bad = { ...config, publicKey: Buffer.alloc(32) }; // a point of small order (RFC 7748 section 6.1)
  await assert.rejects(setupSender(bad, AEAD_AES_256_GCM), { code: 'SEALED_INVALID' });
});
