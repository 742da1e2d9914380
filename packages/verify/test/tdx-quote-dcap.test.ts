/**
 * Real TDX quotes with Intel's real collateral, at fixed times within its validity. Verdicts agree with
 * @phala/dcap-qvl where both accept; what that library (0.3.9) lets through is refused here.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type Check,
  parsePolicy,
  readQuotePlatform,
  type TdxCollateral,
  type Verdict,
  type VerificationCode,
  verifyEvidence,
} from '../src/index.ts';
import { parseTdxQuote } from '../src/tdx/tdx-quote.ts';
import { failures, statusOf } from './support/judge.ts';
import * as data from './support/shared-data.ts';

const { skip, NEAR_MS, DCAP_MS } = data;
const none = parsePolicy({ version: 1 });

const verify = (quote: Uint8Array, collateral: TdxCollateral | null, nowMs: number): Promise<Verdict> =>
  verifyEvidence({
    evidence: data.wrap(quote, collateral),
    policy: none,
    nowMs,
    expect: { nonce: '00'.repeat(32), tlsSpkiSha256: null },
  });

/** The checks of the platform: all before the event log. */
const platformChecks = ({ checks }: Verdict): Check[] =>
  checks.slice(
    0,
    checks.findIndex(({ id }) => id === 'event-log'),
  );
const platformFailures = (verdict: Verdict) => failures(platformChecks(verdict));

test('near-mpc: platform, OS and code hold; only the preimage of report_data is not ours', { skip }, async () => {
  const info = data.nearTcbInfo();
  const policy = parsePolicy({
    version: 1,
    codeHashes: [`sha256:${info.compose_hash}`],
    osMeasurements: [{ name: 'dstack', mrtd: info.mrtd, rtmr0: info.rtmr0, rtmr1: info.rtmr1, rtmr2: info.rtmr2 }],
  });
  const verdict = await verifyEvidence({
    evidence: data.wrap(data.nearQuote(), data.nearCollateral(), info),
    policy,
    nowMs: NEAR_MS,
    expect: { nonce: '00'.repeat(32), tlsSpkiSha256: null },
  });
  assert.deepEqual(failures(verdict.checks), ['report-data: REPORT_DATA_MISMATCH']);
  const { checks, ...rest } = verdict;
  assert.deepEqual(rest, {
    ...{ scope: 'service', valid: false, send: 'nothing', teeType: 'intel-tdx', gpuTeeEnabled: false, gpus: [] },
    compliance: { hipaa: null },
    requested: { hipaa: true, baaSigned: false, attestationPublic: true },
    trust: 'intel-tdx',
    trustRootSha256: '44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3',
    evidenceId: rest.evidenceId,
    codeHash: `sha256:${info.compose_hash}`,
    ...{ tcbStatus: 'UpToDate', advisories: [] },
  });
  const ran = Object.entries(statusOf(checks)).filter(([, status]) => status === 'pass');
  assert.equal(ran.length, 16);
  assert.deepEqual(readQuotePlatform(data.nearQuote()), { fmspc: 'b0c06f000000', ca: 'platform' });
});

test('near-mpc: each member of the allow-list counts', { skip }, async () => {
  const info = data.nearTcbInfo();
  const image = { name: 'dstack', mrtd: info.mrtd, rtmr0: info.rtmr0, rtmr1: info.rtmr1, rtmr2: info.rtmr2 };
  for (const register of ['mrtd', 'rtmr0', 'rtmr1', 'rtmr2']) {
    const verdict = await verifyEvidence({
      evidence: data.wrap(data.nearQuote(), data.nearCollateral(), info),
      policy: parsePolicy({ version: 1, osMeasurements: [{ ...image, [register]: '00'.repeat(48) }] }),
      nowMs: NEAR_MS,
      expect: { nonce: '00'.repeat(32), tlsSpkiSha256: null },
    });
    assert.ok(failures(verdict.checks).includes('os-measurement: OS_MEASUREMENT_UNLISTED'), register);
  }
});

test('one quote, two dates: up to date in 2025, out of date under the collateral of 2026', { skip }, async () => {
  const early = await verify(data.dcapQuote(), data.dcapCollateral(), DCAP_MS);
  assert.deepEqual(platformFailures(early), []);
  assert.deepEqual([early.tcbStatus, early.advisories], ['UpToDate', []]);
  const late = await verify(data.dcapQuote(), data.nearCollateral(), NEAR_MS);
  assert.deepEqual(platformFailures(late), ['tcb-status: TCB_OUT_OF_DATE']);
  assert.deepEqual(late.advisories, ['INTEL-SA-01192', 'INTEL-SA-01245', 'INTEL-SA-01312', 'INTEL-SA-01313']);
  assert.deepEqual([late.tcbStatus, late.trust], ['OutOfDate', 'intel-tdx']);
});

