/**
 * A real report of AMD SEV-SNP: version 3, Milan, signed by a VCEK (dstack/sev-snp in SOURCES.md), up to AMD's own root.
 * Read also by OpenSSL, through Node.
 */
import assert from 'node:assert/strict';
import { verify, X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { parsePemChain } from '../src/formats/pem.ts';
import { type EvidenceFiles, parsePolicy, VerificationError, VerifiedCache, verifyFiles } from '../src/index.ts';
import { parseCertificate } from '../src/pki/x509.ts';
import { AMD_ROOTS_SHA256 } from '../src/roots.ts';
import { parseSnpReport } from '../src/snp/snp-report.ts';
import { parseSnpTcb, writeSnpTcb } from '../src/snp/snp-tcb.ts';
import { failures, statusOf } from './support/judge.ts';
import { runs, SLOW } from './support/property.ts';
import * as data from './support/shared-data.ts';
import { toPem } from './support/simulated-platform.ts';
import { goodSnp, simulateSnp } from './support/simulated-snp.ts';

const { skip } = data;
const NOW_MS = Date.parse('2026-11-01T00:00:00Z'); // VCEK: 2026-06-17 to 2033-06-17
const CHIP_ID =
  '38d174589d2dff97a6d40cb9f9d90b9507c027491219083cef3ce73ed18f7289142d941ad61eabecd27d25f268c1095d665f6001358e98a4769c82734a6bb877';
const MEASUREMENT =
  '7f51e17f72a04d5422cb2c0099816653' + '6019a217376f3aa45a630e59c805a599' + '847ff250dbffcd07e1ba639771d6f05d';
/** What the certificate says; the firmware that runs has SNP 24. */
const MINIMUM = { product: 'Milan', bootLoader: 4, tee: 0, snp: 23, microcode: 213 };

const report = () => data.read('dstack/sev-snp/report.bin');
const pem = (path: string) => data.read(path).toString('latin1');
const vcek = () => pem('dstack/sev-snp/sev_snp_vcek.pem');
const ask = () => pem('dstack/sev-snp/sev_snp_ask.pem');
const ark = () => pem('roots/amd-ark-milan.pem');
const der = (text: string): Uint8Array => parsePemChain(text)[0]!;
const chain = (...certificates: string[]) => toPem(...certificates.map(der));

const cache = new VerifiedCache();
const judge = (files: EvidenceFiles = {}, policy: object = {}, nowMs = NOW_MS) =>
  verifyFiles(
    { snpReport: report(), certificates: chain(vcek(), ask(), ark()), ...files },
    { policy: parsePolicy({ version: 1, snpMinimumTcb: [MINIMUM], platformIds: [CHIP_ID], ...policy }), nowMs, cache },
  );

test('fields of a real report', { skip }, () => {
  const parsed = parseSnpReport(report());
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
  assert.equal(Buffer.from(parsed.reportData).toString('latin1').replace(/\0+$/, ''), 'attest-test-fixture-2026');
  assert.equal(hex(parsed.measurement), MEASUREMENT);
  assert.match(hex(parsed.hostData), /^783f0057820acb99/);
  assert.equal(hex(parsed.chipId), CHIP_ID);
  const { version, policy, vmpl, platformInfo, signingKey, product } = parsed;
  assert.deepEqual(
    { version, policy, vmpl, platformInfo, signingKey, product },
    { version: 3, policy: 0x30000n, vmpl: 0, platformInfo: 0x25n, signingKey: 'VCEK', product: 'Milan' },
  );
  const tcb = (bytes: Uint8Array) => writeSnpTcb(parseSnpTcb(bytes, 'Milan'));
  assert.equal(tcb(parsed.reportedTcb), 'fmc 0, bootLoader 4, tee 0, snp 23, microcode 213');
  for (const other of [parsed.currentTcb, parsed.committedTcb, parsed.launchTcb])
    assert.equal(tcb(other), 'fmc 0, bootLoader 4, tee 0, snp 24, microcode 213');
});

test('OpenSSL finds the same signature over the same bytes', { skip }, () => {
  const { signed, signature } = parseSnpReport(report());
  const [leaf, ca, root] = [vcek(), ask(), ark()].map((text) => new X509Certificate(text));
  assert.ok(verify('sha384', signed, { key: leaf!.publicKey, dsaEncoding: 'ieee-p1363' }, signature));
  assert.ok(leaf!.verify(ca!.publicKey) && ca!.verify(root!.publicKey) && root!.verify(root!.publicKey));
  assert.deepEqual(AMD_ROOTS_SHA256, [root!.fingerprint256.replaceAll(':', '').toLowerCase()]);
});

test('a real report verifies up to the root of AMD', { skip }, async () => {
  const verdict = await judge();
  assert.deepEqual(failures(verdict.checks), []);
  const checked = ['quote-format', 'trust-root', 'certificate-chain', 'quote-signature', 'tcb-status', 'platform-id'];
  for (const id of [...checked, 'td-attributes']) assert.equal(statusOf(verdict.checks)[id], 'pass', id);
  assert.equal(statusOf(verdict.checks)['revocation-lists'], 'not-run'); // AMD's list is not in the data
  assert.equal(verdict.trust, 'amd-sev-snp');
  assert.equal(verdict.trustRootSha256, AMD_ROOTS_SHA256[0]);
  assert.equal(verdict.teeType, 'amd-sev-snp');
  assert.equal(verdict.tcbStatus, 'fmc 0, bootLoader 4, tee 0, snp 23, microcode 213');
  assert.equal(verdict.send, 'nothing'); // files are no service
});

const REFUSED: [title: string, failed: string, files: () => EvidenceFiles, policy?: object, nowMs?: number][] = [
  ['before the VCEK', 'certificate-chain: CERTIFICATE_INVALID', () => ({}), {}, Date.parse('2026-06-17T00:00:00Z')],
  ['after the VCEK', 'certificate-chain: CERTIFICATE_INVALID', () => ({}), {}, Date.parse('2033-06-18T00:00:00Z')],
  ['a minimum of SNP 24', 'tcb-status: TCB_OUT_OF_DATE', () => ({}), { snpMinimumTcb: [{ ...MINIMUM, snp: 24 }] }],
  ['another machine', 'platform-id: PLATFORM_UNLISTED', () => ({}), { platformIds: ['00'.repeat(64)] }],
  ['without the root', 'certificate-chain: CERTIFICATE_INVALID', () => ({ certificates: chain(vcek(), ask()) })],
  ['the ASK as VCEK', 'certificate-chain: CERTIFICATE_INVALID', () => ({ certificates: chain(ask(), ask(), ark()) })],
  ['the ARK as ASK', 'certificate-chain: CERTIFICATE_INVALID', () => ({ certificates: chain(vcek(), ark(), ark()) })],
  ['the ASK as root', 'certificate-chain: CERTIFICATE_INVALID', () => ({ certificates: chain(vcek(), ask(), ask()) })],
  ['the other order', 'certificate-chain: CERTIFICATE_INVALID', () => ({ certificates: chain(ark(), ask(), vcek()) })],
];
for (const [title, failed, files, policy, nowMs] of REFUSED)
  test(`a real report is refused: ${title}`, { skip }, async () => {
    assert.deepEqual(failures((await judge(files(), policy, nowMs)).checks), [failed]);
  });

test('a root that says it is ARK-Milan and is not', { skip }, async () => {
  const impostor = goodSnp('Milan', 'VCEK', 3);
  const subject = Buffer.from(parseCertificate(der(ark())).subject);
  Object.assign(impostor.certificates.root, { subject, issuer: subject });
  impostor.certificates.ca.issuer = subject;
  const [, , root] = parsePemChain(simulateSnp(impostor).certificates);
  const verdict = await judge({ certificates: toPem(der(vcek()), der(ask()), root!) });
  const check = verdict.checks.find(({ id }) => id === 'certificate-chain');
  assert.equal(check?.code, 'CERTIFICATE_INVALID');
  assert.equal(check?.expected, 'certificate 1 of the chain signed by its issuer');
  // A whole chain of somebody's own holds together, and ends at nobody's root.
  const { report, certificates } = simulateSnp(impostor);
  const own = await judge(
    { snpReport: report, certificates },
    { platformIds: null },
    Date.parse('2030-06-15T12:00:00Z'),
  );
  assert.deepEqual(failures(own.checks), ['trust-root: ROOT_UNTRUSTED']);
  assert.equal(own.trust, 'simulated');
  assert.equal(own.valid, false);
});

test('the VCEK of another chip is called that, not a bad signature', { skip }, async () => {
  const other = report();
  other[0x1a0]! ^= 1;
  const verdict = await judge({ snpReport: other });
  assert.deepEqual(failures(verdict.checks), ['quote-signature: PLATFORM_MISMATCH']);
  const stale = report();
  stale[0x186] = 24; // the host has raised its reported TCB; the certificate is still for 23
  assert.deepEqual(failures((await judge({ snpReport: stale })).checks), ['quote-signature: PLATFORM_MISMATCH']);
});

const { seed } = runs();
const bitOf = (offset: number): number => 1 << ((seed + offset) % 8);
const offsetsOf = (length: number, step: number) =>
  Array.from({ length: Math.ceil(length / step) }, (_, index) => (index * step + (seed % step)) % length);

test(`no byte of a real report can change (seed ${seed})`, { skip }, async () => {
  const accepted: number[] = [];
  for (let offset = 0; offset < report().length; offset++) {
    const changed = report();
    changed[offset]! ^= bitOf(offset);
    const { checks, trust } = await judge({ snpReport: changed });
    const [failed, ...rest] = failures(checks);
    if (!failed || rest.length > 0 || trust !== 'none') accepted.push(offset);
  }
  assert.deepEqual(accepted, []);
});

test(`no byte of the chain can change (seed ${seed})`, { skip }, async () => {
  const good = Buffer.from(chain(vcek(), ask(), ark()), 'latin1');
  const accepted: number[] = [];
  for (const offset of offsetsOf(good.length, SLOW ? 1 : 5)) {
    const changed = Buffer.from(good);
    changed[offset]! ^= bitOf(offset);
    const { checks } = await judge({ certificates: changed.toString('latin1') });
    if (failures(checks).length === 0) accepted.push(offset);
  }
  assert.deepEqual(accepted, []);
});

test('no report of another length', { skip }, () => {
  for (const length of [0, 1, 0x2a0, 1183])
    assert.throws(
      () => parseSnpReport(report().subarray(0, length)),
      (error: unknown) => error instanceof VerificationError && error.code === 'QUOTE_MALFORMED',
    );
});
