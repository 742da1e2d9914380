/**
 * OCSP (RFC 6960). Answers of OpenSSL's responder, which is also asked for its own opinion of them; then answers of an
 * authority made here, that says what OpenSSL would not. Their shapes are those of NVIDIA's responder as others captured
 * it in 2026: P-384, a delegated responder at each level, a nonce when asked for, valid for a day from the very second.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, suite, test } from 'node:test';
import fc from 'fast-check';
import { MalformedError } from '../src/formats/bytes.ts';
import { formatPemChain, parsePemChain } from '../src/formats/pem.ts';
import { VerificationError } from '../src/index.ts';
import { parseOcspResponse, verifyOcsp } from '../src/pki/ocsp.ts';
import { buildOcspRequest } from '../src/pki/ocsp-cert-id.ts';
import { type Certificate, parseCertificate } from '../src/pki/x509.ts';
import { context, octets, oid, sequence, tlv } from './support/der-writer.ts';
import {
  type Answer,
  certify,
  DAY_MS,
  extension,
  forOcsp,
  forTls,
  GOOD,
  NOW_MS,
  noCheck,
  type Party,
  type Responding,
  respond,
  revoked,
  UNKNOWN,
} from './support/ocsp-authority.ts';
import { runs, SLOW } from './support/property.ts';
import { skip as noData, read } from './support/shared-data.ts';

const judge = async (ders: readonly Uint8Array[], chain: readonly Certificate[], nowMs: number) =>
  verifyOcsp(ders.map(parseOcspResponse), chain, nowMs);

const refusal =
  (code: string, seen = /./) =>
  (error: unknown): true => {
    assert.ok(error instanceof VerificationError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.seen, seen);
    return true;
  };

const available = spawnSync('openssl', ['version']).status === 0;
if (!available && process.env.REQUIRE_SYSTEM === '1') throw new Error('needs openssl: run scripts/system-deps.sh');

suite('answers of OpenSSL', { skip: available ? false : 'needs openssl: run scripts/system-deps.sh' }, () => {
  const dir = mkdtempSync(join(tmpdir(), 'ocsp-'));
  after(() => rmSync(dir, { recursive: true }));
  const at = (name: string) => join(dir, name);
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: dir, encoding: 'utf8', stdio: 'pipe' });

  const KINDS = {
    ca: ['basicConstraints=critical,CA:TRUE', 'keyUsage=critical,keyCertSign,cRLSign'],
    leaf: ['basicConstraints=critical,CA:FALSE', 'keyUsage=critical,digitalSignature'],
    responder: ['keyUsage=critical,digitalSignature', 'extendedKeyUsage=critical,OCSPSigning', 'noCheck=ignored'],
    revocableResponder: ['keyUsage=critical,digitalSignature', 'extendedKeyUsage=critical,OCSPSigning'],
    server: ['keyUsage=critical,digitalSignature', 'extendedKeyUsage=serverAuth', 'noCheck=ignored'],
  };

  /** Writes `name`.pem and `name`.key, certified by `issuer` or by itself. */
  function issue(name: string, kind: keyof typeof KINDS, serial: string, issuer?: string): Certificate {
    writeFileSync(at('extensions'), KINDS[kind].join('\n'));
    openssl('genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-384', '-out', `${name}.key`);
    openssl('req', '-new', '-key', `${name}.key`, '-subj', `/O=Test/CN=${name.replace('other-', '')}`, '-out', 'csr');
    const signer = issuer ? ['-CA', `${issuer}.pem`, '-CAkey', `${issuer}.key`] : ['-signkey', `${name}.key`];
    const options = ['-sha384', '-days', '30', '-set_serial', `0x${serial}`, '-extfile', 'extensions'];
    openssl('x509', '-req', '-in', 'csr', ...signer, ...options, '-out', `${name}.pem`);
    return parseCertificate(parsePemChain(readFileSync(at(`${name}.pem`), 'utf8'))[0]!);
  }

  const root = issue('root', 'ca', '01');
  const ica = issue('ica', 'ca', 'a001', 'root');
  const leaves = Object.fromEntries(
    ['leaf', 'compromised', 'held', 'unheard'].map((name, i) => [name, issue(name, 'leaf', `9f0${i}`, 'ica')]),
  );
  const leaf = leaves.leaf!;
  issue('other-ica', 'ca', 'a001', 'root'); // same name and serial number, another key
  issue('root-responder', 'responder', 'a0f1', 'root');
  issue('ica-responder', 'responder', '90f1', 'ica');
  issue('revocable', 'revocableResponder', '90f2', 'ica');
  issue('server', 'server', '90f3', 'ica');
  writeFileSync(
    at('ica.index'),
    ['V\t351231235959Z\t\t9F00', 'R\t351231235959Z\t261001000000Z,keyCompromise\t9F01']
      .concat('R\t351231235959Z\t261001000000Z,certificateHold\t9F02')
      .map((line) => `${line}\tunknown\t/O=Test/CN=x\n`)
      .join(''),
  );
  writeFileSync(at('root.index'), 'V\t351231235959Z\t\tA001\tunknown\t/O=Test/CN=ica\n');
  writeFileSync(at('cas.pem'), readFileSync(at('ica.pem'), 'utf8') + readFileSync(at('root.pem'), 'utf8'));

  interface Asked {
    of?: 'ica' | 'root';
    signer?: string;
    ask?: string[];
    answer?: string[];
  }
  const ask = (name: string, { of = 'ica', ask = ['-sha256'] }: Asked = {}) =>
    openssl('ocsp', ...ask, '-issuer', `${of}.pem`, '-cert', `${name}.pem`, '-reqout', 'request');
  function answer({ of = 'ica', signer = `${of}-responder`, answer = ['-ndays', '1'] }: Asked = {}): Buffer {
    const by = ['-rsigner', `${signer}.pem`, '-rkey', `${signer}.key`, '-rmd', 'sha384', ...answer];
    openssl('ocsp', '-index', `${of}.index`, '-CA', `${of}.pem`, ...by, '-reqin', 'request', '-respout', 'response');
    return readFileSync(at('response'));
  }
  const askAndAnswer = (name: string, asked?: Asked): Buffer => {
    ask(name, asked);
    return answer(asked);
  };
  /** Of the last response. */
  function opinion(name: string, ask = ['-sha256']): string {
    const given = ['-respin', 'response', ...ask, '-issuer', 'ica.pem', '-cert', `${name}.pem`, '-CAfile', 'cas.pem'];
    const { stdout, stderr } = spawnSync('openssl', ['ocsp', '-no_nonce', ...given], { cwd: dir, encoding: 'utf8' });
    assert.match(stderr, /^Response verify OK/);
    return stdout;
  }

  const icaIsGood = askAndAnswer('ica', { of: 'root' });
  const now = Date.now();
  const chain = [leaf, ica, root];

  const accepted: Record<string, Asked> = {
    'SHA-1, which names issuers when nothing is said': { ask: [] },
    'SHA-256': { ask: ['-sha256'] },
    'SHA-384': { ask: ['-sha384'] },
    'without a nonce': { ask: ['-sha256', '-no_nonce'] },
    'by a responder named by its key': { answer: ['-ndays', '1', '-resp_key_id'] },
    'by the authority itself': { signer: 'ica' },
    'by the authority itself, named by its key': { signer: 'ica', answer: ['-ndays', '1', '-resp_key_id'] },
    'with further certificates': { answer: ['-ndays', '1', '-rother', 'cas.pem'] },
  };
  for (const [name, asked] of Object.entries(accepted))
    test(`good: ${name}`, async () => {
      const leafIsGood = askAndAnswer('leaf', asked);
      assert.match(opinion('leaf', asked.ask), /^leaf\.pem: good\n/);
      await judge([leafIsGood, icaIsGood], chain, now);
      await judge([icaIsGood, leafIsGood, leafIsGood], chain, now);
      await judge([icaIsGood], chain.slice(1), now);
      await assert.rejects(judge([leafIsGood], chain, now), refusal('OCSP_INVALID', /none in 1 responses/));
      await assert.rejects(judge([icaIsGood], chain, now), refusal('OCSP_INVALID', /none in 1 responses/));
    });

  const states: [name: string, said: RegExp, code: string, seen: RegExp][] = [
    ['compromised', /: revoked\n.*\n.*\n.*keyCompromise/, 'CERTIFICATE_REVOKED', /^revoked: keyCompromise$/],
    ['held', /: revoked\n.*\n.*\n.*certificateHold/, 'CERTIFICATE_REVOKED', /^revoked: certificateHold$/],
    ['unheard', /: unknown\n/, 'OCSP_INVALID', /^unknown$/],
  ];
  for (const [name, said, code, seen] of states)
    test(`${name}: ${code}`, async () => {
      const response = askAndAnswer(name);
      assert.match(opinion(name), said);
      await assert.rejects(judge([response, icaIsGood], [leaves[name]!, ica, root], now), refusal(code, seen));
    });

  test('from thisUpdate to nextUpdate', async () => {
    const response = askAndAnswer('leaf', { answer: ['-nmin', '60'] });
    const { thisUpdateMs, nextUpdateMs } = parseOcspResponse(response).answers[0]!;
    assert.equal(nextUpdateMs, thisUpdateMs + 3_600_000);
    for (const ms of [thisUpdateMs, nextUpdateMs]) await judge([response], [leaf, ica], ms);
    for (const ms of [thisUpdateMs - 3_600_000, nextUpdateMs + 1])
      await assert.rejects(judge([response], [leaf, ica], ms), refusal('OCSP_EXPIRED'));
    const endless = askAndAnswer('leaf', { answer: [] });
    assert.equal(parseOcspResponse(endless).answers[0]!.nextUpdateMs, null);
    await assert.rejects(judge([endless], [leaf, ica], now), refusal('OCSP_INVALID', /no nextUpdate/));
  });

  const strangers: [name: string, asked: Asked, seen: RegExp][] = [
    ['a server of the authority', { signer: 'server' }, /^1\.3\.6\.1\.5\.5\.7\.3\.1$/],
    ['a leaf of the authority', { signer: 'leaf' }, /no purpose/],
    ['a responder of the authority above', { signer: 'root-responder' }, /by another/],
    ['the authority above', { signer: 'root' }, /by another/],
    ['an authority of the same name', { signer: 'other-ica' }, /does not verify/],
    ['a responder that may have been revoked', { signer: 'revocable' }, /nocheck/],
    ['a responder that is not shown', { answer: ['-ndays', '1', '-resp_no_certs'] }, /another signer/],
  ];
  for (const [name, asked, seen] of strangers)
    test(`${name} may not answer`, async () => {
      const response = askAndAnswer('leaf', asked);
      await assert.rejects(judge([response, icaIsGood], chain, now), refusal('OCSP_INVALID', seen));
    });

  test('an answer about the same serial number of another authority is none', async () => {
    openssl('ocsp', '-sha256', '-issuer', 'other-ica.pem', '-cert', 'leaf.pem', '-reqout', 'request');
    const options = ['-CA', 'other-ica.pem', '-rsigner', 'other-ica.pem', '-rkey', 'other-ica.key', '-rmd', 'sha384'];
    openssl('ocsp', '-index', 'ica.index', ...options, '-reqin', 'request', '-respout', 'response');
    const response = readFileSync(at('response'));
    assert.equal(parseOcspResponse(response).answers.length, 1);
    await assert.rejects(judge([response], [leaf, ica], now), refusal('OCSP_INVALID', /none in 1 responses/));
  });

  test('requests are those of OpenSSL, which answers them', async () => {
    for (const [name, certificate, issuer, of] of [
      ['leaf', leaf, ica, 'ica'],
      ['ica', ica, root, 'root'],
    ] as const) {
      ask(name, { of, ask: ['-sha256', '-no_nonce'] });
      const request = buildOcspRequest(certificate, issuer);
      assert.deepEqual(Buffer.from(request), readFileSync(at('request')));
      writeFileSync(at('request'), request);
      await judge([answer({ of })], [certificate, issuer], now);
    }
  });

  test('requests about a real H100 and its makers are those of OpenSSL', { skip: noData }, () => {
    const ders = parsePemChain(read('../gpu-attestation/nvtrust/evidence/hopperCertChain.txt').toString());
    const chain = ders.map(parseCertificate);
    assert.equal(chain.length, 5);
    for (const [i, certificate] of chain.slice(0, -1).entries()) {
      for (const [name, der] of [
        ['real', ders[i]!],
        ['maker', ders[i + 1]!],
      ] as const)
        writeFileSync(at(`${name}.pem`), formatPemChain([der]));
      openssl('ocsp', '-sha256', '-no_nonce', '-issuer', 'maker.pem', '-cert', 'real.pem', '-reqout', 'request');
      assert.deepEqual(Buffer.from(buildOcspRequest(certificate, chain[i + 1]!)), readFileSync(at('request')));
    }
  });
});

