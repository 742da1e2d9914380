/** Where WebCrypto differs between engines, or answers "no" for "wrong form": nothing of it reaches a verdict. */
import assert from 'node:assert/strict';
import { type createPublicKey, generateKeyPairSync, sign } from 'node:crypto';
import { globSync, readFileSync } from 'node:fs';
import { after, before, type TestContext, test } from 'node:test';
import { ED25519_TORSION_SUBGROUP, ed25519 } from '@noble/curves/ed25519.js';
import { p256, p384 } from '@noble/curves/nist.js';
import fc from 'fast-check';
import { bytesToHex, concatBytes, hexToBytes, utf8ToBytes } from '../../packages/verify/src/formats/bytes.ts';
import { ED25519_TYPE, formatSignatureLine, formatVkey, type Vkey } from '../../packages/verify/src/index.ts';
import type { PublicKey } from '../../packages/verify/src/pki/signature.ts';
import { keyId } from '../../packages/verify/src/tlog/note.ts';
import {
  bits,
  context,
  integer,
  oid,
  sequence,
  TRUE,
  tlv,
  utcTime,
  utf8,
} from '../../packages/verify/test/support/der-writer.ts';
import { runs } from '../../packages/verify/test/support/property.ts';
import * as data from '../../packages/verify/test/support/shared-data.ts';
import { extension, NOW_MS, toPem } from '../../packages/verify/test/support/simulated-platform.ts';
import { type Browser, callInBoth, callInNode, skip, startBrowser } from './browser.ts';
import type { Input, Name } from './functions.ts';

let browser: Browser;
before(async () => {
  if (!skip) browser = await startBrowser();
});
after(() => browser?.close());

const both = <N extends Name>(name: N, input: Input<N>) => callInBoth(browser, name, input);
const accepted = async <N extends Name>(name: N, input: Input<N>) => {
  const outcome = await both(name, input);
  assert.ok('value' in outcome, `${name}: ${JSON.stringify(outcome)}`);
  return outcome.value;
};
const refused = async <N extends Name>(name: N, input: Input<N>, code: RegExp) => {
  const outcome = await both(name, input);
  assert.ok('refused' in outcome && code.test(outcome.refused), `${name}: ${JSON.stringify(outcome)}`);
};

const bytes = (buffer: Uint8Array) => Uint8Array.from(buffer);
const message = bytes(Buffer.from('what is signed'));
const spkiOf = (key: ReturnType<typeof createPublicKey>) => bytes(key.export({ format: 'der', type: 'spki' }));

test('the engines are two, and a difference or a bug in either does not pass unseen', { skip }, async () => {
  assert.deepEqual(await callInNode('describeEngine', null), {
    value: { browser: false, secureContext: null, fromBase64: 'fromBase64' in Uint8Array },
  });
  assert.deepEqual(await browser.call('describeEngine', null), {
    value: { browser: true, secureContext: true, fromBase64: true },
  });
  await assert.rejects(both('describeEngine', null), /Chromium and Node differ/);
  await assert.rejects(browser.call('readTime', null as never), /readTime in Chromium: TypeError/);
});