const quotes = (): Record<string, Uint8Array> => ({
  near: data.nearQuote(),
  dcap: data.dcapQuote(),
  simulator: data.simulatorAttestation().quote,
  old: data.read('dstack/misc/tdx_quote'),
  gpu: Buffer.from(data.readJson('dstack/verifier-fixtures/quote-report.json').quote, 'hex'),
});

test('agrees with @phala/dcap-qvl on every quote under every collateral', { skip }, async () => {
  const collaterals = { near: data.nearCollateral(), dcap: data.dcapCollateral() };
  const dates = { near: NEAR_MS, dcap: DCAP_MS };
  const seen: Record<string, string> = {};
  for (const [name, quote] of Object.entries(quotes()))
    for (const set of ['near', 'dcap'] as const) {
      const ours = await verify(quote, collaterals[set], dates[set]);
      let theirs: string;
      try {
        const { status, advisory_ids } = data.qvl.verify(Buffer.from(quote), collaterals[set], dates[set] / 1000);
        theirs = [status, ...advisory_ids.toSorted()].join(' ');
        assert.equal([ours.tcbStatus, ...ours.advisories].join(' '), theirs, `${name} under ${set}`);
        assert.deepEqual(platformFailures(ours), status === 'UpToDate' ? [] : ['tcb-status: TCB_OUT_OF_DATE']);
      } catch (error) {
        if (error instanceof assert.AssertionError) throw error;
        theirs = 'refused';
        assert.notDeepEqual(platformFailures(ours), [], `${name} under ${set}`);
      }
      seen[`${name} under ${set}`] = theirs.split(' ')[0]!;
    }
  assert.deepEqual(seen, {
    ...{ 'near under near': 'UpToDate', 'near under dcap': 'refused' },
    ...{ 'dcap under near': 'OutOfDate', 'dcap under dcap': 'UpToDate' },
    ...{ 'simulator under near': 'UpToDate', 'simulator under dcap': 'refused' },
    ...{ 'old under near': 'refused', 'old under dcap': 'refused' },
    ...{ 'gpu under near': 'refused', 'gpu under dcap': 'refused' },
  });
});

const flip = (hex: string, fromEnd: number): string => {
  const bytes = Buffer.from(hex, 'hex');
  bytes[bytes.length - fromEnd]! ^= 1;
  return bytes.toString('hex');
};
const put = (change: Partial<TdxCollateral> | ((c: TdxCollateral) => Partial<TdxCollateral>)) => (c: TdxCollateral) =>
  Object.assign(c, typeof change === 'function' ? change(c) : change);
const bit = (at: number | ((quote: Buffer) => number)) => (quote: Buffer) => {
  quote[typeof at === 'number' ? at : at(quote)]! ^= 1;
  return quote;
};

interface Manipulation {
  code: VerificationCode;
  quote?: (quote: Buffer) => Buffer;
  collateral?: (collateral: TdxCollateral) => void;
  nowMs?: number;
  /** @phala/dcap-qvl 0.3.9 accepts this. */
  qvlAccepts?: true;
}