const root = certify('root', null, { ca: true });
const ica = certify('ica', root, { ca: true });
const leaf = certify('leaf', ica);
const rootResponder = certify('root responder', root, { extensions: [forOcsp, noCheck] });
const icaResponder = certify('ica responder', ica, { extensions: [forOcsp, noCheck] });
const chain = [leaf, ica, root].map(({ certificate }) => certificate);
const pair = chain.slice(0, 2);
const about = { about: leaf, issuer: ica };
const answering = (answer: Partial<Answer> = {}, options?: Responding, signer = icaResponder) =>
  respond(signer, [{ ...about, ...answer }], options);

test('answers that are good', async () => {
  const twin = certify('ica responder', ica, { extensions: [forOcsp, noCheck] });
  const nonce = extension('1.3.6.1.5.5.7.48.1.2', octets(Buffer.alloc(16)), true);
  const longSerial = certify('long', ica, { serial: Buffer.from('ff'.repeat(20), 'hex') });
  for (const [name, response, of = pair] of [
    ['SHA-1', answering({ hash: 'sha1' })],
    ['SHA-384', answering({ hash: 'sha384' })],
    ['a hash without parameters', answering({ algorithm: sequence(oid('2.16.840.1.101.3.4.2.1')) })],
    ['by key', answering({}, { by: 'key' })],
    ['by key, among others of its name', answering({}, { by: 'key', certificates: [twin, icaResponder] })],
    ['a critical nonce', answering({}, { extensions: [nonce] })],
    ['another extension', answering({ extensions: [extension('1.2.3', octets(Buffer.alloc(1)))] })],
    ['among others', respond(icaResponder, [{ about: icaResponder, issuer: ica, status: revoked() }, about])],
    ['two good answers', respond(icaResponder, [about, { ...about, hash: 'sha1' }])],
    ['a long serial', answering({ about: longSerial }), [longSerial.certificate, ica.certificate]],
  ] as [string, Buffer, Certificate[]?][])
    await assert.doesNotReject(judge([response], of, NOW_MS), name);
  const both = respond(icaResponder, [about]);
  await judge([both, respond(rootResponder, [{ about: ica, issuer: root }])], chain, NOW_MS);
  await judge([], [root.certificate], NOW_MS); // of a root alone, nobody says anything
  assert.equal(buildOcspRequest(longSerial.certificate, ica.certificate).length, 116);
  const tooLong = { ...leaf.certificate, serial: '01'.repeat(21) };
  assert.throws(() => buildOcspRequest(tooLong, ica.certificate), MalformedError);
});

