/** One change, one refusal with its own code: nothing else fails, and what does not depend on it still runs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CHECKS, type CheckId, parsePolicy, type VerificationCode } from '../src/index.ts';
import { type Change, failures, good, judge, pins, signed, statusOf, unsigned } from './support/judge.ts';
import { extension, NOW_MS, runtimeEvent } from './support/simulated-platform.ts';

const replace = (from: string | RegExp, to: string) => (old: string) => old.replace(from, to);
const add = (item: unknown) => (old: unknown[]) => [...old, item];
const critical = (id: string) => extension(id, Buffer.from('3000', 'hex'), true);
const LATE = NOW_MS - 1000;
const EARLY = NOW_MS + 1000;
const ZERO_DIGEST = '00'.repeat(32);
const floor = { policy: { minTcbEvaluationDataNumber: 20 } };
const version5 = (bodyType: 1 | 2 | 3, mrServiceTd = '00'.repeat(48)): Change => ({
  bend({ td }) {
    Object.assign(td, { header: td.header.replace(/^04/, '05'), bodyType, mrServiceTd });
  },
});
/** A guest of TDX 1.5 under which the module was exchanged for one with these first two security versions. */
const exchanged = (svns: string): Change => ({
  bend({ td }) {
    Object.assign(td, { header: td.header.replace(/^04/, '05'), bodyType: 3, teeTcbSvn2: `${svns}${'02'.repeat(14)}` });
  },
});
const outsideMask: Change = {
  bend({ td, tcbInfo }) {
    td.seamAttributes = '01'.padEnd(16, '0');
    for (const identity of tcbInfo.tdxModuleIdentities) identity.attributesMask = '00'.repeat(8);
  },
};
const grace = (days: number, advisories = ['INTEL-SA-00001']) => ({
  ...{
    status: 'OutOfDate' as const,
    until: new Date(NOW_MS + days * 86_400_000).toISOString().replace('.000Z', 'Z'),
    advisories,
  },
});
const platform = (ppid: string) => ({ policy: { platformIds: [ppid] } });
/** A TDX module of version 0, which has no levels of its own. */
const versionZero = (svn: string, mrsigner = '00'.repeat(48)): Change => ({
  bend({ td, tcbInfo }) {
    td.teeTcbSvn = td.teeTcbSvn.replace('0b01', `${svn}00`);
    tcbInfo.tdxModule.mrsigner = mrsigner;
    for (const { tcb } of tcbInfo.tcbLevels) tcb.tdxtcbcomponents[1] = { svn: 0 };
  },
});