for (const [algorithm, hash, curve] of [
  ['P-256', 'SHA-256', p256],
  ['P-384', 'SHA-384', p384],
] as const) {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: algorithm });
  const signAs = (dsaEncoding: 'der' | 'ieee-p1363') => bytes(sign(hash, message, { key: privateKey, dsaEncoding }));
  const spki = spkiOf(publicKey);
  const size = curve.Point.Fn.BYTES;
  const point = spki.subarray(-(1 + 2 * size));
  const key: PublicKey = { algorithm, bytes: point };
  const importAs = { name: 'ECDSA', namedCurve: algorithm };
  const ask = (format: 'raw' | 'spki', key: Uint8Array<ArrayBuffer>, signature: Uint8Array<ArrayBuffer>) =>
    accepted('askWebCrypto', { format, key, signature, message, importAs, verifyAs: { name: 'ECDSA', hash } });

  test(`${algorithm}: a DER signature is "wrong" for WebCrypto, and is converted here`, { skip }, async () => {
    const der = signAs('der');
    assert.equal(await ask('spki', spki, signAs('ieee-p1363')), true);
    assert.equal(await ask('spki', spki, der), false);
    assert.equal(await accepted('verifyWithKey', { key, message, signature: der }), false);
    assert.equal(await accepted('verifyEncoded', { spki, message, signature: der }), true);
    const raw = await accepted('readSignature', { algorithm, bits: der });
    assert.equal(await accepted('verifyWithKey', { key, message, signature: raw }), true);
    await refused('verifyEncoded', { spki, message, signature: signAs('ieee-p1363') }, /^malformed: DER/);
  });

  test(`${algorithm}: r and s out of range, of another length, or in another encoding`, { skip }, async () => {
    const { ORDER } = curve.Point.Fn;
    const raw = signAs('ieee-p1363');
    const [r, s] = [raw.subarray(0, size), raw.subarray(size)];
    const number = (value: bigint) => hexToBytes(value.toString(16).padStart(2 * size, '0'));
    const [zero, order] = [number(0n), number(ORDER)];
    const maximum = new Uint8Array(size).fill(0xff);
    const wrong = [
      ...[zero, order, maximum].flatMap((odd) => [concatBytes(odd, s), concatBytes(r, odd), concatBytes(odd, odd)]),
      ...[raw.subarray(1), raw.subarray(0, -1), concatBytes(raw, zero), concatBytes(zero, raw), new Uint8Array()],
    ];
    for (const signature of wrong) assert.equal(await accepted('verifyWithKey', { key, message, signature }), false);
    // Both engines take n - s for s, as FIPS 186-5 does: so nothing may depend on the bytes of a signature.
    const mirrored = concatBytes(r, number(ORDER - BigInt(`0x${bytesToHex(s)}`)));
    assert.equal(await accepted('verifyWithKey', { key, message, signature: mirrored }), true);

    const encoded = (...values: Uint8Array[]) => bytes(sequence(...values.map((value) => integer(value))));
    for (const signature of [encoded(zero, s), encoded(r, zero), encoded(order, s), encoded(r, order)])
      assert.equal(await accepted('verifyEncoded', { spki, message, signature }), false);
    const malformed = [
      encoded(concatBytes(Uint8Array.of(1), r), s), // beyond the size of the order
      encoded(r),
      encoded(r, s, zero),
      sequence(tlv(0x02, Buffer.from([0]), Buffer.from([1])), integer(s)), // not the shortest form
      sequence(tlv(0x02, Buffer.from([0x80])), integer(s)), // negative
      sequence(tlv(0x02), integer(s)),
      Buffer.concat([encoded(r, s), Buffer.from([0])]),
    ];
    for (const signature of malformed)
      await refused('verifyEncoded', { spki, message, signature: bytes(signature) }, /^malformed/);
  });

  test(`${algorithm}: only an uncompressed point of the curve is a key`, { skip }, async (t) => {
    const signature = signAs('ieee-p1363');
    const x = point.subarray(1, 1 + size);
    const parity = point.at(-1)! & 1;
    const compressed = bytes(concatBytes(Uint8Array.of(2 + parity), x));
    const hybrid = bytes(concatBytes(Uint8Array.of(6 + parity), point.subarray(1)));
    t.diagnostic(`WebCrypto itself takes a compressed point: ${await ask('raw', compressed, signature)}`);
    const identifier = Buffer.from(spki).subarray(2, -(3 + point.length)); // 30 len | identifier | 03 len 00 | point
    const wrap = (encoded: Uint8Array) => bytes(sequence(identifier, bits(encoded)));
    assert.deepEqual(wrap(point), spki);
    for (const odd of [
      compressed,
      hybrid,
      Uint8Array.of(0),
      new Uint8Array(),
      point.subarray(1),
      point.subarray(0, -1),
    ])
      await refused('parsePublicKey', wrap(odd), /uncompressed/);
    const moved = bytes(point);
    moved[moved.length - 1]! ^= 1;
    const outOfField = concatBytes(point.subarray(0, 1 + size), new Uint8Array(size).fill(0xff));
    const origin = concatBytes(Uint8Array.of(4), new Uint8Array(2 * size));
    for (const off of [moved, outOfField, origin])
      assert.equal(await accepted('verifyEncoded', { spki: wrap(off), message, signature: signAs('der') }), false);
  });
}