test('dates: clocks may differ by five minutes where an answer begins, not where it ends', async () => {
  const response = answering({ thisUpdateMs: NOW_MS, nextUpdateMs: NOW_MS + 60_000 });
  for (const ms of [-300_000, 0, 60_000]) await judge([response], pair, NOW_MS + ms);
  for (const ms of [-300_001, 60_001])
    await assert.rejects(
      judge([response], pair, NOW_MS + ms),
      refusal('OCSP_EXPIRED', /^2030-06-15T12:00:00.000Z to /),
    );
  const endless = answering({ nextUpdateMs: null });
  await assert.rejects(judge([endless], pair, NOW_MS), refusal('OCSP_INVALID', /no nextUpdate/));
  const backwards = answering({ nextUpdateMs: NOW_MS - DAY_MS });
  await assert.rejects(judge([backwards], pair, NOW_MS), refusal('OCSP_EXPIRED'));
});

test('reasons', async () => {
  const reasons = ['unspecified', 'keyCompromise', 'cACompromise', 'affiliationChanged', 'superseded'];
  reasons.push('cessationOfOperation', 'certificateHold', '7', 'removeFromCRL', 'privilegeWithdrawn', 'aACompromise');
  for (const [reason, name] of [...reasons.entries(), [99, '99'] as const])
    await assert.rejects(
      judge([answering({ status: revoked(reason) })], pair, NOW_MS),
      refusal('CERTIFICATE_REVOKED', new RegExp(`^revoked: ${name}$`)),
    );
  const silent = answering({ status: revoked() });
  await assert.rejects(judge([silent], pair, NOW_MS), refusal('CERTIFICATE_REVOKED', /^revoked: no reason stated$/));
});