const MANIPULATIONS: Record<string, Manipulation> = {
  report_data: { code: 'SIGNATURE_INVALID', quote: bit(568) },
  RTMR3: { code: 'SIGNATURE_INVALID', quote: bit(520) },
  td_attributes: { code: 'SIGNATURE_INVALID', quote: bit(168) },
  'header user data': { code: 'SIGNATURE_INVALID', quote: bit(30) },
  'quote signature': { code: 'SIGNATURE_INVALID', quote: bit(639) },
  'attestation key': { code: 'SIGNATURE_INVALID', quote: bit(703) },
  'QE report': { code: 'SIGNATURE_INVALID', quote: bit(780) },
  'QE authentication data': { code: 'SIGNATURE_INVALID', quote: bit(1221) },
  'PCK certificate byte': {
    code: 'CERTIFICATE_INVALID',
    quote: bit((q) => q.indexOf('-----BEGIN CERTIFICATE-----') + 200),
  },
  'TCB info edited': {
    code: 'COLLATERAL_INVALID',
    collateral: put((c) => ({ tcb_info: c.tcb_info.replace('OutOfDate', 'UpToDate') })),
  },
  'TCB info signature': {
    code: 'COLLATERAL_INVALID',
    collateral: put((c) => ({ tcb_info_signature: flip(c.tcb_info_signature, 3) })),
  },
  'QE identity edited': {
    code: 'COLLATERAL_INVALID',
    collateral: put((c) => ({ qe_identity: c.qe_identity.replace('"isvsvn":', '"isvsvn": ') })),
  },
  'QE identity signature': {
    code: 'COLLATERAL_INVALID',
    collateral: put((c) => ({ qe_identity_signature: flip(c.qe_identity_signature, 3) })),
  },
  expired: { code: 'COLLATERAL_EXPIRED', nowMs: Date.parse('2025-08-01T00:00:00Z') },
  'before issue': { code: 'COLLATERAL_EXPIRED', nowMs: Date.parse('2025-06-19T10:16:00Z') },
  'collateral left out': { code: 'COLLATERAL_MISSING', collateral: () => {} },
  'PCK CRL signature': {
    code: 'CRL_INVALID',
    collateral: put((c) => ({ pck_crl: flip(c.pck_crl, 5) })),
    qvlAccepts: true,
  },
  'PCK CRL empty': { code: 'CRL_INVALID', collateral: put({ pck_crl: '' }), qvlAccepts: true },
  'PCK CRL garbage': { code: 'CRL_INVALID', collateral: put({ pck_crl: 'deadbeef' }), qvlAccepts: true },
  'root CRL garbage': { code: 'CRL_INVALID', collateral: put({ root_ca_crl: 'deadbeef' }), qvlAccepts: true },
  'root CRL as PCK CRL': {
    code: 'CRL_INVALID',
    collateral: put((c) => ({ pck_crl: c.root_ca_crl })),
    qvlAccepts: true,
  },
  'CRL issuer chain garbage': {
    code: 'CRL_INVALID',
    collateral: put({ pck_crl_issuer_chain: 'garbage' }),
    qvlAccepts: true,
  },
  'trailing byte': { code: 'QUOTE_MALFORMED', quote: (q) => Buffer.concat([q, Buffer.from('x')]), qvlAccepts: true },
  'auth_data size + 1': { code: 'QUOTE_MALFORMED', quote: bit(632), qvlAccepts: true },
};
// The rows that need another signer (TDX module named by signed TCB info, listed PCK, signed DEBUG TD, wrong root) stand
// in verify-evidence-refusals.test.ts.

for (const [name, { code, quote, collateral, nowMs = DCAP_MS, qvlAccepts }] of Object.entries(MANIPULATIONS))
  test(`refused with ${code}: ${name}${qvlAccepts ? ' (dcap-qvl accepts)' : ''}`, { skip }, async () => {
    const bentQuote = quote?.(data.dcapQuote()) ?? data.dcapQuote();
    const bent = data.dcapCollateral();
    collateral?.(bent);
    const verdict = await verify(bentQuote, code === 'COLLATERAL_MISSING' ? null : bent, nowMs);
    const codes = platformChecks(verdict).flatMap((check) => check.code ?? []);
    assert.ok(codes.includes(code), codes.join());
    assert.notEqual(
      verdict.checks.find((check) => check.code === code),
      undefined,
    );
    if (qvlAccepts) data.qvl.verify(Buffer.from(bentQuote), bent, nowMs / 1000); // when it learns this, the note above is old
  });

test('CRLs past their next update are refused, which dcap-qvl does not ask', { skip }, async () => {
  const collateral = { ...data.nearCollateral(), pck_crl: data.dcapCollateral().pck_crl };
  const verdict = await verify(data.nearQuote(), collateral, NEAR_MS);
  assert.deepEqual(platformFailures(verdict), ['revocation-lists: CRL_EXPIRED']);
  data.qvl.verify(data.nearQuote(), collateral, NEAR_MS / 1000);
});

test('quotes of SGX and of another vendor test PKI are refused', { skip }, async () => {
  const sgx = await verify(data.read('teekit/sgx/quote.dat'), null, DCAP_MS);
  assert.deepEqual(platformFailures(sgx), ['quote-format: QUOTE_UNSUPPORTED']);
  const testPki = await verify(data.read('teekit/tdx/quote.dat'), null, DCAP_MS);
  assert.notEqual(testPki.trust, 'intel-tdx');
  assert.equal(testPki.send, 'nothing');
});

test('fields of a real quote', { skip }, () => {
  const { report, pckChain, qeAuthData } = parseTdxQuote(data.nearQuote());
  const info = data.nearTcbInfo();
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
  assert.deepEqual(
    [hex(report.mrtd), hex(report.rtmr0), hex(report.rtmr1), hex(report.rtmr2)],
    [info.mrtd, info.rtmr0, info.rtmr1, info.rtmr2],
  );
  assert.equal(hex(report.mrConfigId).slice(0, 66), `01${info.compose_hash}`);
  assert.equal(hex(report.xfam), 'e702060000000000');
  assert.equal(qeAuthData.length, 32);
  assert.equal(pckChain.length, 3);
});
