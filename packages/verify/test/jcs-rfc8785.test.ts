/** JSON Canonicalization Scheme: the examples of RFC 8785 sections 3.2.2 to 3.2.4 and its appendix B. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { MalformedError } from '../src/formats/bytes.ts';
import { canonicalize, computeReportData } from '../src/index.ts';
import { good } from './support/judge.ts';
import { runs } from './support/property.ts';

test('section 3.2.2 to 3.2.4: the sample object, to the byte', () => {
  const input = String.raw`{
    "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
    "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
    "literals": [null, true, false]
  }`;
  const expected = `7b226c69746572616c73223a5b6e756c6c2c747275652c66616c73655d2c226e756d62657273223a
    5b3333333333333333332e333333333333332c31652b33302c342e352c302e3030322c31652d32375d2c22737472696e67223a22e282
    ac245c75303030665c6e4127425c225c5c5c5c5c222f227d`.replace(/\s/g, '');
  assert.equal(Buffer.from(canonicalize(JSON.parse(input))).toString('hex'), expected);
});

test('section 3.2.3: members in the order of UTF-16 code units', () => {
  const input = JSON.parse(
    String.raw`{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One","\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}`,
  );
  assert.deepEqual(
    [...canonicalize(input).matchAll(/:"([^"]+)"/g)].map(([, name]) => name),
    [
      ...['Carriage Return', 'One', 'Control', 'Latin Small Letter O With Diaeresis', 'Euro Sign'],
      ...['Emoji: Grinning Face', 'Hebrew Letter Dalet With Dagesh'],
    ],
  );
});

test('appendix B: numbers', () => {
  const double = (hex: string) => Buffer.from(hex, 'hex').readDoubleBE();
  for (const [ieee, text] of [
    ['0000000000000000', '0'],
    ['8000000000000000', '0'],
    ['0000000000000001', '5e-324'],
    ['8000000000000001', '-5e-324'],
    ['7fefffffffffffff', '1.7976931348623157e+308'],
    ['4340000000000000', '9007199254740992'],
    ['4430000000000000', '295147905179352830000'],
    ['44b52d02c7e14af5', '9.999999999999997e+22'],
    ['44b52d02c7e14af6', '1e+23'],
    ['444b1ae4d6e2ef4e', '999999999999999700000'],
    ['444b1ae4d6e2ef50', '1e+21'],
    ['3eb0c6f7a0b5ed8c', '9.999999999999997e-7'],
    ['3eb0c6f7a0b5ed8d', '0.000001'],
    ['41b3de4355555553', '333333333.3333332'],
    ['41b3de4355555557', '333333333.33333343'],
    ['becbf647612f3696', '-0.0000033333333333333333'],
    ['43143ff3c1cb0959', '1424953923781206.2'],
  ] as const)
    assert.equal(canonicalize(double(ieee)), text);
  for (const ieee of ['7fffffffffffffff', '7ff0000000000000'])
    assert.throws(() => canonicalize(double(ieee)), MalformedError);
});

test('what has no canonical form is refused', () => {
  for (const value of [undefined, '\udead', { a: undefined }, [undefined], { '\ud800': 1 }, 1n, Symbol('x'), () => 1])
    assert.throws(() => canonicalize(value), MalformedError);
});

test('one text per value: the order of insertion does not count, and parsing brings it back', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 4 }), (value) => {
      const plain = JSON.parse(JSON.stringify(value)); // -0 has no JSON
      const shuffled = JSON.parse(JSON.stringify(plain), (_, v) =>
        v && typeof v === 'object' && !Array.isArray(v) ? Object.fromEntries(Object.entries(v).reverse()) : v,
      );
      assert.equal(canonicalize(shuffled), canonicalize(plain));
      assert.deepEqual(JSON.parse(canonicalize(plain)), plain);
    }),
    runs(),
  );
});

test('report_data is SHA-512 over the domain and the canonical preimage, written out by hand', () => {
  const { reportData } = good.evidence;
  const text = `abaton-attest-v1:{"auditLogVkeys":["abaton.example/log+11111111+AQ"],"checkpoint":"abaton.example/log\\n1\\nAAAA\\n","gpuEvidenceSha256":null,"hpkePublicKey":null,"manifestSha256":"${'33'.repeat(32)}","modelRegistrySha256":"${'55'.repeat(32)}","nonce":"${'11'.repeat(32)}","policySha256":"${'44'.repeat(32)}","tlsExporterSha256":null,"tlsSpkiSha256":"${'22'.repeat(32)}"}`;
  assert.deepEqual(Buffer.from(computeReportData(reportData)), createHash('sha512').update(text).digest());
});