/** All 14 encodings of the 8 points of small order: coordinate y, also as y + p where it fits, with either sign. */
function smallOrderEncodings(): Uint8Array[] {
  const p = ed25519.Point.Fp.ORDER;
  const ys = new Set(ED25519_TORSION_SUBGROUP.map((hex) => ed25519.Point.fromHex(hex).toAffine().y));
  const written = (y: bigint) => hexToBytes(y.toString(16).padStart(64, '0')).toReversed();
  const encodings = [...ys]
    .flatMap((y) => [y, y + p])
    .filter((y) => y < 2n ** 255n)
    .map(written);
  return encodings.flatMap((plain) => [plain, plain.with(31, plain[31]! | 0x80)]);
}

test('Ed25519: no signature under a key of small order opens a note', { skip }, async (t) => {
  const [name, body] = ['log.example/forged', 'log.example/forged\n1\nAAAA\n'];
  const keys = smallOrderEncodings();
  assert.equal(keys.length, 14);
  const vkeyOf = (publicKey: Uint8Array): Vkey => {
    return { name, type: ED25519_TYPE, publicKey, id: keyId(name, ED25519_TYPE, publicKey) };
  };
  const identity = bytes(keys.find((key) => key[0] === 1 && key[31] === 0)!);
  const forged = bytes(concatBytes(identity, new Uint8Array(32)));
  const question = { format: 'raw', key: identity, importAs: 'Ed25519', verifyAs: 'Ed25519' } as const;
  const asked = { ...question, signature: forged, message: bytes(utf8ToBytes(body)) };
  const answers = [await callInNode('askWebCrypto', asked), await browser.call('askWebCrypto', asked)];
  t.diagnostic(`WebCrypto itself on key = R = identity, S = 0 (Node, Chromium): ${JSON.stringify(answers)}`);
  for (const publicKey of keys) {
    await refused('parseVkey', formatVkey(name, ED25519_TYPE, publicKey), /^VKEY_INVALID$/);
    const vkey = vkeyOf(publicKey);
    for (const r of keys) {
      const note = `${body}\n${formatSignatureLine(vkey, concatBytes(r, new Uint8Array(32)))}`;
      await refused('openNote', { note, vkeys: [vkey] }, /^CHECKPOINT_SIGNATURE_INVALID$/);
    }
  }
  // A real key and signature, and their twin S + L, which RFC 8032 section 5.1.7 refuses.
  const seed = new Uint8Array(32).fill(7);
  const vkey = vkeyOf(ed25519.getPublicKey(seed));
  const signature = ed25519.sign(utf8ToBytes(body), seed);
  const open = (signature: Uint8Array) => ({ note: `${body}\n${formatSignatureLine(vkey, signature)}`, vkeys: [vkey] });
  assert.equal(await accepted('openNote', open(signature)), body);
  const s = BigInt(`0x${bytesToHex(signature.slice(32).toReversed())}`) + ed25519.Point.Fn.ORDER;
  const twin = concatBytes(signature.subarray(0, 32), hexToBytes(s.toString(16).padStart(64, '0')).toReversed());
  await refused('openNote', open(twin), /^CHECKPOINT_SIGNATURE_INVALID$/);
});

test('RSA: a key with OID id-RSASSA-PSS, which WebCrypto does not import, is used by its numbers', {
  skip,
}, async () => {
  const { publicKey, privateKey } = generateKeyPairSync('rsa-pss', {
    ...{ modulusLength: 3072, hashAlgorithm: 'sha384', mgf1HashAlgorithm: 'sha384' },
  });
  const signature = bytes(sign('sha384', message, { key: privateKey, saltLength: 48 }));
  const own = spkiOf(publicKey);
  const numbers = own.subarray(-(9 + 384 + 5)); // RSAPublicKey: 30 82 l l, 02 82 l l 00 and the modulus, 02 03 01 00 01
  const pss = oid('1.2.840.113549.1.1.10');
  const written = {
    own,
    'without parameters': bytes(sequence(sequence(pss), bits(numbers))),
    rsaEncryption: bytes(sequence(sequence(oid('1.2.840.113549.1.1.1'), Buffer.from([5, 0])), bits(numbers))),
  };
  const verifyAs = { name: 'RSA-PSS', saltLength: 48 };
  const importAs = { name: 'RSA-PSS', hash: 'SHA-384' };
  const ask = { format: 'spki', signature, message, importAs, verifyAs } as const;
  assert.equal(await accepted('askWebCrypto', { ...ask, key: written.own }), 'DataError');
  assert.equal(await accepted('askWebCrypto', { ...ask, key: written.rsaEncryption }), true);
  for (const [form, spki] of Object.entries(written)) {
    assert.equal(await accepted('verifyEncoded', { spki, signature, message }), true, form);
    assert.equal(await accepted('verifyEncoded', { spki, signature, message: message.subarray(1) }), false, form);
  }
  for (const twin of [
    signature.subarray(1),
    concatBytes(Uint8Array.of(0), signature),
    signature.with(383, 0xff ^ signature[383]!),
  ])
    assert.equal(await accepted('verifyEncoded', { spki: own, signature: twin, message }), false);
});

