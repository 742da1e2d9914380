/** Certificates and CRLs (RFC 5280): Intel's real ones, read also by OpenSSL (through Node) and by @peculiar/x509. */
import 'reflect-metadata';
import assert from 'node:assert/strict';
import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import * as peculiar from '@peculiar/x509';
import { equalBytes, MalformedError } from '../src/formats/bytes.ts';
import { formatPemChain, parsePemChain } from '../src/formats/pem.ts';
import { VerificationError } from '../src/index.ts';
import { parseCrl, verifyCrl, verifyCrlDates, verifyNotRevoked } from '../src/pki/crl.ts';
import { parsePublicKey } from '../src/pki/signature.ts';
import { parseCertificate, verifyChain, verifyDates } from '../src/pki/x509.ts';
import { parsePckPlatform } from '../src/tdx/pck-extension.ts';
import { octets, oid, sequence, tlv } from './support/der-writer.ts';
import { good } from './support/judge.ts';
import { collateralOf, NEAR_MS, readJson, skip } from './support/shared-data.ts';
import { makeCrl, NOW_MS, toPem } from './support/simulated-platform.ts';

const signer = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
const near = () => readJson('near-mpc/collateral.json');
const chains = () => [near().pck_certificate_chain, near().tcb_info_issuer_chain, near().pck_crl_issuer_chain];
const code = (expected: string) => (error: unknown) => error instanceof VerificationError && error.code === expected;

test('certificates of Intel read as OpenSSL reads them', { skip }, () => {
  const ders = chains().flatMap(parsePemChain);
  assert.equal(ders.length, 7);
  for (const der of ders) {
    const ours = parseCertificate(der);
    const theirs = new X509Certificate(der);
    assert.equal(ours.serial, theirs.serialNumber.toLowerCase().replace(/^00/, ''));
    assert.equal(ours.notBeforeMs, Date.parse(theirs.validFrom));
    assert.equal(ours.notAfterMs, Date.parse(theirs.validTo));
    assert.equal(ours.ca, theirs.ca);
    assert.deepEqual(Buffer.from(ours.spki), theirs.publicKey.export({ format: 'der', type: 'spki' }));
  }
});

test('PCK certificate names its platform', { skip }, () => {
  const [leaf] = parsePemChain(near().pck_certificate_chain);
  const platform = parsePckPlatform(parseCertificate(leaf!));
  assert.deepEqual(platform, {
    ...{ fmspc: 'b0c06f000000', pceId: '0000', ppid: platform.ppid, pceSvn: 11 },
    componentSvns: [4, 4, 2, 2, 4, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0],
  });
  assert.match(platform.ppid, /^d208dfb1/);
});

test('chains of Intel verify, and in no other order', { skip }, async () => {
  for (const [i, first] of (['leaf', 'leaf', 'ca'] as const).entries()) {
    const chain = parsePemChain(chains()[i]).map(parseCertificate);
    await verifyChain(chain, first);
    verifyDates(chain, NEAR_MS);
    await assert.rejects(verifyChain(chain.toReversed(), first), code('CERTIFICATE_INVALID'));
    await assert.rejects(verifyChain(chain, first === 'ca' ? 'leaf' : 'ca'), code('CERTIFICATE_INVALID'));
    await assert.rejects(verifyChain(chain.slice(0, 1), first), code('CERTIFICATE_INVALID'));
    assert.throws(() => verifyDates(chain, Date.parse('2017-01-01')), code('CERTIFICATE_INVALID'));
    assert.throws(() => verifyDates(chain, Date.parse('2051-01-01')), code('CERTIFICATE_INVALID'));
  }
});

test('CRLs of Intel read as @peculiar/x509 reads them, verify, and refuse their twins', { skip }, async () => {
  for (const path of ['near-mpc/collateral.json', 'dcap-qvl/tdx_quote_collateral.json']) {
    const collateral = collateralOf(path);
    const [ca, root] = parsePemChain(collateral.pck_crl_issuer_chain).map(parseCertificate);
    for (const [hex, issuer, other] of [
      [collateral.pck_crl, ca, root],
      [collateral.root_ca_crl, root, ca],
    ] as const) {
      const der = Buffer.from(hex, 'hex');
      const crl = parseCrl(der);
      const theirs = new peculiar.X509Crl(der);
      assert.equal(crl.thisUpdateMs, +theirs.thisUpdate);
      assert.equal(crl.nextUpdateMs, +theirs.nextUpdate!);
      assert.deepEqual(
        [...crl.revoked].sort(),
        theirs.entries.map((entry) => entry.serialNumber.replace(/^00/, '')).sort(),
      );
      await verifyCrl(crl, issuer!);
      await assert.rejects(verifyCrl(crl, other!), code('CRL_INVALID'));
      await assert.rejects(verifyCrl({ ...crl, tbs: crl.tbs.subarray(1) }, issuer!), code('CRL_INVALID'));
      verifyCrlDates(crl, crl.thisUpdateMs);
      verifyCrlDates(crl, crl.nextUpdateMs);
      assert.throws(() => verifyCrlDates(crl, crl.thisUpdateMs - 1), code('CRL_INVALID'));
      assert.throws(() => verifyCrlDates(crl, crl.nextUpdateMs + 1), code('CRL_EXPIRED'));
      const listed = { ...ca!, issuer: crl.issuer, serial: [...crl.revoked][0] ?? 'none' };
      if (crl.revoked.size > 0) assert.throws(() => verifyNotRevoked(listed, crl), code('CERTIFICATE_REVOKED'));
      verifyNotRevoked({ ...listed, issuer: ca!.issuer, serial: 'none' }, crl);
    }
  }
});