const TABLE: Partial<Record<CheckId, [name: string, code: VerificationCode, change: Change][]>> = {
  'evidence-format': [
    ['version 2', 'EVIDENCE_MALFORMED', unsigned('version', 2)],
    ['another TEE', 'EVIDENCE_MALFORMED', unsigned('teeType', 'amd-sev-snp')],
    ['upper-case hex', 'EVIDENCE_MALFORMED', unsigned('quote', (old) => old.toUpperCase())],
    ['short nonce', 'EVIDENCE_MALFORMED', unsigned('reportData.nonce', '11')],
    ['register 4', 'EVIDENCE_MALFORMED', unsigned('eventLog.3.imr', 4)],
    ['no digest in RTMR0', 'EVIDENCE_MALFORMED', unsigned('eventLog.0.digest', '')],
    ['lone surrogate', 'EVIDENCE_MALFORMED', unsigned('appCompose', '\ud800')],
    ['300 events', 'EVIDENCE_MALFORMED', unsigned<object[]>('eventLog', (old) => Array(300).fill(old[0]))],
    ['huge compose', 'EVIDENCE_MALFORMED', unsigned('appCompose', 'x'.repeat(2 ** 18 + 1))],
  ],
  'quote-format': [
    ['quote version 6', 'QUOTE_UNSUPPORTED', signed('td.header', replace(/^04/, '06'))],
    ['version 4 with the body of version 5', 'QUOTE_MALFORMED', signed('td.bodyType', 3)],
    ['version 5 with the body of version 4', 'QUOTE_UNSUPPORTED', signed('td.header', replace(/^04/, '05'))],
    ['version 5 of an SGX enclave', 'QUOTE_UNSUPPORTED', version5(1)],
    ['key of another type', 'QUOTE_UNSUPPORTED', signed('td.header', replace('0400020', '0400030'))],
    ['SGX quote', 'QUOTE_UNSUPPORTED', signed('td.header', replace('81', '00'))],
    ['other QE vendor', 'QUOTE_UNSUPPORTED', signed('td.header', replace('939a', '939b'))],
    ['a byte after the end', 'QUOTE_MALFORMED', signed('padding', () => Buffer.from([0, 0, 1]))],
    ['truncated', 'QUOTE_MALFORMED', unsigned('quote', (old) => old.slice(0, -200))],
    ['empty', 'QUOTE_MALFORMED', unsigned('quote', '00')],
    ['PCK chain without its root', 'QUOTE_MALFORMED', signed('quoteChain', ['pck', 'pckCa'])],
    ['PCK chain of one', 'QUOTE_MALFORMED', signed('quoteChain', ['pck'])],
    ['PCK chain of four', 'QUOTE_MALFORMED', signed('quoteChain', ['pck', 'pckCa', 'root', 'root'])],
    ['no PCK chain', 'QUOTE_MALFORMED', signed('quoteChain', [])],
    // offset 764: type of the certification data
    [
      'PCK chain in place of the QE report',
      'QUOTE_UNSUPPORTED',
      unsigned('quote', (old) => `${old.slice(0, 1528)}05${old.slice(1530)}`),
    ],
  ],
  'certificate-chain': [
    ['PCK issued by another name', 'CERTIFICATE_INVALID', signed('certificates.pck.issuer', 'other')],
    ['PCK certificate that its CA has not signed', 'CERTIFICATE_INVALID', signed('forged', ['pck'])],
    ['PCK CA that the root has not signed', 'CERTIFICATE_INVALID', signed('forged', ['pckCa'])],
    ['root that has not signed itself', 'CERTIFICATE_INVALID', signed('forged', ['root'])],
    ['expired PCK certificate', 'CERTIFICATE_INVALID', signed('certificates.pck.notAfterMs', LATE)],
    ['PCK CA not yet valid', 'CERTIFICATE_INVALID', signed('certificates.pckCa.notBeforeMs', EARLY)],
    ['expired root', 'CERTIFICATE_INVALID', signed('certificates.root.notAfterMs', LATE)],
    ['PCK certificate that is a CA', 'CERTIFICATE_INVALID', signed('certificates.pck.ca', true)],
    ['PCK CA that is none', 'CERTIFICATE_INVALID', signed('certificates.pckCa.ca', false)],
    ['PCK CA without keyCertSign', 'CERTIFICATE_INVALID', signed('certificates.pckCa.keyUsage', 0x02)],
    ['PCK without digitalSignature', 'CERTIFICATE_INVALID', signed('certificates.pck.keyUsage', 0x40)],
    ['root that allows no CA below', 'CERTIFICATE_INVALID', signed('certificates.root.pathLength', 0)],
    [
      'unknown critical extension',
      'CERTIFICATE_INVALID',
      signed('certificates.pck.extensions', add(critical('1.2.3'))),
    ],
    ['extension twice', 'CERTIFICATE_INVALID', signed('certificates.pck.extensions', add(critical('2.5.29.19')))],
    ['SGX extension with 15 components', 'CERTIFICATE_INVALID', signed('pck.componentSvns', Array(15).fill(2))],
    ['FMSPC of 5 bytes', 'CERTIFICATE_INVALID', signed('pck.fmspc', '00ff00ff00')],
  ],
  'revocation-lists': [
    ['PCK on the CRL of its CA', 'CERTIFICATE_REVOKED', signed('crls.pck.revoked', add(3))],
    ['PCK CA on the root CRL', 'CERTIFICATE_REVOKED', signed('crls.root.revoked', add(2))],
    ['root on its own CRL', 'CERTIFICATE_REVOKED', signed('crls.root.revoked', add(1))],
    ['PCK CRL past its next update', 'CRL_EXPIRED', signed('crls.pck.nextUpdateMs', LATE)],
    [
      'PCK CRL issued too long ago',
      'COLLATERAL_TOO_OLD',
      {
        ...signed<number>('crls.pck.thisUpdateMs', () => NOW_MS - 7 * 86_400_000 - 1),
        policy: { maxCollateralAgeDays: 7 },
      },
    ],
    ['root CRL past its next update', 'CRL_EXPIRED', signed('crls.root.nextUpdateMs', LATE)],
    ['PCK CRL of the future', 'CRL_INVALID', signed('crls.pck.thisUpdateMs', EARLY)],
    ['PCK CRL by another name', 'CRL_INVALID', signed('crls.pck.issuer', 'other')],
    ['CRL for some certificates', 'CRL_INVALID', signed('crls.pck.extensions', add(critical('2.5.29.28')))],
    ['CA that may not sign lists', 'CRL_INVALID', signed('certificates.pckCa.keyUsage', 0x04)],
    ['PCK CRL left out', 'CRL_INVALID', unsigned('collateral.pck_crl', '')],
    ['PCK CRL is garbage', 'CRL_INVALID', unsigned('collateral.pck_crl', 'deadbeef')],
    ['PCK CRL with a byte after it', 'CRL_INVALID', unsigned('collateral.pck_crl', (old) => `${old}00`)],
    [
      'root CRL signature',
      'CRL_INVALID',
      unsigned('collateral.root_ca_crl', (old) => old.replace(/.$/, (c) => (c === '0' ? '1' : '0'))),
    ],
    ['root CRL is garbage', 'CRL_INVALID', unsigned('collateral.root_ca_crl', 'deadbeef')],
    [
      'root CRL in place of the PCK CRL',
      'CRL_INVALID',
      unsigned('collateral.pck_crl', good.evidence.collateral!.root_ca_crl),
    ],
    ['CRL issuer chain is garbage', 'CRL_INVALID', unsigned('collateral.pck_crl_issuer_chain', 'garbage')],
    [
      'another chain',
      'CRL_INVALID',
      unsigned('collateral.pck_crl_issuer_chain', good.evidence.collateral!.tcb_info_issuer_chain.slice(0, 900)),
    ],
  ],
  collateral: [
    ['none', 'COLLATERAL_MISSING', unsigned('collateral', null)],
    ['TCB signer on the root CRL', 'CERTIFICATE_REVOKED', signed('crls.root.revoked', add(4))],
    ['TCB signer that the root has not signed', 'CERTIFICATE_INVALID', signed('forged', ['tcbSigner'])],
    ['expired TCB signer', 'CERTIFICATE_INVALID', signed('certificates.tcbSigner.notAfterMs', LATE)],
    ['TCB signer that is a CA', 'CERTIFICATE_INVALID', signed('certificates.tcbSigner.ca', true)],
    [
      'issued too long ago',
      'COLLATERAL_TOO_OLD',
      { ...signed('tcbInfo.issueDate', '2030-06-08T11:59:59Z'), policy: { maxCollateralAgeDays: 7 } },
    ],
    ['TCB info past its next update', 'COLLATERAL_EXPIRED', signed('tcbInfo.nextUpdate', '2030-06-15T11:59:59Z')],
    ['TCB info of the future', 'COLLATERAL_EXPIRED', signed('tcbInfo.issueDate', '2030-06-15T12:00:01Z')],
    ['QE identity past its next update', 'COLLATERAL_EXPIRED', signed('qeIdentity.nextUpdate', '2030-06-15T11:59:59Z')],
    ['31st of June', 'COLLATERAL_INVALID', signed('tcbInfo.nextUpdate', '2030-06-31T00:00:00Z')],
    ['TCB info of another platform', 'COLLATERAL_INVALID', signed('tcbInfo.fmspc', '00FF00FF00FE')],
    ['TCB info of another PCE', 'COLLATERAL_INVALID', signed('tcbInfo.pceId', '0001')],
    ['TCB info for SGX', 'COLLATERAL_INVALID', signed('tcbInfo.id', 'SGX')],
    ['identity of the SGX QE', 'COLLATERAL_INVALID', signed('qeIdentity.id', 'QE')],
    ['unknown status', 'COLLATERAL_INVALID', signed('tcbInfo.tcbLevels.0.tcbStatus', 'Excellent')],
    ['1 component', 'COLLATERAL_INVALID', signed('tcbInfo.tcbLevels.0.tcb.tdxtcbcomponents', [{ svn: 0 }])],
    ['TCB info edited', 'COLLATERAL_INVALID', unsigned('collateral.tcb_info', replace('OutOfDate', 'UpToDate'))],
    ['QE identity edited', 'COLLATERAL_INVALID', unsigned('collateral.qe_identity', replace(':', ': '))],
    ['TCB info signature', 'COLLATERAL_INVALID', unsigned('collateral.tcb_info_signature', replace(/^../, '00'))],
    ['QE identity signature', 'COLLATERAL_INVALID', unsigned('collateral.qe_identity_signature', '00'.repeat(64))],
  ],
  'quote-signature': [
    ['QE report for another key', 'SIGNATURE_INVALID', signed('qe.namesKey', false)],
    ['QE report that says more than the key', 'SIGNATURE_INVALID', signed('qe.lastByte', 1)],
  ],
  'qe-identity': [
    ['QE of another signer', 'QE_IDENTITY_MISMATCH', signed('qe.mrSigner', 'ac'.repeat(32))],
    ['another enclave of the signer', 'QE_IDENTITY_MISMATCH', signed('qe.isvProdId', 1)],
    ['QE that can be debugged', 'QE_IDENTITY_MISMATCH', signed('qe.attributes', replace('11', '13'))],
    ['other MISCSELECT', 'QE_IDENTITY_MISMATCH', signed('qeIdentity.miscselect', '01000000')],
    ['QE below every level', 'TCB_UNKNOWN', signed('qe.isvSvn', 3)],
  ],
  'tdx-module': [
    ['module of another signer', 'TDX_MODULE_MISMATCH', signed('td.mrSignerSeam', '01'.repeat(48))],
    [
      'signed TCB info names another',
      'TDX_MODULE_MISMATCH',
      signed('tcbInfo.tdxModuleIdentities.0.mrsigner', '01'.repeat(48)),
    ],
    ['module with other attributes', 'TDX_MODULE_MISMATCH', signed('td.seamAttributes', '01'.padEnd(16, '0'))],
    ['module of an unlisted version', 'TDX_MODULE_MISMATCH', signed('td.teeTcbSvn', replace('0b01', '0b07'))],
    ['module below every level', 'TCB_UNKNOWN', signed('td.teeTcbSvn', replace('0b', '05'))],
    ['module of an unlisted version that runs now', 'TDX_MODULE_MISMATCH', exchanged('0b07')],
    ['module below every level that runs now', 'TCB_UNKNOWN', exchanged('0501')],
    ['attributes outside the mask', 'TDX_MODULE_MISMATCH', outsideMask],
    ['version 0 by another signer', 'TDX_MODULE_MISMATCH', versionZero('0b', '01'.repeat(48))],
  ],
  'tcb-status': [
    [
      'a grace that is over',
      'TCB_OUT_OF_DATE',
      { ...signed('pck.componentSvns.15', 1), policy: { tcbGrace: [grace(-1)] } },
    ],
    [
      'a grace for another status',
      'TCB_STATUS_REFUSED',
      { ...signed('tcbInfo.tcbLevels.0.tcbStatus', 'ConfigurationNeeded'), policy: { tcbGrace: [grace(1)] } },
    ],
    [
      'a grace without the advisory',
      'ADVISORY_REFUSED',
      { ...signed('pck.componentSvns.15', 1), policy: { tcbGrace: [grace(1, [])] } },
    ],
    ['by an SGX component', 'TCB_OUT_OF_DATE', signed('pck.componentSvns.15', 1)],
    ['by a TDX component', 'TCB_OUT_OF_DATE', signed('td.teeTcbSvn', replace(/02$/, '01'))],
    ['by the TDX module that runs now', 'TCB_OUT_OF_DATE', exchanged('0a01')],
    ['by the TDX module', 'TCB_OUT_OF_DATE', signed('td.teeTcbSvn', replace('0b', '0a'))],
    ['by the QE', 'TCB_OUT_OF_DATE', signed('qeIdentity.tcbLevels.0.tcbStatus', 'OutOfDate')],
    ['by the first component, of version 0', 'TCB_OUT_OF_DATE', versionZero('01')],
    ['below every level', 'TCB_UNKNOWN', signed('pck.pceSvn', 4)],
    ['revoked level', 'TCB_REVOKED', signed('tcbInfo.tcbLevels.0.tcbStatus', 'Revoked')],
    ['revoked QE level', 'TCB_REVOKED', signed('qeIdentity.tcbLevels.0.tcbStatus', 'Revoked')],
    ['configuration needed', 'TCB_STATUS_REFUSED', signed('tcbInfo.tcbLevels.0.tcbStatus', 'ConfigurationNeeded')],
    ['advisory', 'ADVISORY_REFUSED', signed('tcbInfo.tcbLevels.0.advisoryIDs', ['INTEL-SA-00009'])],
    ['TCB info too old', 'TCB_EVALUATION_TOO_OLD', { ...signed('tcbInfo.tcbEvaluationDataNumber', 19), ...floor }],
    [
      'QE identity too old',
      'TCB_EVALUATION_TOO_OLD',
      { ...signed('qeIdentity.tcbEvaluationDataNumber', 19), ...floor },
    ],
  ],
  'td-attributes': [
    ['debug', 'TD_DEBUG', signed('td.tdAttributes', '0100001000000000')],
    ['SEPT_VE not disabled', 'TD_ATTRIBUTES_REFUSED', signed('td.tdAttributes', '00'.repeat(8))],
    ['migratable', 'TD_ATTRIBUTES_REFUSED', signed('td.tdAttributes', '0000003000000000')],
    ['a service domain', 'TD_ATTRIBUTES_REFUSED', version5(3, '01'.padEnd(96, '0'))],
  ],
  'platform-id': [['another machine', 'PLATFORM_UNLISTED', platform('08'.repeat(16))]],
  'mr-config': [
    ['of other code', 'MR_CONFIG_MISMATCH', signed('td.mrConfigId', `01${'00'.repeat(47)}`)],
    ['with a tail', 'MR_CONFIG_MISMATCH', signed('td.mrConfigId', replace(/00$/, '01'))],
    [
      'of form 2, for a provider that dstack has no number for',
      'MR_CONFIG_MISMATCH',
      signed('td.mrConfigId', replace(/^01/, '02')),
    ],
    ['of form 4', 'MR_CONFIG_MISMATCH', signed('td.mrConfigId', replace(/^01/, '04'))],
    ['zero, and a tail', 'MR_CONFIG_MISMATCH', signed('td.mrConfigId', '01'.padStart(96, '0'))],
  ],
  'app-compose': [
    ['re-serialised', 'APP_COMPOSE_MISMATCH', unsigned('appCompose', (old) => JSON.stringify(JSON.parse(old)))],
    [
      'the allowed one shown by other code',
      'APP_COMPOSE_MISMATCH',
      {
        bend({ eventLog, td }) {
          eventLog[5] = runtimeEvent('compose-hash', Buffer.alloc(32, 1));
          td.mrConfigId = '00'.repeat(48);
        },
      },
    ],
  ],
  'os-measurement': [
    ['RTMR2, under the right code', 'OS_MEASUREMENT_UNLISTED', signed('eventLog.2.digest', '77'.repeat(48))],
    ['RTMR0', 'OS_MEASUREMENT_UNLISTED', signed('eventLog.0.digest', '77'.repeat(48))],
    ['MRTD', 'OS_MEASUREMENT_UNLISTED', signed('td.mrtd', 'ce'.repeat(48))],
  ],
  'code-hash': [['not listed', 'CODE_HASH_MISMATCH', { policy: { codeHashes: [`sha256:${ZERO_DIGEST}`] } }]],
  'key-provider': [['another', 'KEY_PROVIDER_UNLISTED', { policy: { keyProviders: [{ name: 'kms', id: '' }] } }]],
  'report-data': [['for something else', 'REPORT_DATA_MISMATCH', signed('reportDataHex', '00'.repeat(64))]],
  nonce: [['replayed', 'NONCE_MISMATCH', { expect: { nonce: '12'.repeat(32) } }]],
  channel: [
    ['somebody between', 'CHANNEL_MISMATCH', { expect: { tlsSpkiSha256: '23'.repeat(32) } }],
    [
      'another connection under the same key',
      'CHANNEL_MISMATCH',
      { ...signed('reportData.tlsExporterSha256', '33'.repeat(32)), expect: { tlsExporterSha256: '34'.repeat(32) } },
    ],
    ['no key to seal to', 'CHANNEL_MISMATCH', { expect: { tlsSpkiSha256: null, sealed: true } }],
  ],
  manifest: [['another', 'MANIFEST_MISMATCH', { policy: { manifestSha256: [ZERO_DIGEST] } }]],
  'access-policy': [['none allowed', 'ACCESS_POLICY_MISMATCH', { policy: { policySha256: [] } }]],
  'model-registry': [['another', 'MODEL_REGISTRY_MISMATCH', { policy: { modelRegistrySha256: [ZERO_DIGEST] } }]],
  gpu: [['no evidence', 'GPU_EVIDENCE_MISSING', { policy: { gpu: parsePolicy({ version: 1, gpu: {} }).gpu } }]],
};