test('RSA: another salt, hash, padding, exponent or size is refused', { skip }, async () => {
  const make = (modulusLength: number, publicExponent = 65537) =>
    generateKeyPairSync('rsa', { modulusLength, publicExponent });
  const { publicKey, privateKey } = make(3072);
  const spki = spkiOf(publicKey);
  const padding = { pss: 6, pkcs1: 1 }; // RSA_PKCS1_PSS_PADDING, RSA_PKCS1_PADDING of node:crypto
  const signed = (hash: string, saltLength: number) =>
    bytes(sign(hash, message, { key: privateKey, padding: padding.pss, saltLength }));
  assert.equal(await accepted('verifyEncoded', { spki, message, signature: signed('sha384', 48) }), true);
  const others = [signed('sha384', 32), signed('sha384', 0), signed('sha256', 48), signed('sha256', 32)];
  others.push(bytes(sign('sha384', message, { key: privateKey, padding: padding.pkcs1 })));
  for (const signature of others) assert.equal(await accepted('verifyEncoded', { spki, message, signature }), false);
  for (const weak of [make(2048), make(3072, 3)])
    await refused('parsePublicKey', spkiOf(weak.publicKey), /3072 to 4096 bits with exponent 65537/);
});

test('RSA: 4096 bits, SHA-384, salt 48: the chain of AMD', { skip: skip || data.skip }, async () => {
  const pem = (path: string) => data.read(path).toString('utf8');
  const [vcek, ask] = [pem('dstack/sev-snp/sev_snp_vcek.pem'), pem('dstack/sev-snp/sev_snp_ask.pem')];
  const ark = pem('roots/amd-ark-milan.pem');
  const nowMs = Date.parse('2026-11-01T00:00:00Z');
  const chain = await accepted('verifyPemChain', { pem: vcek + ask + ark, first: 'leaf', nowMs });
  assert.deepEqual(chain.map(({ serial }) => serial).slice(1), ['010001', '010000']);
  assert.equal((await accepted('verifyPemChain', { pem: ask + ark, first: 'ca', nowMs })).length, 2);
  for (const wrong of [vcek + ark, ask + ask, ask, ark + ask])
    await refused('verifyPemChain', { pem: wrong, first: 'ca', nowMs }, /^CERTIFICATE_INVALID$/);
  const der = Buffer.from(ask.split('-----')[2]!, 'base64');
  await fc.assert(
    fc.asyncProperty(fc.nat(der.length * 8 - 1), async (bit) => {
      const flipped = Buffer.from(der);
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      await refused('verifyPemChain', { pem: vcek + toPem(flipped) + ark, first: 'leaf', nowMs }, /./);
    }),
    runs(),
  );
});

const generalized = (text: string) => bytes(tlv(0x18, Buffer.from(text)));
const utc = (text: string) => bytes(tlv(0x17, Buffer.from(text)));