test('a certificate of the test platform reads as OpenSSL reads it', () => {
  for (const der of Object.values(good.certificates)) {
    const theirs = new X509Certificate(der);
    assert.equal(parseCertificate(der).ca, theirs.ca);
    assert.equal(parseCertificate(der).serial, theirs.serialNumber.toLowerCase().padStart(2, '0'));
  }
});

test('PEM has one form', () => {
  const { root, pckCa } = good.certificates;
  const pem = toPem(pckCa, root);
  assert.deepEqual(
    parsePemChain(pem).map((der) => Buffer.from(der)),
    [pckCa, root],
  );
  assert.equal(formatPemChain([pckCa, root]), pem);
  assert.ok(equalBytes(parsePemChain(pem.trimEnd())[1]!, root));
  assert.deepEqual(parsePemChain(''), []);
  for (const [name, other] of Object.entries({
    carriageReturns: pem.replaceAll('\n', '\r\n'),
    space: pem.replace('MII', 'MII '),
    blankLine: pem.replace('\n-----END', '\n\n-----END'),
    oneLongLine: pem.replace(/(?<=[A-Za-z0-9+/]{64})\n/, ''),
    textBefore: `x${pem}`,
    textAfter: `${pem}x`,
    otherLabel: pem.replaceAll('CERTIFICATE', 'TRUSTED CERTIFICATE'),
    noEnd: pem.slice(0, -10),
    unusedBits: toPem(Buffer.alloc(64)).replace('AA==', 'AB=='),
  }))
    assert.throws(() => parsePemChain(other), MalformedError, name);
});

/** The encoding with NULL appended to each constructed value in turn, and what was appended to: tags from the top. */
function* lengthened(der: Buffer): Generator<[path: string, bent: Buffer]> {
  const [tag] = der;
  const octets = der[1]! < 0x80 ? 0 : der[1]! - 0x80;
  const value = der.subarray(2 + octets);
  if (!tag || (tag & 0x20) === 0) return;
  const parts: Buffer[] = [];
  for (let at = 0; at < value.length; ) {
    const more = value[at + 1]! < 0x80 ? 0 : value[at + 1]! - 0x80;
    const length = more ? value.readUIntBE(at + 2, more) : value[at + 1]!;
    parts.push(value.subarray(at, at + 2 + more + length));
    at += 2 + more + length;
  }
  yield ['', tlv(tag, ...parts, Buffer.from('0500', 'hex'))];
  for (const [i, part] of parts.entries())
    for (const [path, bent] of lengthened(part)) yield [`${i}.${path}`, tlv(tag, ...parts.with(i, bent))];
}

test('nothing may be appended inside a certificate or a CRL', () => {
  const names = /^0\.[35]\./; // issuer and subject: compared as a whole
  const { pckCa, pck } = good.certificates;
  for (const der of [pckCa, pck])
    for (const [path, bent] of lengthened(der))
      if (!names.test(path.replace('0.4.', ''))) assert.throws(() => parseCertificate(bent), MalformedError, path);
  const crl = makeCrl(
    { issuer: 'x', thisUpdateMs: NOW_MS, nextUpdateMs: NOW_MS, revoked: [1, 2], extensions: [] },
    signer,
  );
  assert.equal(parseCrl(crl).revoked.size, 2);
  for (const [path, bent] of lengthened(crl))
    if (!/^0\.2\./.test(path)) assert.throws(() => parseCrl(bent), MalformedError, path);
  const sgx = parseCertificate(pck).extensions.get('1.2.840.113741.1.13.1')!;
  for (const [path, value] of lengthened(Buffer.from(sgx.value))) {
    if (path === '1.1.17.') continue; // CPUSVN, which repeats the components and is not read
    const extensions = new Map([['1.2.840.113741.1.13.1', { critical: false, value }]]);
    const read = () => parsePckPlatform({ ...parseCertificate(pck), extensions });
    assert.throws(read, MalformedError, path);
  }
});

test('certificates of another version, key or purpose are malformed', () => {
  const { tcbSigner, pck } = good.certificates;
  assert.throws(() => parsePckPlatform(parseCertificate(tcbSigner)), MalformedError); // no SGX extension
  const version1 = Buffer.from(pck);
  const at = pck.indexOf(Buffer.from('a003020102', 'hex'));
  version1[at + 4] = 0;
  assert.throws(() => parseCertificate(version1), /v3/);
  const bend = (der: Buffer, from: string, to: string) => Buffer.from(der.toString('hex').replace(from, to), 'hex');
  const { pckCa } = good.certificates;
  assert.equal(parseCertificate(pckCa).ca, true);
  assert.throws(() => parseCertificate(bend(pckCa, '30060101ff020100', '30060101ff050100')), MalformedError);
  assert.equal(parseCertificate(bend(pckCa, '0603551d13', '0603551d63')).ca, false); // no basic constraints
  assert.equal(parseCertificate(bend(pckCa, '0603551d0f', '0603551d63')).keyUsage, null);
  for (const namedCurve of ['P-521', 'secp256k1']) {
    const { publicKey } = generateKeyPairSync('ec', { namedCurve });
    assert.throws(() => parsePublicKey(publicKey.export({ format: 'der', type: 'spki' })), MalformedError);
  }
  const members = sequence(sequence(oid('1.2.840.113741.1.13.1.3'), octets(Buffer.alloc(2))));
  const twice = sequence(...[0, 0].map(() => sequence(oid('1.2.840.113741.1.13.1.3'), octets(Buffer.alloc(2)))));
  for (const value of [members, twice]) {
    const extensions = new Map([['1.2.840.113741.1.13.1', { critical: false, value }]]);
    assert.throws(
      () => parsePckPlatform({ ...parseCertificate(pck), extensions }),
      value === twice ? /twice/ : /no member/,
    );
  }
});
