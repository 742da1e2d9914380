/** Certificates and revocation lists, read and verified by OpenSSL. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import type { SoftTee } from '../src/index.ts';
import { call, collateralOf, getQuote, scratch, start } from './harness.ts';

const run = promisify(execFile);
const openssl = (...args: string[]) => run('openssl', args);
const available = await openssl('version').then(
  () => true,
  () => false,
);
if (!available && process.env.REQUIRE_SYSTEM === '1') throw new Error('needs openssl: run scripts/system-deps.sh');
const skip = available ? false : 'needs openssl: run scripts/system-deps.sh';

/** Everything that the TEE hands out, as PEM files of a scratch folder. */
async function files(t: TestContext, tee: SoftTee) {
  const dir = await scratch(t);
  const quote = await getQuote(tee);
  const collateral = await collateralOf(tee, quote);
  const put = async (name: string, text: string) => {
    await writeFile(join(dir, name), text);
    return join(dir, name);
  };
  const chain = /-----BEGIN[^\0]*/.exec(quote.toString('latin1'))![0];
  const crlPem = (der: number[] | string) =>
    `-----BEGIN X509 CRL-----\n${Buffer.from(der as number[])
      .toString('base64')
      .replace(/.{64}/g, '$&\n')}\n-----END X509 CRL-----\n`;
  const root = await put('root.pem', new X509Certificate(tee.rootDer).toString());
  const crls = await put('crls.pem', crlPem(collateral.pck_crl) + crlPem(collateral.root_ca_crl));
  const pckCrl = await put('pck-crl.pem', crlPem(collateral.pck_crl));
  const pckCa = await put('pck-ca.pem', collateral.pck_crl_issuer_chain);
  return {
    put,
    chain,
    root,
    crls,
    pckCrl,
    pckCa,
    pck: await put('pck.pem', chain),
    tcb: await put('tcb.pem', collateral.tcb_info_issuer_chain),
  };
}

suite('RFC 5280', { skip }, () => {
  test('openssl verifies PCK and TCB signing certificate with both revocation lists', async (t) => {
    const { root, crls, pckCa, pck, tcb } = await files(t, await start(t));
    const strict = ['-x509_strict', '-crl_check_all', '-CRLfile', crls, '-CAfile', root];
    await openssl('verify', ...strict, '-untrusted', pckCa, pck);
    await openssl('verify', ...strict, tcb);
  });

  const faults = [
    ['pck-revoked', /certificate revoked/],
    ['crl-expired', /CRL has expired/],
    ['wrong-root', /unable to get|signature failure|authority and subject key identifier mismatch|self-signed/i],
  ] as const;
  for (const [fault, message] of faults)
    test(`openssl refuses the PCK certificate under ${fault}`, async (t) => {
      const { root, crls, pckCa, pck } = await files(t, await start(t, { fault }));
      const arguments_ = ['-crl_check_all', '-CRLfile', crls, '-CAfile', root, '-untrusted', pckCa, pck];
      await assert.rejects(openssl('verify', ...arguments_), (error: { stderr: string }) => message.test(error.stderr));
    });

  test('every subject says that it is simulated, and the PCK certificate has the SGX extension', async (t) => {
    const tee = await start(t);
    const { put, chain, tcb } = await files(t, tee);
    const tls = await call<{ certificate_chain: string[] }>(tee, 'GetTlsKey', { subject: 'localhost' });
    const pems = [...chain.matchAll(/-----BEGIN.*?END CERTIFICATE-----\n/gs)].map(([text]) => text);
    assert.equal(pems.length, 3);
    for (const file of [
      tcb,
      ...(await Promise.all([...pems, ...tls.certificate_chain].map((p, i) => put(`${i}.pem`, p)))),
    ]) {
      const { stdout } = await openssl('x509', '-in', file, '-noout', '-text', '-nameopt', 'RFC2253');
      assert.match(stdout, /Subject: O=SIMULATED - NOT A TEE,CN=/);
      assert.match(stdout, /Signature Algorithm: ecdsa-with-SHA256/);
    }
    const parsed = await openssl(
      'asn1parse',
      '-in',
      await put('pck-leaf.pem', pems[0]!),
      '-strparse',
      await sgxOffset(await put('l.pem', pems[0]!)),
    );
    const oids = [...parsed.stdout.matchAll(/OBJECT +:1\.2\.840\.113741\.1\.13\.1\.(\S+)/g)].map(([, oid]) => oid);
    const tcbOids = Array.from({ length: 18 }, (_, i) => `2.${i + 1}`);
    assert.deepEqual(oids, ['1', '2', ...tcbOids, '3', '4', '5', '6', '7', '7.1', '7.2', '7.3']);
    assert.match(parsed.stdout, /\[HEX DUMP\]:00FF00FF00FF/);
  });

  test('openssl reads the revocation lists: issuer, number, reason, 30 days', async (t) => {
    const tee = await start(t, { fault: 'pck-revoked' });
    const { pckCrl, pckCa } = await files(t, tee);
    const { stdout, stderr } = await openssl('crl', '-in', pckCrl, '-noout', '-text', '-CAfile', pckCa);
    assert.match(stderr, /verify OK/);
    for (const expected of [/Version 2/, /X509v3 CRL Number/, /X509v3 Authority Key Identifier/, /Key Compromise/])
      assert.match(stdout, expected);
    const date = (name: string) => Date.parse(new RegExp(`${name}: (.*)`).exec(stdout)![1]!);
    assert.equal(date('Next Update') - date('Last Update'), 30 * 86_400_000);
  });
});

/** Where `asn1parse` finds the content of the SGX extension. */
async function sgxOffset(file: string): Promise<string> {
  const lines = (await openssl('asn1parse', '-in', file)).stdout.split('\n');
  const at = lines.findIndex((line) => line.endsWith(':1.2.840.113741.1.13.1'));
  return /^ *(\d+):/.exec(lines[at + 1]!)![1]!;
}