test('every answer on a certificate counts, wherever it stands', async () => {
  const good = answering();
  const ended = answering({ thisUpdateMs: NOW_MS - 2 * DAY_MS });
  for (const [bad, code] of [
    [answering({ status: revoked(1) }), 'CERTIFICATE_REVOKED'],
    [answering({ status: UNKNOWN }), 'OCSP_INVALID'],
    [answering({}, { key: leaf.privateKey }), 'OCSP_INVALID'],
    [ended, 'OCSP_EXPIRED'],
  ] as const) {
    await assert.rejects(judge([good, bad], pair, NOW_MS), refusal(code));
    await assert.rejects(judge([bad, good], pair, NOW_MS), refusal(code));
  }
  const mixed = respond(icaResponder, [about, { ...about, hash: 'sha384', status: revoked(6) }]);
  await assert.rejects(judge([mixed], pair, NOW_MS), refusal('CERTIFICATE_REVOKED', /certificateHold/));
});

test('who may not answer', async () => {
  const responder = (options: Parameters<typeof certify>[2], issuer: Party | null = ica) =>
    answering({}, {}, certify('ica responder', issuer, { extensions: [forOcsp, noCheck], ...options }));
  const twinOfIca = certify('ica', root, { ca: true });
  const unreadable = extension('2.5.29.37', octets(Buffer.alloc(3)));
  for (const [name, response, code, seen] of [
    ['no purposes', responder({ extensions: [noCheck] }), 'OCSP_INVALID', /no purpose/],
    ['other purposes', responder({ extensions: [forTls, noCheck] }), 'OCSP_INVALID', /3\.1$/],
    ['unreadable purposes', responder({ extensions: [unreadable, noCheck] }), 'OCSP_INVALID', /^DER/],
    ['revocable', responder({ extensions: [forOcsp] }), 'OCSP_INVALID', /nocheck/],
    [
      'a critical extension that nobody knows',
      responder({ extensions: [forOcsp, noCheck, extension('1.2.3', octets(Buffer.alloc(1)), true)] }),
      ...(['OCSP_INVALID', /^1\.2\.3$/] as const),
    ],
    ['no signing key', responder({ keyUsage: 0x08 }), 'OCSP_INVALID', /none/],
    ['ended', responder({ notAfterMs: NOW_MS - 1000 }), 'OCSP_EXPIRED', / to 2030-06-15T11:59:59/],
    ['not begun', responder({ notBeforeMs: NOW_MS + 1000 }), 'OCSP_EXPIRED', /2030-06-15T12:00:01/],
    ['of itself', responder({}, null), 'OCSP_INVALID', /by another/],
    ['of the root', responder({}, root), 'OCSP_INVALID', /by another/],
    ['of a responder', responder({}, icaResponder), 'OCSP_INVALID', /by another/],
    ['of a namesake', responder({}, twinOfIca), 'OCSP_INVALID', /by another/],
    ['of another name', responder({}, { ...ica, name: 'another' }), 'OCSP_INVALID', /by another/],
    ['of the leaf', responder({}, leaf), 'OCSP_INVALID', /by another/],
    ['a namesake of the authority', answering({}, {}, twinOfIca), 'OCSP_INVALID', /does not verify/],
    ['the leaf', answering({}, {}, leaf), 'OCSP_INVALID', /no purpose/],
    ['another key', answering({}, { key: leaf.privateKey }), 'OCSP_INVALID', /does not verify/],
    ['nobody shown', answering({}, { certificates: [] }), 'OCSP_INVALID', /another signer/],
    ['another shown', answering({}, { certificates: [leaf, rootResponder] }), 'OCSP_INVALID', /another signer/],
    ['another shown, by key', answering({}, { by: 'key', certificates: [leaf] }), 'OCSP_INVALID', /another signer/],
  ] as [string, Buffer, string, RegExp][])
    await assert.rejects(judge([response], pair, NOW_MS), refusal(code, seen), name);
});