const ids = (Object.keys(CHECKS) as CheckId[]).filter((id) => !id.startsWith('gpu-'));
const after = (id: CheckId) => ids.slice(ids.indexOf(id) + 1);
const ofSignature = after('quote-signature');

/** Checks that need the result of this one, and so do not run. */
const DEPENDENTS: Partial<Record<CheckId, readonly CheckId[]>> = {
  'evidence-format': after('evidence-format'),
  'quote-format': after('quote-format'),
  'certificate-chain': after('certificate-chain'),
  'quote-signature': ofSignature,
  collateral: ['qe-identity', 'tdx-module', 'tcb-status'],
  'qe-identity': ['tcb-status'],
  'tdx-module': ['tcb-status'],
  'event-log': ['mr-config', 'app-compose', 'code-hash', 'key-provider'],
  'app-compose': ['code-hash'],
  'report-data': ['nonce', 'channel', 'manifest', 'access-policy', 'model-registry'],
};

for (const [check, rows] of Object.entries(TABLE) as [CheckId, [string, VerificationCode, Change][]][])
  for (const [name, code, change] of rows)
    test(`${check} refuses with ${code}: ${name}`, async () => {
      const verdict = await judge({ ...change, policy: { ...pins, ...change.policy } });
      assert.deepEqual(failures(verdict.checks), [`${check}: ${code}`]);
      assert.deepEqual([verdict.valid, verdict.send], [false, 'nothing']);
      const { expected, seen } = verdict.checks.find(({ id }) => id === check)!;
      assert.ok(expected && seen);
      const expectation = (id: CheckId) =>
        id === check
          ? 'fail'
          : id === 'gpu' || id === 'platform-id' || DEPENDENTS[check]?.includes(id)
            ? 'not-run'
            : 'pass';
      const expectedStatus = Object.fromEntries(ids.map((id) => [id, expectation(id)]));
      if (code === 'COLLATERAL_MISSING') expectedStatus['revocation-lists'] = 'not-run';
      assert.deepEqual(statusOf(verdict.checks), expectedStatus);
    });

test('every code that evidence can be refused with is in the table', async () => {
  const { VERIFICATION_CODES } = await import('../src/index.ts');
  const covered = new Set(Object.values(TABLE).flatMap((rows) => rows.map(([, code]) => code)));
  const elsewhere = ['ROOT_UNTRUSTED', 'EVENT_LOG_MISMATCH']; // verify-evidence.test.ts
  const others = /^(GPU|OCSP|RIM|TOKEN)_|^PLATFORM_MISMATCH$/; // the rooms of GPUs and SEV-SNP have their own tables
  assert.deepEqual(
    Object.keys(VERIFICATION_CODES).filter((code) => !covered.has(code as VerificationCode) && !others.test(code)),
    elsewhere,
  );
});
