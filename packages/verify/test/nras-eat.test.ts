/**
 * Tokens of NVIDIA's attestation service (detached EAT, RFC 9711; ES384, RFC 7518). Those that are accepted are signed
 * here: the key that signed NVIDIA's published sample lived for two days of June 2025, and its JWKS is not shared.
 */
import assert from 'node:assert/strict';
import { createHash, createHmac, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { verifyNrasToken } from '../src/gpu/nras-token.ts';
import { VerificationError } from '../src/index.ts';
import { parseJws } from '../src/pki/jws.ts';
import { bits, context, integer, oid, sequence, tlv, utcTime, utf8 } from './support/der-writer.ts';
import { runs, SLOW } from './support/property.ts';
import { readJson, skip } from './support/shared-data.ts';

const NOW_MS = Date.parse('2030-06-15T12:00:00Z');
const NOW = NOW_MS / 1000;
const NONCE = '931d8dd0add203ac3d8b4fbde75e115278eefcdceac5b87671a748f32364dfcb';
const KID = 'nv-eat-kid-prod-20300615000000000-93b13aa1-17e4-4c14-9d33-dba2323329f2';
const ISSUER = 'https://nras.attestation.nvidia.com';

type Json = Record<string, unknown>;
const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
const other = generateKeyPairSync('ec', { namedCurve: 'P-384' });
const jwkOf = (key: KeyObject): Json => ({ ...key.export({ format: 'jwk' }), kid: KID });
const jwks = { keys: [jwkOf(publicKey)] };

/** A certificate for the key, signed by RSA with PKCS#1 v1.5 as NVIDIA's are: base64 of its DER. */
function certificateOf(key: KeyObject): string {
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const algorithm = sequence(oid('1.2.840.113549.1.1.11'), tlv(0x05));
  const name = sequence(tlv(0x31, sequence(oid('2.5.4.3'), utf8('Test'))));
  const validity = sequence(utcTime(NOW_MS), utcTime(NOW_MS + 1000));
  const spki = key.export({ format: 'der', type: 'spki' });
  const tbs = sequence(context(0, integer(2)), integer(1), algorithm, name, validity, name, spki);
  return sequence(tbs, algorithm, bits(sign('sha256', tbs, rsa.privateKey))).toString('base64');
}

const base64url = (value: string | Uint8Array) => Buffer.from(value).toString('base64url');
const HEADER: Json = { kid: KID, alg: 'ES384' };
const signES384 = (input: string, key = privateKey) =>
  sign('sha384', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' });

function tokenOf(payload: unknown, header: unknown = HEADER, makeSignature = (input: string) => signES384(input)) {
  const input = `${base64url(JSON.stringify(header))}.${base64url(JSON.stringify(payload))}`;
  return `${input}.${base64url(makeSignature(input))}`;
}

const common = (): Json => ({ iss: ISSUER, eat_nonce: NONCE, iat: NOW, nbf: NOW, exp: NOW + 3600, jti: 'x' });
const certChain = () => ({
  'x-nvidia-cert-status': 'valid',
  'x-nvidia-cert-ocsp-status': 'good',
  'x-nvidia-cert-expiration-date': '9999-12-31T23:59:59Z',
  'x-nvidia-cert-revocation-reason': null,
});
/** The claims of NVIDIA's sample of version 3.0. */
const device = (index: number): Json => ({
  ...common(),
  ...{ measres: 'success', secboot: true, dbgstat: 'disabled', oemid: '5703', hwmodel: 'GH100 A01 GSP BROM' },
  ueid: `${478176379286082186618948445787393647364802107249n + BigInt(index)}`,
  'x-nvidia-attestation-warning': null,
  'x-nvidia-gpu-driver-version': '550.90.07',
  'x-nvidia-gpu-vbios-version': '96.00.9F.00.01',
  'x-nvidia-gpu-arch-check': true,
  'x-nvidia-gpu-vbios-index-no-conflict': true,
  'x-nvidia-gpu-attestation-report-parsed': true,
  'x-nvidia-gpu-attestation-report-nonce-match': true,
  'x-nvidia-gpu-attestation-report-signature-verified': true,
  'x-nvidia-gpu-attestation-report-cert-chain': certChain(),
  'x-nvidia-gpu-attestation-report-cert-chain-fwid-match': true,
  ...Object.fromEntries(
    ['driver', 'vbios'].flatMap((kind) => [
      [`x-nvidia-gpu-${kind}-rim-cert-chain`, certChain()],
      ...['fetched', 'schema-validated', 'signature-verified', 'version-match', 'measurements-available'].map(
        (step) => [`x-nvidia-gpu-${kind}-rim-${step}`, true] as const,
      ),
    ]),
  ),
});
const digestOf = (token: string) => ['DIGEST', ['SHA-256', createHash('sha256').update(token).digest('hex')]];
const overallOf = (tokens: Record<string, string>): Json => ({
  ...common(),
  sub: 'NVIDIA-PLATFORM-ATTESTATION',
  'x-nvidia-ver': '3.0',
  'x-nvidia-overall-att-result': true,
  submods: Object.fromEntries(Object.entries(tokens).map(([name, token]) => [name, digestOf(token)])),
});

interface Bends {
  devices?: number;
  device?: (claims: Json) => void;
  overall?: (claims: Json) => void;
}

/** Bent before it is signed. */
function makeEat({
  devices = 2,
  device: bendDevice,
  overall: bendOverall,
}: Bends = {}): [string[], Record<string, string>] {
  const tokens: Record<string, string> = {};
  for (let i = 0; i < devices; i++) {
    const claims = device(i);
    if (i === devices - 1) bendDevice?.(claims);
    tokens[`GPU-${i}`] = tokenOf(claims);
  }
  const overall = overallOf(tokens);
  bendOverall?.(overall);
  return [['JWT', tokenOf(overall)], tokens];
}

const judge = (eat: unknown, { nonce = NONCE, nowMs = NOW_MS, keys = jwks as unknown } = {}) =>
  verifyNrasToken(eat, { jwks: keys, nonce, nowMs });

const refusal =
  (code: string, message = /./) =>
  (error: unknown): true => {
    assert.ok(error instanceof VerificationError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  };
const invalid = (message?: RegExp) => refusal('TOKEN_INVALID', message);

test('tokens of one GPU and of eight', async () => {
  const one = await judge(makeEat({ devices: 1 }));
  assert.deepEqual(one, {
    devices: [
      {
        ...{ name: 'GPU-0', ueid: '478176379286082186618948445787393647364802107249', hwmodel: 'GH100 A01 GSP BROM' },
        ...{ driverVersion: '550.90.07', vbiosVersion: '96.00.9F.00.01' },
      },
    ],
    expiresMs: NOW_MS + 3_600_000,
  });
  const eight = makeEat({ devices: 8, device: (claims) => Object.assign(claims, { exp: NOW + 60 }) });
  const { devices, expiresMs } = await judge(JSON.parse(JSON.stringify(eight)));
  assert.deepEqual(
    devices.map(({ name }) => name),
    [0, 1, 2, 3, 4, 5, 6, 7].map((i) => `GPU-${i}`),
  );
  assert.equal(expiresMs, NOW_MS + 60_000);
});

test('the key is found by its id, by coordinates or certificate', async () => {
  const eat = makeEat();
  const { x, y, ...rest } = jwkOf(publicKey);
  const x5c = [certificateOf(publicKey), 'AAAA'];
  const strangers = [{ kty: 'RSA', n: 'AQAB', e: 'AQAB', kid: 'rsa' }, { kty: 'oct' }, jwkOf(other.publicKey)];
  Object.assign(strangers[2]!, { kid: 'other' });
  for (const key of [jwkOf(publicKey), { ...rest, x5c }, { ...rest, x, y, x5c, use: 'sig', alg: 'ES384' }])
    for (const keys of [[key], [...strangers, key], [key, ...strangers]]) await judge(eat, { keys: { keys } });

  const p256 = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey;
  const refused: [name: string, keys: unknown, message: RegExp][] = [
    ['none', [], /has 0 keys/],
    ['another id', [{ ...jwkOf(publicKey), kid: 'other' }], /has 0 keys/],
    ['twice', [jwkOf(publicKey), jwkOf(publicKey)], /has 2 keys/],
    ['another key', [jwkOf(other.publicKey)], /does not verify/],
    ['another certificate', [{ ...rest, x5c: [certificateOf(other.publicKey)] }], /does not verify/],
    ['certificate of another key', [{ ...rest, x, y, x5c: [certificateOf(other.publicKey)] }], /not one key/],
    ['P-256', [jwkOf(p256)], /crv/],
    ['P-256 in the certificate', [{ ...rest, x5c: [certificateOf(p256)] }], /not one key/],
    ['no key', [rest], /not one key/],
    ['half a key', [{ ...rest, x }], /does not verify/],
    ['half a key, and a certificate', [{ ...rest, x, x5c }], /not one key/],
    ['not a point', [{ ...rest, x, y: x }], /does not verify/],
    ['padding', [{ ...rest, x, y: `${y}=` }], /coordinate/],
    ['for encryption', [{ ...jwkOf(publicKey), use: 'enc' }], /use/],
    ['for another algorithm', [{ ...jwkOf(publicKey), alg: 'ES256' }], /alg/],
    ['a certificate in PEM', [{ ...rest, x5c: ['-----BEGIN CERTIFICATE-----'] }], /base64/],
    ['a broken certificate', [{ ...rest, x5c: ['AAAA'] }], /DER/],
    ['no list', {}, /jwks\.keys/],
    ['a key that is none', [null], /jwks key/],
  ];
  for (const [name, keys, message] of refused)
    await assert.rejects(judge(eat, { keys: { keys } }), invalid(message), name);
  for (const jwks of [undefined, null, [], 'x'])
    await assert.rejects(verifyNrasToken(eat, { jwks, nonce: NONCE, nowMs: NOW_MS }), invalid(/jwks/));
});

const SET = (member: string, value: unknown) => (claims: Json) => Object.assign(claims, { [member]: value });
const DROP = (member: string) => (claims: Json) => delete claims[member];

test('what the overall token says', async () => {
  const digest = digestOf('x');
  for (const [bend, message] of [
    [SET('x-nvidia-overall-att-result', false), /overall result/],
    [SET('x-nvidia-overall-att-result', 'true'), /true or false/],
    [DROP('x-nvidia-overall-att-result'), /true or false/],
    [SET('x-nvidia-ver', '2.0'), /x-nvidia-ver must be 3\.0/],
    [DROP('x-nvidia-ver'), /x-nvidia-ver/],
    [SET('submods', {}), /1 to 16 devices/],
    [DROP('submods'), /1 to 16 devices/],
    [SET('submods', { 'GPU-0': digest }), /expected tokens of GPU-0, seen GPU-0, GPU-1/],
    [SET('submods', { 'GPU-0': digest, 'GPU-1': digest, 'GPU-2': digest }), /seen GPU-0, GPU-1$/],
    [SET('submods', { 'GPU-0': digest, 'GPU-1': digest }), /GPU-0 with SHA-256/],
    [SET('submods', { 'GPU-0': digest, 'SWITCH-0': digest }), /no GPU/],
    [(claims: Json) => Object.assign((claims.submods as Json)['GPU-1'] as object, { 0: 'JWT' }), /DIGEST/],
    [(claims: Json) => Object.assign(((claims.submods as Json)['GPU-1'] as Json[])[1]!, { 0: 'SHA256' }), /SHA-256/],
    [(claims: Json) => Object.assign(((claims.submods as Json)['GPU-1'] as Json[])[1]!, { 1: '00' }), /hex digits/],
  ] as [(claims: Json) => void, RegExp][])
    await assert.rejects(judge(makeEat({ overall: bend })), invalid(message), String(message));
});

test('what every token says: issuer, nonce, dates', async () => {
  for (const which of ['overall', 'device'] as const) {
    const say = (bend: (claims: Json) => void) => makeEat({ [which]: bend });
    for (const [bend, message] of [
      [SET('iss', 'https://nras.attestation-stg.nvidia.com'), /iss/],
      [SET('iss', `${ISSUER}/`), /iss/],
      [SET('iss', 'NVAT-LOCAL-VERIFIER'), /iss/],
      [DROP('iss'), /iss/],
      [SET('eat_nonce', '11'.repeat(32)), /for nonce 931d/],
      [SET('eat_nonce', NONCE.toUpperCase()), /lower-case/],
      [SET('eat_nonce', [NONCE]), /eat_nonce/],
      [DROP('eat_nonce'), /eat_nonce/],
      [SET('iat', `${NOW}`), /iat/],
      [SET('nbf', NOW + 0.5), /nbf/],
      [SET('exp', 1e300), /exp/],
      [DROP('iat'), /iat/],
      [DROP('nbf'), /nbf/],
      [DROP('exp'), /exp/],
    ] as [(claims: Json) => void, RegExp][])
      await assert.rejects(judge(say(bend)), invalid(message), `${which} ${message}`);
    for (const bend of [SET('exp', NOW), SET('exp', NOW - 3600), SET('iat', NOW + 301), SET('nbf', NOW + 301)])
      await assert.rejects(judge(say(bend)), refusal('TOKEN_EXPIRED'), which);
    for (const bend of [SET('exp', NOW + 1), SET('iat', NOW + 300), SET('nbf', NOW + 300), SET('iat', 0)])
      await judge(say(bend)); // to the second; clocks may differ by five minutes at the beginning
  }
  const eat = makeEat();
  await assert.rejects(judge(eat, { nonce: '00'.repeat(32) }), invalid(/for nonce 0000/));
  await assert.rejects(judge(eat, { nonce: '' }), invalid(/for nonce ,/));
  await assert.rejects(judge(eat, { nowMs: NOW_MS + 3_600_000 }), refusal('TOKEN_EXPIRED'));
  await assert.rejects(judge(eat, { nowMs: NOW_MS - 300_001 }), refusal('TOKEN_EXPIRED'));
});

test('what a device must say', async () => {
  const chains = ['attestation-report', 'driver-rim', 'vbios-rim'].map((of) => `x-nvidia-gpu-${of}-cert-chain`);
  const required = Object.entries(device(0)).filter(
    ([name, value]) => value === true && !name.endsWith('schema-validated'), // newer verifiers do not say that
  );
  assert.equal(required.length, 15);
  const bends: [(claims: Json) => void, RegExp][] = [
    [SET('measres', 'fail'), /GPU-1\.measres success, seen "fail"/],
    [SET('measres', 'comparison-successful'), /measres/],
    [DROP('measres'), /seen nothing/],
    [SET('dbgstat', 'enabled'), /dbgstat/],
    [SET('ueid', '0x1'), /ueid/],
    [SET('ueid', device(0).ueid), /every device once/],
    [SET('hwmodel', ''), /hwmodel/],
    [SET('x-nvidia-gpu-driver-version', '<b>'), /version/],
    [DROP('x-nvidia-gpu-vbios-version'), /version/],
  ];
  for (const [name] of required)
    bends.push([SET(name, false), new RegExp(name)], [SET(name, 'true'), new RegExp(name)], [DROP(name), /nothing/]);
  for (const chain of chains) {
    for (const member of ['x-nvidia-cert-status', 'x-nvidia-cert-ocsp-status'])
      for (const value of ['expired', 'revoked', 'unknown', null])
        bends.push([SET(chain, { ...certChain(), [member]: value }), new RegExp(`${chain}\\.${member}`)]);
    bends.push(
      [DROP(chain), new RegExp(chain)],
      [SET(chain, null), new RegExp(chain)],
      [SET(chain, 'valid'), /nothing/],
    );
  }
  for (const [bend, message] of bends)
    await assert.rejects(judge(makeEat({ device: bend })), invalid(message), String(message));
});

test('tokens belong together', async () => {
  const [[, overall], tokens] = makeEat();
  const [, others] = makeEat({ device: SET('jti', 'y') });
  const { 'GPU-0': first, 'GPU-1': second } = tokens;
  for (const [name, eat, message] of [
    ['one missing', [['JWT', overall], { 'GPU-0': first }], /expected tokens of GPU-0, GPU-1, seen GPU-0$/],
    ['one more', [['JWT', overall], { ...tokens, 'GPU-2': first }], /seen GPU-0, GPU-1, GPU-2/],
    ['none', [['JWT', overall], {}], /1 to 16 devices/],
    ['exchanged', [['JWT', overall], { 'GPU-0': second, 'GPU-1': first }], /SHA-256/],
    ['one twice', [['JWT', overall], { 'GPU-0': first, 'GPU-1': first }], /GPU-1 with SHA-256/],
    ['one of another set', [['JWT', overall], { ...tokens, 'GPU-1': others['GPU-1'] }], /GPU-1 with SHA-256/],
    ['signed anew', [['JWT', overall], { ...tokens, 'GPU-1': tokenOf(device(1)) }], /GPU-1 with SHA-256/],
    ['a device in the place of all', [['JWT', first], tokens], /overall\.x-nvidia-ver/],
    ['all in the place of a device', [['JWT', overall], { ...tokens, 'GPU-1': overall }], /SHA-256/],
    ['another name', [['JWT', overall], { 'GPU-0': first, 'GPU-01': second }], /no GPU/],
    ['a switch', [['JWT', overall], { ...tokens, 'SWITCH-0': first }], /no GPU/],
    ['a prototype', [['JWT', overall], JSON.parse(`{"__proto__": "${first}"}`)], /no GPU/],
    [
      'seventeen',
      [['JWT', overall], Object.fromEntries(Array.from('abcdefghijklmnopq', (x) => [x, first]))],
      /1 to 16/,
    ],
    ['another kind', [['CWT', overall], tokens], /JWT/],
    ['a third part', [['JWT', overall], tokens, {}], /pair/],
    ['a third part inside', [['JWT', overall, ''], tokens], /pair/],
    ['a token alone', overall, /pair/],
    ['no text', [['JWT', { overall }], tokens], /text/],
    [
      'a list of tokens',
      [
        ['JWT', overall],
        [first, second],
      ],
      /devices/,
    ],
  ] as [string, unknown, RegExp][])
    await assert.rejects(judge(eat), invalid(message), name);
  const doubled = makeEat({ overall: (claims) => Object.assign(claims, { submods: overallOf(others).submods }) });
  await assert.rejects(judge(doubled), invalid(/GPU-0 with SHA-256/)); // signed anew, and so another text
});

test('a token is signed by ES384, and in one form', async () => {
  const claims = device(0);
  const payload = base64url(JSON.stringify(claims));
  const secret = publicKey.export({ format: 'pem', type: 'spki' });
  const header = (more: Json) => tokenOf(claims, { ...HEADER, ...more });
  const good = tokenOf(claims);
  const [head, body, signature] = good.split('.') as [string, string, string];
  const der = sign('sha384', Buffer.from(`${head}.${body}`), privateKey);
  for (const [name, token, message] of [
    ['none', `${base64url('{"alg":"none"}')}.${payload}.`, /alg/],
    ['none, with a key id', `${base64url(JSON.stringify({ ...HEADER, alg: 'none' }))}.${payload}.`, /alg/],
    ['None', header({ alg: 'None' }), /alg/],
    [
      'HS256',
      tokenOf(claims, { ...HEADER, alg: 'HS256' }, (i) => createHmac('sha256', secret).update(i).digest()),
      /alg/,
    ],
    ['ES256', header({ alg: 'ES256' }), /alg/],
    ['ES512', header({ alg: 'ES512' }), /alg/],
    ['es384', header({ alg: 'es384' }), /alg/],
    ['two algorithms', header({ alg: ['ES384'] }), /alg/],
    ['no key id', tokenOf(claims, { alg: 'ES384' }), /kid/],
    ['another type', header({ typ: 'CWT' }), /typ/],
    ['a critical header', header({ crit: ['exp'] }), /unknown member "crit"/],
    ['a key inside', header({ jwk: jwkOf(other.publicKey) }), /unknown member "jwk"/],
    ['a certificate inside', header({ x5c: [certificateOf(other.publicKey)] }), /unknown member "x5c"/],
    ['a place of keys', header({ jku: 'https://example.org' }), /unknown member "jku"/],
    ['another key', tokenOf(claims, HEADER, (i) => signES384(i, other.privateKey)), /does not verify/],
    [
      'SHA-256',
      tokenOf(claims, HEADER, (i) => sign('sha256', Buffer.from(i), { key: privateKey, dsaEncoding: 'ieee-p1363' })),
      /does not verify/,
    ],
    ['a DER signature', `${head}.${body}.${base64url(der)}`, /does not verify/],
    ['zeros', `${head}.${body}.${base64url(Buffer.alloc(96))}`, /does not verify/],
    ['no signature', `${head}.${body}.`, /does not verify/],
    ['two parts', `${head}.${body}`, /three parts/],
    ['four parts', `${good}.`, /three parts/],
    ['five parts', `${good}.${head}.${head}`, /three parts/],
    ['padding', `${head}.${body}.${signature}==`, /padding/],
    ['white space', `${head}.${body}.${signature}\n`, /foreign/],
    ['base64', `${head}.${body}.+${signature.slice(1)}`, /foreign/],
    ['unused bits', `${head}.${base64url('{}').slice(0, -1)}1.${signature}`, /canonical/],
    ['one character too many', `${head}.${body}.${signature}A`, /canonical/],
    ['no JSON', `${head}.${base64url('x')}.${signature}`, /JSON/],
    ['no UTF-8', `${head}.${base64url(Buffer.from([0xff]))}.${signature}`, /UTF-8/],
    ['a header that is no object', tokenOf(claims, null), /object/],
    ['claims that are none', tokenOf(null), /GPU-0 must be an object/],
    ['a list of claims', tokenOf([claims]), /GPU-0 must be an object/],
    ['nothing', '', /three parts/],
    ['too much', `${head}.${'A'.repeat(65536)}.${signature}`, /at most/],
    ['a lone surrogate', '\ud800', /text/],
  ] as [string, string, RegExp][]) {
    const tokens = { 'GPU-0': token };
    await assert.rejects(judge([['JWT', tokenOf(overallOf(tokens))], tokens]), invalid(message), `device: ${name}`);
    await assert.rejects(judge([['JWT', token], { 'GPU-0': good }]), refusal('TOKEN_INVALID'), `overall: ${name}`);
  }
  const typed = { 'GPU-0': header({ typ: 'JWT' }) };
  await judge([['JWT', tokenOf(overallOf(typed), { ...HEADER, typ: 'JWT' })], typed]);
});

const CLAIMS = '../gpu-attestation/attestation-sdk/claims';

test("NVIDIA's sample reads as NVIDIA reads it, and its digests match", { skip }, () => {
  for (const [name, device] of [
    ['hopperClaimsv3', 'GPU-0'],
    ['switch', 'SWITCH-0'],
  ] as const) {
    const [[, overall], tokens] = readJson(`${CLAIMS}/${name}_detached_eat.json`);
    assert.deepEqual(parseJws(tokens[device]).payload, readJson(`${CLAIMS}/${name}_decoded.json`)[device]);
    const { submods } = parseJws(overall).payload as Json;
    assert.deepEqual(submods, { [device]: digestOf(tokens[device]) });
    assert.equal(parseJws(overall).signature.length, 96);
  }
});

test("NVIDIA's sample is refused without the key that signed it, which is not known here", { skip }, async () => {
  const eat = readJson(`${CLAIMS}/hopperClaimsv3_detached_eat.json`);
  const { kid } = parseJws(eat[0][1]);
  const nowMs = 1749601858_000; // its iat
  await assert.rejects(judge(eat, { nowMs }), invalid(/has 0 keys nv-eat-kid-prod-20250609/));
  const keys = { keys: [{ ...jwkOf(publicKey), kid }] };
  await assert.rejects(judge(eat, { nowMs, keys }), invalid(/does not verify/));
  const switches = readJson(`${CLAIMS}/switch_detached_eat.json`);
  await assert.rejects(judge(switches, { nowMs: 1751155060_000 }), invalid(/no GPU/));
});

test("NVIDIA's claims, signed by a known key, are accepted for their hour", { skip }, async () => {
  const [[, overall], tokens] = readJson(`${CLAIMS}/hopperClaimsv3_detached_eat.json`);
  const signed = { 'GPU-0': tokenOf(parseJws(tokens['GPU-0']).payload) };
  const claims = { ...(parseJws(overall).payload as Json), submods: overallOf(signed).submods };
  const eat = [['JWT', tokenOf(claims)], signed];
  const { devices, expiresMs } = await judge(eat, { nowMs: 1749601858_000 });
  assert.equal(devices[0]!.ueid, '478176379286082186618948445787393647364802107249');
  assert.equal(expiresMs, 1749605458_000);
  await assert.rejects(judge(eat, { nowMs: expiresMs }), refusal('TOKEN_EXPIRED'));
  await assert.rejects(judge(eat), refusal('TOKEN_EXPIRED'));
});

test("whatever NVIDIA's example policy demands is demanded", { skip }, async () => {
  const policies: { path: string; content: Json }[] = readJson('../gpu-attestation/nvtrust/policies/policies.json');
  const policy = policies.find(({ path }) => path.endsWith('remote/v4/NVGPURemotePolicyExample.json'))!;
  const { 'overall-claims': overall, 'detached-claims': detached } = policy.content['authorization-rules'] as {
    [kind: string]: Json;
  };
  assert.deepEqual(overall, { 'x-nvidia-overall-att-result': true, 'x-nvidia-ver': '3.0' });
  const names = Object.keys(detached!).filter((name) => !name.endsWith('schema-validated'));
  assert.equal(names.length, 18);
  for (const name of names) {
    const { [name]: value } = device(0);
    if (typeof value === 'object') assert.deepEqual({ ...value, ...(detached![name] as Json) }, value);
    else assert.equal(value, detached![name]);
    await assert.rejects(judge(makeEat({ device: DROP(name) })), invalid(new RegExp(name)));
  }
});

test('what nvattest writes on the machine itself is refused: nobody has signed it', { skip }, async () => {
  const { detached_eat: eat } = readJson('../gpu-attestation/dstack/gpu_attestation_h100.json');
  const local = { nonce: '11'.repeat(32), nowMs: 1784207862_000 };
  await assert.rejects(judge(eat, local), invalid(/header\.alg must be ES384/));
  await assert.rejects(judge(eat, { ...local, keys: { keys: [{ kty: 'EC', crv: 'P-384' }] } }), invalid(/alg/));
});

const { seed } = runs();

/** SLOW=1 flips all 7 bits of every character, otherwise one seeded bit of every eighth. */
test(`no character of the tokens can be changed (seed ${seed})`, async () => {
  const [[, overall], { 'GPU-0': token }] = makeEat({ devices: 1 }) as [string[], { 'GPU-0': string }];
  await judge([['JWT', overall], { 'GPU-0': token }]);
  const swept = async (text: string, build: (flipped: string) => unknown): Promise<void> => {
    for (let at = SLOW ? 0 : seed % 8; at < text.length; at += SLOW ? 1 : 8)
      for (const bit of SLOW ? [0, 1, 2, 3, 4, 5, 6] : [(seed + at) % 7]) {
        const flipped = text.slice(0, at) + String.fromCharCode(text.charCodeAt(at) ^ (1 << bit)) + text.slice(at + 1);
        await assert.rejects(judge(build(flipped)), refusal('TOKEN_INVALID'), `character ${at}, bit ${bit}`);
      }
  };
  await swept(overall!, (flipped) => [['JWT', flipped], { 'GPU-0': token }]);
  await swept(token, (flipped) => [['JWT', overall], { 'GPU-0': flipped }]);
  // The same without the digest in the way: the signature of the device's own token.
  await swept(token, (flipped) => [['JWT', tokenOf(overallOf({ 'GPU-0': flipped }))], { 'GPU-0': flipped }]);
});

test('any JSON value is refused, as tokens and as keys', async () => {
  const [[, overall], tokens] = makeEat({ devices: 1 });
  await fc.assert(
    fc.asyncProperty(fc.jsonValue(), fc.string(), async (value, text) => {
      for (const eat of [value, text, [value, tokens], [['JWT', text], tokens], [['JWT', overall], value]])
        await assert.rejects(judge(eat), refusal('TOKEN_INVALID'));
      for (const keys of [value, { keys: value }, { keys: [value] }, { keys: [{ kid: KID, x5c: [text] }] }])
        await assert.rejects(judge([['JWT', overall], tokens], { keys }), refusal('TOKEN_INVALID'));
      const payload = tokenOf(value);
      await assert.rejects(judge([['JWT', payload], tokens]), refusal('TOKEN_INVALID'));
    }),
    runs(25),
  );
});