test('an answer is about one certificate of one authority', async () => {
  const other = certify('leaf', ica);
  const twinOfIca = certify('ica', root, { ca: true });
  const renamed = { ...ica, name: 'another' };
  for (const response of [
    answering({ about: other }),
    answering({ issuer: twinOfIca }),
    answering({ issuer: renamed }),
    respond(rootResponder, [{ about: ica, issuer: root }]),
    respond(icaResponder, []),
  ])
    await assert.rejects(judge([response], pair, NOW_MS), refusal('OCSP_INVALID', /none in 1 responses/));
  await assert.rejects(judge([], pair, NOW_MS), refusal('OCSP_INVALID', /none in 0 responses/));
});

test('what is no response', () => {
  const whole = answering();
  const critical = [extension('1.2.3', octets(Buffer.alloc(1)), true)];
  const malformed: [name: string, der: Uint8Array, pattern?: RegExp][] = [
    ['unauthorized, as NVIDIA says of a leaf', Buffer.from('30030a0106', 'hex'), /status 6/],
    ...[1, 2, 3, 5, 6].map((status): [string, Buffer, RegExp] => [
      `status ${status} with an answer`,
      answering({}, { status: Buffer.from([status]) }),
      new RegExp(`status ${status}`),
    ]),
    ['successful without an answer', Buffer.from('30030a0100', 'hex')],
    ['no status', answering({}, { status: Buffer.alloc(0) }), /one octet/],
    ['status of two octets', answering({}, { status: Buffer.alloc(2) }), /one octet/],
    ['negative status', answering({}, { status: Buffer.from([0xff]) }), /one octet/],
    ['another type', answering({}, { type: '1.3.6.1.5.5.7.48.1.2' }), /basic/],
    ['a critical extension', answering({}, { extensions: critical }), /critical extension 1\.2\.3/],
    ['a critical extension of the answer', answering({ extensions: critical }), /critical extension 1\.2\.3/],
    ['good with contents', answering({ status: tlv(0x80, Buffer.alloc(1)) }), /contents/],
    ['unknown with contents', answering({ status: tlv(0x82, Buffer.alloc(1)) }), /contents/],
    ['constructed good', answering({ status: context(0) }), /tag/],
    ['no status of the certificate', answering({ status: Buffer.alloc(0) }), /tag/],
    ['two states', answering({ status: Buffer.concat([GOOD, GOOD]) }), /tag/],
    ['revoked at no time', answering({ status: context(1) }), /truncated/],
    ['MD5', answering({ algorithm: sequence(oid('1.2.840.113549.2.5'), tlv(0x05)) }), /not by SHA/],
    ['SHA-512', answering({ algorithm: sequence(oid('2.16.840.1.101.3.4.2.3'), tlv(0x05)) }), /not by SHA/],
    ['odd parameters', answering({ algorithm: sequence(oid('1.3.14.3.2.26'), tlv(0x05, Buffer.alloc(1))) })],
    ['bytes after the end', Buffer.concat([whole, Buffer.alloc(1)]), /after the end/],
    ['nothing', Buffer.alloc(0)],
    ['a certificate', leaf.der],
  ];
  for (const [name, der, pattern = /./] of malformed)
    assert.throws(
      () => parseOcspResponse(der),
      (error: unknown) => error instanceof MalformedError && pattern.test(error.message),
      name,
    );
  for (let length = 0; length < whole.length; length++)
    assert.throws(() => parseOcspResponse(whole.subarray(0, length)), MalformedError, `${length}`);
});

