/** DER (ITU-T X.690): one encoding per value. Vectors are written out by hand from sections 8 to 11. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { MalformedError } from '../src/formats/bytes.ts';
import {
  bitStringBytes,
  DerFields,
  defaultFalse,
  integerOf,
  oidOf,
  parseDer,
  parseDerList,
  serialOf,
  TAG,
  timeOf,
} from '../src/formats/der.ts';
import { parseCrl } from '../src/pki/crl.ts';
import { parseSignature } from '../src/pki/signature.ts';
import { parseCertificate } from '../src/pki/x509.ts';
import { runs } from './support/property.ts';

const bytes = (hex: string) => new Uint8Array(Buffer.from(hex.replaceAll(' ', ''), 'hex'));
const one = (hex: string, tag: number) => parseDer(bytes(hex), tag);
const refused = (read: () => unknown, name: string) => assert.throws(read, MalformedError, name);

test('lengths are definite and shortest, and nothing follows', () => {
  assert.deepEqual(one('04 02 aabb', TAG.OCTET_STRING).value, bytes('aabb'));
  assert.equal(one(`04 81 80 ${'00'.repeat(128)}`, TAG.OCTET_STRING).value.length, 128);
  for (const hex of [
    ...[
      '',
      '04',
      '04 02 aa',
      '04 80 0000',
      '04 81 02 aabb',
      '04 82 0002 aabb',
      '04 84 00000001 aa',
      '04 85 0000000001 aa',
    ],
    ...['04 81', '04 83 01', '04 01 aa 00', '05 00', '1f 81 01 00', '24 04 04 02 aabb'],
  ])
    refused(() => one(hex, TAG.OCTET_STRING), hex);
  assert.equal(one(`04 83 010000 ${'00'.repeat(65536)}`, TAG.OCTET_STRING).value.length, 65536);
  refused(() => one(`04 82 0080 ${'00'.repeat(128)}`, TAG.OCTET_STRING), 'length with a leading zero');
});

test('integers are shortest and not negative', () => {
  for (const [hex, value] of [
    ['02 01 00', 0],
    ['02 01 7f', 127],
    ['02 02 0080', 128],
    ['02 05 00ffffffff', 0xffffffff],
  ] as const)
    assert.equal(integerOf(one(hex, TAG.INTEGER)), value);
  for (const hex of ['02 00', '02 01 80', '02 02 007f', '02 02 0000', '02 02 ff7f', '02 05 0100000000'])
    refused(() => integerOf(one(hex, TAG.INTEGER)), hex);
  assert.equal(serialOf(one('02 03 00efae', TAG.INTEGER)), 'efae');
  assert.equal(serialOf(one('02 01 00', TAG.INTEGER)), '00');
});

test('object identifiers', () => {
  for (const [hex, dotted] of [
    ['06 08 2a8648ce3d040302', '1.2.840.10045.4.3.2'],
    ['06 03 551d13', '2.5.29.19'],
    ['06 04 2a818000', '1.2.16384'],
    ['06 03 813403', '2.100.3'], // X.690 section 8.19.5
    ['06 0a 2b0601040183e7390108', '1.3.6.1.4.1.62393.1.8'],
  ] as const)
    assert.equal(oidOf(one(hex, TAG.OID)), dotted);
  for (const hex of ['06 00', '06 02 5580', '06 02 5581', '06 03 558013', '06 01 80', '06 07 2a ffffffffff7f'])
    refused(() => oidOf(one(hex, TAG.OID)), hex);
});

test('booleans, bit strings, lists', () => {
  assert.equal(defaultFalse(one('01 01 ff', TAG.BOOLEAN)), true);
  assert.equal(defaultFalse(null), false);
  for (const hex of ['01 01 00', '01 01 01', '01 02 ffff', '01 00'])
    refused(() => defaultFalse(one(hex, TAG.BOOLEAN)), hex);
  assert.deepEqual(bitStringBytes(one('03 02 00aa', TAG.BIT_STRING)), bytes('aa'));
  refused(() => bitStringBytes(one('03 02 01aa', TAG.BIT_STRING)), 'unused bits');
  refused(() => bitStringBytes(one('03 00', TAG.BIT_STRING)), 'empty');
  assert.equal(parseDerList(bytes('0500 0500'), 5).length, 2);
  refused(() => parseDerList(bytes('0500 0400'), 5), 'mixed');
});

test('times are those of RFC 5280 and exist', () => {
  const time = (tag: number, text: string) =>
    timeOf(new DerFields(Buffer.from([tag, text.length, ...Buffer.from(text)])));
  assert.equal(time(TAG.UTC_TIME, '491231235959Z'), Date.parse('2049-12-31T23:59:59Z'));
  assert.equal(time(TAG.UTC_TIME, '500101000000Z'), Date.parse('1950-01-01T00:00:00Z'));
  assert.equal(time(TAG.GENERALIZED_TIME, '20500101000000Z'), Date.parse('2050-01-01T00:00:00Z'));
  for (const text of [
    '250631000000Z',
    '2506300000Z',
    '250630000000+0000',
    '250630240000Z',
    '250630000060Z',
    '25063000000 Z',
  ])
    refused(() => time(TAG.UTC_TIME, text), text);
  refused(() => time(TAG.GENERALIZED_TIME, '20250630000000.5Z'), 'fraction');
});

test('ECDSA signatures become r‖s', () => {
  const raw = parseSignature('P-256', bytes(`30 25 02 01 05 02 20 ${'7f'.repeat(32)}`));
  assert.equal(Buffer.from(raw).toString('hex'), `${'05'.padStart(64, '0')}${'7f'.repeat(32)}`);
  for (const hex of [
    '30 03 02 01 05',
    '30 09 02 01 05 02 01 05 02 01 05',
    `30 26 02 21 01${'00'.repeat(32)} 02 01 05`,
    '30 06 02 01 05 02 01 05 00',
    '30 06 02 01 ff 02 01 05',
  ])
    refused(() => parseSignature('P-256', bytes(hex)), hex);
});

test('deep nesting costs neither stack nor time', () => {
  let nested = Buffer.from('0500', 'hex');
  const levels: Buffer[] = [];
  for (let depth = 0; depth < 100_000; depth++) levels.push(Buffer.from('30830f4240', 'hex'));
  nested = Buffer.concat([...levels, nested, Buffer.alloc(1_000_000)]);
  for (const parse of [parseCertificate, parseCrl]) refused(() => parse(nested), parse.name);
});

test('random bytes are malformed or read, never more', () => {
  const parseEcdsa = (input: Uint8Array) => parseSignature('P-384', input);
  const readers = [parseCertificate, parseCrl, parseEcdsa, (input: Uint8Array) => parseDerList(input, 0x30)];
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (input) => {
      for (const read of readers)
        try {
          read(input);
        } catch (error) {
          assert.ok(error instanceof MalformedError, String(error));
        }
    }),
    runs(),
  );
});
