/** C2SP tlog-cosignature: Ed25519 (0x04) and ML-DSA-44 (0x06), signed by Node's OpenSSL, verified by @noble. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createNoteSigner } from '@abaton/client';
import {
  ED25519_COSIGNATURE_TYPE,
  ED25519_TYPE,
  encodeSignature,
  formatCheckpoint,
  formatSignatureLine,
  formatVkey,
  ML_DSA_44_TYPE,
  parseOfficerVkey,
  parseVkey,
  signedMessage,
  verifyCheckpoint,
  verifyNote,
} from '../src/index.ts';

const ORIGIN = 'log.example/audit/2026';
const SEED = new Uint8Array(32).fill(5);
const TEXT = formatCheckpoint(ORIGIN, 20_852_163, new Uint8Array(32).fill(9));
const TIME_S = 1_679_315_147;
const COSIGNERS = [ED25519_COSIGNATURE_TYPE, ML_DSA_44_TYPE];
const signerOf = (type: number, name = 'witness.example/w1') => createNoteSigner({ name, type, seed: SEED });
const noteOf = (text: string, ...lines: string[]) => `${text}\n${lines.join('')}`;

test('the messages are those of the specification, byte for byte', () => {
  const name = 'w1';
  assert.equal(
    Buffer.from(signedMessage({ name, type: ED25519_COSIGNATURE_TYPE }, TEXT, TIME_S)).toString(),
    `cosignature/v1\ntime 1679315147\n${TEXT}`,
  );
  const hex = (text: string) => Buffer.from(text).toString('hex');
  assert.equal(
    Buffer.from(signedMessage({ name, type: ML_DSA_44_TYPE }, TEXT, TIME_S)).toString('hex'),
    `${hex('subtree/v1\n\0')}02${hex('w1')}00000000641850cb16${hex(ORIGIN)}${'00'.repeat(8)}00000000013e2dc3${'09'.repeat(32)}`,
  );
});

test('a cosignature verifies under its key, and says when it was made', () => {
  for (const type of COSIGNERS) {
    const { vkey, sign } = signerOf(type);
    const { signedBy, timesS, size } = verifyCheckpoint(noteOf(TEXT, sign(TEXT, TIME_S)), [vkey], ORIGIN);
    assert.equal(size, 20_852_163);
    assert.deepEqual([signedBy[0]!.type, timesS.get(signedBy[0]!)], [type, TIME_S]);
    // a log signs in the same form and says nothing about time
    const own = signerOf(type, ORIGIN);
    assert.equal(verifyCheckpoint(noteOf(TEXT, own.sign(TEXT)), [own.vkey]).timesS.size, 0);
  }
});

test('another time, tree, name, log or key, and any flipped byte, are refused', () => {
  for (const type of COSIGNERS) {
    const { vkey, sign } = signerOf(type);
    const key = parseVkey(vkey);
    const line = sign(TEXT, TIME_S);
    const encoded = Buffer.from(line.split(' ')[2]!, 'base64').subarray(4);
    const refused = (text: string, signature: Uint8Array) =>
      assert.throws(() => verifyNote(noteOf(text, formatSignatureLine(key, signature)), [key]), {
        code: 'CHECKPOINT_SIGNATURE_INVALID',
      });
    for (let at = 0; at < encoded.length; at += type === ML_DSA_44_TYPE ? 41 : 1)
      refused(TEXT, encoded.with(at, encoded[at]! ^ 1));
    refused(formatCheckpoint(ORIGIN, 20_852_164, new Uint8Array(32).fill(9)), encoded);
    refused(formatCheckpoint(ORIGIN, 20_852_163, new Uint8Array(32).fill(8)), encoded);
    refused(formatCheckpoint('other.example/audit', 20_852_163, new Uint8Array(32).fill(9)), encoded);
    for (const short of [encoded.subarray(1), encoded.subarray(0, 8), encoded.subarray(0, 1)]) refused(TEXT, short);
    refused(TEXT, encodeSignature(type, encoded.subarray(8), TIME_S + 1));
  }
  // ML-DSA commits to the name of the cosigner
  const other = parseVkey(signerOf(ML_DSA_44_TYPE, 'witness.example/w2').vkey);
  const moved = Buffer.from(signerOf(ML_DSA_44_TYPE).sign(TEXT, TIME_S).split(' ')[2]!, 'base64').subarray(4);
  assert.throws(() => verifyNote(noteOf(TEXT, formatSignatureLine(other, moved)), [other]), {
    code: 'CHECKPOINT_SIGNATURE_INVALID',
  });
});

test('nobody can cosign what is no checkpoint, and no officer signs with such a key', () => {
  for (const type of COSIGNERS) {
    const { vkey, sign } = signerOf(type);
    assert.throws(() => sign('{"codeHashes":[]}\n', TIME_S), { code: 'CHECKPOINT_MALFORMED' });
    assert.throws(() => parseOfficerVkey(vkey), { code: 'VKEY_INVALID' });
  }
  assert.equal(parseOfficerVkey(signerOf(ED25519_TYPE).vkey).type, ED25519_TYPE);
});

test('keys of another length or type are none', () => {
  for (const [type, bytes] of [
    [ML_DSA_44_TYPE, 1311],
    [ML_DSA_44_TYPE, 32],
    [ED25519_COSIGNATURE_TYPE, 31],
    [0x02, 32],
    [0x05, 32],
  ] as const)
    assert.throws(() => parseVkey(formatVkey('name', type, new Uint8Array(bytes).fill(1))), { code: 'VKEY_INVALID' });
});