/** The encoding with NULL appended to each constructed value in turn; tags from the top say to which. */
function* lengthened(der: Buffer): Generator<[path: string, bent: Buffer]> {
  const sizeOf = (at: number) => (at < 0x80 ? 0 : at - 0x80); // octets of a long length
  if ((der[0]! & 0x20) === 0) return;
  const value = der.subarray(2 + sizeOf(der[1]!));
  const parts: Buffer[] = [];
  for (let at = 0; at < value.length; at += parts.at(-1)!.length) {
    const more = sizeOf(value[at + 1]!);
    const length = more ? value.readUIntBE(at + 2, more) : value[at + 1]!;
    parts.push(value.subarray(at, at + 2 + more + length));
  }
  yield ['', tlv(der[0]!, ...parts, tlv(0x05))];
  for (const [i, part] of parts.entries())
    for (const [path, bent] of lengthened(part)) yield [`${i}.${path}`, tlv(der[0]!, ...parts.with(i, bent))];
}

test('nothing may be appended inside a response', () => {
  const whole = answering({ status: revoked(1), extensions: [extension('1.2.3', octets(Buffer.alloc(1)))] });
  const basic = whole.subarray(whole.indexOf(oid('1.3.6.1.5.5.7.48.1.1')) + 11 + 4); // past the head of an OCTET STRING
  const wrap = (bytes: Buffer) =>
    sequence(tlv(0x0a, Buffer.alloc(1)), context(0, sequence(oid('1.3.6.1.5.5.7.48.1.1'), octets(bytes))));
  assert.deepEqual(wrap(basic), whole);
  const bent = [
    ...lengthened(whole),
    ...Array.from(lengthened(basic), ([path, bytes]) => [`basic ${path}`, wrap(bytes)] as const),
    ['after the basic response', wrap(Buffer.concat([basic, tlv(0x05)]))] as const,
  ].filter(([path]) => !/^basic (0|3)\.0\.0\./.test(path)); // inside a name; certificates have their own test
  assert.equal(bent.length, 20);
  for (const [path, der] of bent) assert.throws(() => parseOcspResponse(der), MalformedError, path);
});