test('X.509 times: the century of UTCTime, and years beyond 2050', { skip }, async (t: TestContext) => {
  for (const [der, iso] of [
    [utc('491231235959Z'), '2049-12-31T23:59:59.000Z'],
    [utc('500101000000Z'), '1950-01-01T00:00:00.000Z'],
    [generalized('20500101000000Z'), '2050-01-01T00:00:00.000Z'],
    [generalized('20560229120000Z'), '2056-02-29T12:00:00.000Z'],
    [generalized('99991231235959Z'), '9999-12-31T23:59:59.000Z'],
  ] as const)
    assert.equal(new Date(await accepted('readTime', der)).toISOString(), iso);
  const wrong = ['20550229120000Z', '21000229120000Z', '20301231235960Z', '20301231240000Z', '20300101000000.5Z'];
  wrong.push(
    '20300101000000',
    '20300101000000+0000',
    '203001010000Z',
    '2030010100000Z',
    '20301301000000Z',
    '\u0000',
    '',
  );
  for (const text of wrong) await refused('readTime', generalized(text), /^malformed/);
  const { seed } = runs();
  t.diagnostic(`seed ${seed}`);
  const digits = fc.stringMatching(/^[0-9]{12,14}Z$/);
  await fc.assert(
    fc.asyncProperty(digits, fc.boolean(), async (text, isUtc) => {
      await both('readTime', isUtc ? utc(text) : generalized(text));
    }),
    runs(50),
  );
});

test('a certificate that never ends (99991231235959Z, RFC 5280 section 4.1.2.5) is in date until then', {
  skip,
}, async () => {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const algorithm = sequence(oid('1.2.840.10045.4.3.2'));
  const name = sequence(tlv(0x31, sequence(oid('2.5.4.3'), utf8('Root'))));
  const tbs = sequence(
    ...[context(0, integer(2)), integer(1), algorithm, name],
    ...[sequence(utcTime(NOW_MS), generalized('99991231235959Z')), name, spkiOf(publicKey)],
    context(
      3,
      sequence(
        extension('2.5.29.19', sequence(TRUE), true),
        extension('2.5.29.15', bits(Buffer.from([0x06]), 1), true), // keyCertSign, cRLSign
      ),
    ),
  );
  const pem = toPem(sequence(tbs, algorithm, bits(sign('sha256', tbs, privateKey))));
  const at = (iso: string) => ({ pem, first: 'ca' as const, nowMs: Date.parse(iso) });
  for (const iso of ['2049-12-31T23:59:59Z', '2050-01-01T00:00:00Z', '2100-01-01T00:00:00Z', '9999-12-31T23:59:59Z'])
    assert.equal((await accepted('verifyPemChain', at(iso))).length, 1, iso);
  for (const iso of ['1950-01-01T00:00:00Z', '+010000-01-01T00:00:00Z'])
    await refused('verifyPemChain', at(iso), /^CERTIFICATE_INVALID$/);
});

test('hexadecimal, base64 and UTF-8 are read alike', { skip }, async (t) => {
  const { seed } = runs();
  t.diagnostic(`seed ${seed}`);
  for (const text of [
    '',
    '0',
    '0g',
    'AB',
    ' ab',
    'ab ',
    '0x',
    'é0',
    'AA==',
    'AB==',
    'AA',
    'A',
    'AA=',
    ' AAAA',
    'AA AA',
    '_-8=',
    '\ud800',
  ])
    await both('readText', { text, bytes: new Uint8Array() });
  const hexLike = fc.stringMatching(/^[0-9a-fA-Fg ]{0,8}$/);
  const base64Like = fc.stringMatching(/^[A-Za-z0-9+/_ -]{0,9}={0,3}$/);
  const utf8Like = fc.array(
    fc.constantFrom(0x41, 0xc0, 0xc3, 0xe2, 0xed, 0xa0, 0x80, 0xf0, 0xf4, 0x9f, 0xef, 0xbb, 0xbf),
  );
  await fc.assert(
    fc.asyncProperty(fc.oneof(hexLike, base64Like, fc.string()), utf8Like, async (text, list) => {
      await both('readText', { text, bytes: Uint8Array.from(list) });
    }),
    runs(50),
  );
});

test('the package uses nothing that only one engine has', () => {
  const src = new URL('../../packages/verify/src/', import.meta.url);
  const files = globSync('**/*.ts', { cwd: src });
  assert.ok(files.length > 40);
  const foreign =
    /\b(?:fromBase64|toBase64|fromHex|toHex|Temporal|SHA3-\d+|Ed448|DecompressionStream)\b|subtle\.supports/;
  for (const file of files) assert.doesNotMatch(readFileSync(new URL(file, src), 'utf8'), foreign, file);
});