const { seed } = runs();

/** SLOW=1 flips all 8 bits of every byte, otherwise one seeded bit of every byte. */
test(`no byte of a response can be changed (seed ${seed})`, async () => {
  const nonce = extension('1.3.6.1.5.5.7.48.1.2', octets(Buffer.alloc(16, 7)));
  const response = answering({}, { by: 'key', extensions: [nonce] });
  await judge([response], pair, NOW_MS);
  const outcomes: Record<string, number> = {};
  for (const [at] of response.entries())
    for (const bit of SLOW ? [0, 1, 2, 3, 4, 5, 6, 7] : [(seed + 5 * at) % 8]) {
      const flipped = Buffer.from(response);
      flipped[at]! ^= 1 << bit;
      const outcome = await judge([flipped], pair, NOW_MS).then(
        () => 'accepted',
        (error: unknown) => {
          if (error instanceof MalformedError) return 'malformed';
          assert.ok(error instanceof VerificationError, `offset ${at}: ${error}`);
          return error.code;
        },
      );
      assert.notEqual(outcome, 'accepted', `offset ${at}, bit ${bit}`);
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    }
  assert.deepEqual(Object.keys(outcomes).sort(), ['OCSP_INVALID', 'malformed']);
});

test('random bytes, and responses with random stretches, are malformed or refused', async () => {
  const response = answering();
  await fc.assert(
    fc.asyncProperty(
      fc.uint8Array({ minLength: 1, maxLength: 200 }),
      fc.nat(response.length - 1),
      async (bytes, at) => {
        const spliced = Buffer.concat([response.subarray(0, at), bytes, response.subarray(at + bytes.length)]);
        for (const der of [bytes, spliced])
          if (!response.equals(der))
            await assert.rejects(
              judge([der], pair, NOW_MS),
              (error: unknown) => error instanceof MalformedError || error instanceof VerificationError,
            );
      },
    ),
    runs(50),
  );
});
