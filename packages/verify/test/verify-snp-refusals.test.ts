/**
 * What is refused of SEV-SNP, each with its check and code, and beside it what looks alike and is accepted; on simulated
 * platforms, for AMD's own reports cannot be bent before they are signed. Genoa, Turin and every VLEK are synthetic.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SNP_PRODUCTS } from '../src/policy.ts';
import { allPass, bend, type Change, judge, MINIMUM } from './support/judge-snp.ts';
import { NOW_MS } from './support/simulated-platform.ts';
import type { BentSnp } from './support/simulated-snp.ts';

const PARTS = ['fmc', 'bootLoader', 'tee', 'snp', 'microcode'] as const;
const DAY_MS = 86_400_000;

type Case = [title: string, failed: string | null, change: Change];
const patch = (offset: number, value: number, rest: Omit<Change, 'bend'> = {}): Change =>
  bend((platform) => platform.report.patches.push([offset, value]), rest);
const flip = (offset: number): Change => ({ tamper: ({ report }) => (report[offset]! ^= 1) });
const leaf = (change: Partial<BentSnp['leaf']>, rest: Omit<Change, 'bend'> = {}): Change =>
  bend((platform) => Object.assign(platform.leaf, change), rest);
const certificate = (
  name: keyof BentSnp['certificates'],
  change: Partial<BentSnp['certificates'][typeof name]>,
): Change => bend((platform) => Object.assign(platform.certificates[name], change));
const crl = (change: Partial<BentSnp['crl']>): Change => bend((platform) => Object.assign(platform.crl, change));
const policyBits = (set: bigint, clear = 0n): Change =>
  bend(({ report }) => {
    report.policy = (report.policy | set) & ~clear;
  });
const TURIN = { product: 'Turin' } as const;
const past = { notBeforeMs: NOW_MS - 2 * DAY_MS, notAfterMs: NOW_MS - DAY_MS };
const future = { notBeforeMs: NOW_MS + DAY_MS, notAfterMs: NOW_MS + 2 * DAY_MS };

const TABLES: Record<string, Case[]> = {
  'quote-format': [
    ['version 1', 'QUOTE_UNSUPPORTED', { version: 1 }],
    ['version 6', 'QUOTE_UNSUPPORTED', { version: 6 }],
    ['another signature algorithm', 'QUOTE_UNSUPPORTED', patch(0x34, 2)],
    ['signed by nothing', 'QUOTE_UNSUPPORTED', patch(0x48, 7 << 2)],
    ['signed by a key to come', 'QUOTE_UNSUPPORTED', patch(0x48, 2 << 2)],
    ['an author key, and a masked chip key', null, patch(0x48, 3)],
    ['key information with reserved bits', 'QUOTE_MALFORMED', patch(0x48, 1 << 5)],
    ['the same in its last byte', 'QUOTE_MALFORMED', patch(0x4b, 0x80)],
    ['reserved bytes at 04c', 'QUOTE_MALFORMED', patch(0x4c, 1)],
    ['reserved bytes at 188 in version 2', 'QUOTE_MALFORMED', patch(0x188, 0x19, { version: 2 })],
    ['reserved bytes at 18b in version 3', 'QUOTE_MALFORMED', patch(0x18b, 1)],
    ['reserved bytes at 19f', 'QUOTE_MALFORMED', patch(0x19f, 1, { version: 5 })],
    ['reserved bytes at 1eb', 'QUOTE_MALFORMED', patch(0x1eb, 1)],
    ['reserved bytes at 1ef', 'QUOTE_MALFORMED', patch(0x1ef, 1)],
    ['mitigations before version 5', 'QUOTE_MALFORMED', patch(0x1f8, 1, { version: 4 })],
    ['reserved bytes at 208 in version 5', 'QUOTE_MALFORMED', patch(0x208, 1, { version: 5 })],
    ['reserved bytes at 29f', 'QUOTE_MALFORMED', patch(0x29f, 1, { version: 5 })],
    ['r above the order of P-384', 'QUOTE_MALFORMED', flip(0x2a0 + 48)],
    ['s above the order of P-384', 'QUOTE_MALFORMED', flip(0x32f)],
    ['bytes behind s', 'QUOTE_MALFORMED', flip(0x330)],
    ['the last byte', 'QUOTE_MALFORMED', flip(0x49f)],
    ['CPUID of Naples', 'QUOTE_UNSUPPORTED', patch(0x188, 0x17)],
    ['CPUID of another family 19h', 'QUOTE_UNSUPPORTED', patch(0x189, 0x21)],
    ['CPUID of another family 1Ah', 'QUOTE_UNSUPPORTED', patch(0x189, 0x50, TURIN)],
    ['CPUID of Bergamo and Siena, synthetic', null, patch(0x189, 0xa0, { product: 'Genoa' })],
    ['CPUID of Turin with 1xh, synthetic', null, patch(0x189, 0x11, TURIN)],
    ...[0, 1, 1183, 1185].map(
      (length): Case => [
        `${length} bytes`,
        'QUOTE_MALFORMED',
        {
          tamper: (simulation) => {
            simulation.report = Buffer.concat([simulation.report, Buffer.alloc(1)]).subarray(0, length);
          },
        },
      ],
    ),
  ],
  'trust-root': [
    ['a root that nobody has named', 'ROOT_UNTRUSTED', { pin: [] }],
    ['another root', 'ROOT_UNTRUSTED', { pin: ['00'.repeat(32)] }],
    ...SNP_PRODUCTS.map(
      (product): Case => [`a root of ${product} that is not AMD's, synthetic`, 'ROOT_UNTRUSTED', { product, pin: [] }],
    ),
  ],
  'certificate-chain': [
    ['without the root', 'CERTIFICATE_INVALID', bend(({ chain }) => chain.pop())],
    ['with the root twice', 'CERTIFICATE_INVALID', bend(({ chain }) => chain.push('root'))],
    ['in the other order', 'CERTIFICATE_INVALID', bend(({ chain }) => chain.reverse())],
    ['the CA as VCEK', 'CERTIFICATE_INVALID', bend(({ chain }) => chain.splice(0, 1, 'ca'))],
    ['the root as CA', 'CERTIFICATE_INVALID', bend(({ chain }) => chain.splice(1, 1, 'root'))],
    ['a VCEK that another CA has signed', 'CERTIFICATE_INVALID', certificate('leaf', { signer: 'strangeRsa' })],
    ['a CA that another root has signed', 'CERTIFICATE_INVALID', certificate('ca', { signer: 'strangeRsa' })],
    ['a root that another has signed', 'CERTIFICATE_INVALID', certificate('root', { signer: 'strangeRsa' })],
    ['a VCEK of another issuer', 'CERTIFICATE_INVALID', certificate('leaf', { issuer: 'SIMULATED SEV-Genoa' })],
    ['a VCEK that is a CA', 'CERTIFICATE_INVALID', certificate('leaf', { ca: true })],
    ['a VCEK that may sign nothing', 'CERTIFICATE_INVALID', certificate('leaf', { keyUsage: 0x04 })],
    ['a CA that is none', 'CERTIFICATE_INVALID', certificate('ca', { ca: false })],
    ['a CA that does not say', 'CERTIFICATE_INVALID', certificate('ca', { ca: null })],
    ['a CA that may not sign', 'CERTIFICATE_INVALID', certificate('ca', { keyUsage: 0x80 })],
    ['an RSA key as VCEK', 'CERTIFICATE_INVALID', certificate('leaf', { key: 'strangeRsa' })],
    ['ECDSA said, RSA-PSS done', 'CERTIFICATE_INVALID', certificate('leaf', { algorithm: 'ecdsa' })],
    ['a VCEK as AMD signs its CAs', null, certificate('leaf', { algorithm: 'ca' })],
    ['a VCEK past its end', 'CERTIFICATE_INVALID', certificate('leaf', past)],
    ['a VCEK before its start', 'CERTIFICATE_INVALID', certificate('leaf', future)],
    ['a CA past its end', 'CERTIFICATE_INVALID', certificate('ca', past)],
    ['a root past its end', 'CERTIFICATE_INVALID', certificate('root', past)],
    ['no version of its structure', 'CERTIFICATE_INVALID', leaf({ structVersion: null })],
    ['the structure of Turin in Milan', 'CERTIFICATE_INVALID', leaf({ structVersion: 1 })],
    ['the structure of Milan in Turin, synthetic', 'CERTIFICATE_INVALID', leaf({ structVersion: 0 }, TURIN)],
    ['a product to come', 'CERTIFICATE_INVALID', leaf({ productName: 'Venice' })],
    ['a name that only starts like a product', 'CERTIFICATE_INVALID', leaf({ productName: 'MilanX' })],
    ['an empty name', 'CERTIFICATE_INVALID', leaf({ productName: '' })],
    ['a name in UTF8String', 'CERTIFICATE_INVALID', leaf({ productNameTag: 0x0c })],
    ['Milan without stepping', null, leaf({ productName: 'Milan' })],
    ['Siena under the keys of Genoa, synthetic', null, leaf({ productName: 'Siena' }, { product: 'Genoa' })],
    ['a hardware id of 63 bytes', 'CERTIFICATE_INVALID', leaf({ hwId: Buffer.alloc(63, 4) })],
    ['a hardware id of 8 bytes in Milan', 'CERTIFICATE_INVALID', leaf({ hwId: Buffer.alloc(8, 4) })],
    [
      'a hardware id of 64 bytes in Turin, synthetic',
      'CERTIFICATE_INVALID',
      leaf({ hwId: Buffer.alloc(64, 4) }, TURIN),
    ],
    ['a hardware id as OCTET STRING', null, leaf({ hwIdAsOctetString: true })],
    ['a hardware id as OCTET STRING in Turin, synthetic', null, leaf({ hwIdAsOctetString: true }, TURIN)],
    ...[63, 65].map(
      (length): Case => [
        `a hardware id of ${length} bytes as OCTET STRING`,
        'CERTIFICATE_INVALID',
        leaf({ hwId: Buffer.alloc(length, 4), hwIdAsOctetString: true }),
      ],
    ),
    ['neither chip nor provider', 'CERTIFICATE_INVALID', leaf({ hwId: null })],
    ['both chip and provider', 'CERTIFICATE_INVALID', leaf({ cspId: 'simulated.example' })],
    ['Turin without FMC, synthetic', 'CERTIFICATE_INVALID', leaf({ namesFmc: false }, TURIN)],
    ['a security version of 256', 'CERTIFICATE_INVALID', leaf({ tcb: { ...MINIMUM, snp: 256 } })],
    ...['', 'x', '-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n'].map(
      (pem): Case => [
        `PEM ${JSON.stringify(pem)}`,
        'CERTIFICATE_INVALID',
        {
          tamper: (simulation) => {
            simulation.certificates = pem;
          },
        },
      ],
    ),
  ],
  'revocation-lists': [
    ['of another issuer', 'CRL_INVALID', crl({ issuer: 'SIMULATED ARK-Genoa' })],
    ['signed by the CA', 'CRL_INVALID', crl({ signer: 'ca' })],
    ['of a root that may not sign lists', 'CRL_INVALID', certificate('root', { keyUsage: 0x04 })],
    ['past its next update', 'CRL_EXPIRED', crl({ nextUpdateMs: NOW_MS - 1000 })],
    ['not yet issued', 'CRL_INVALID', crl({ thisUpdateMs: NOW_MS + DAY_MS })],
    ['empty', null, crl({ revoked: [] })],
    ['naming the CA', 'CERTIFICATE_REVOKED', crl({ revoked: [7, 0x101] })],
    ['naming 0, the serial number of every VCEK', null, crl({ revoked: [0] })],
    ['naming the VLEK, synthetic', 'CERTIFICATE_REVOKED', { ...crl({ revoked: [0] }), kind: 'VLEK' }],
    ['cut short', 'CRL_INVALID', { tamper: (simulation) => (simulation.crl = simulation.crl.subarray(0, -1)) }],
  ],
  'quote-signature': [
    ['by another key', 'SIGNATURE_INVALID', bend(({ report }) => (report.signer = 'stranger'))],
    ['measurement changed', 'SIGNATURE_INVALID', flip(0x90)],
    ['REPORT_DATA changed', 'SIGNATURE_INVALID', flip(0x50)],
    ['HOST_DATA changed', 'SIGNATURE_INVALID', flip(0xc0)],
    ['policy changed', 'SIGNATURE_INVALID', flip(0xa)],
    ['zeros, as under MASK_CHIP_KEY', 'SIGNATURE_INVALID', { tamper: ({ report }) => report.fill(0, 0x2a0) }],
    ['a VLEK said, the VCEK given', 'PLATFORM_MISMATCH', patch(0x48, 4)],
    ['a VCEK said, the VLEK given', 'PLATFORM_MISMATCH', patch(0x48, 0, { kind: 'VLEK' })],
    ['Genoa said, a VCEK of Milan', 'PLATFORM_MISMATCH', patch(0x189, 0x11)],
    ['Milan said, a VCEK of Turin', 'PLATFORM_MISMATCH', bend(({ report }) => (report.cpuid = [0x19, 1, 1]), TURIN)],
    ['another chip', 'PLATFORM_MISMATCH', patch(0x1df, 0x99)],
    ['another chip of Turin, synthetic', 'PLATFORM_MISMATCH', patch(0x1a0, 0x99, TURIN)],
    ['more than 8 bytes of chip id in Turin, synthetic', 'PLATFORM_MISMATCH', patch(0x1a8, 1, TURIN)],
    ['a chip id with a VLEK, which names no chip', null, { kind: 'VLEK' }],
    ['a masked chip id', null, bend(({ report }) => report.chipId.fill(0))],
    ...SNP_PRODUCTS.flatMap((product) =>
      PARTS.filter((part) => part !== 'fmc' || product === 'Turin').map(
        (part): Case => [
          `a key for another ${part} of ${product}`,
          'PLATFORM_MISMATCH',
          bend((platform) => (platform.leaf.tcb[part] += 1), { product }),
        ],
      ),
    ),
  ],
  'tcb-status': [
    ...SNP_PRODUCTS.flatMap((product) =>
      PARTS.filter((part) => part !== 'fmc' || product === 'Turin').flatMap((part) =>
        (['reportedTcb', 'committedTcb', 'launchTcb', 'currentTcb'] as const).map(
          (which): Case => [
            `${part} of ${which} of ${product} behind the minimum`,
            'TCB_OUT_OF_DATE',
            bend(
              ({ report, leaf }) => {
                report[which][part] -= 1;
                if (which === 'reportedTcb') leaf.tcb[part] -= 1;
              },
              { product },
            ),
          ],
        ),
      ),
    ),
    ...(['reportedTcb', 'committedTcb'] as const).map(
      (which): Case => [
        `what runs older than ${which}`,
        'TCB_OUT_OF_DATE',
        bend(({ report, leaf }) => {
          report[which].snp += 1;
          if (which === 'reportedTcb') leaf.tcb.snp += 1;
        }),
      ],
    ),
    [
      'a host that reports less than it has, and still enough',
      null,
      bend(({ report }) => {
        for (const tcb of [report.currentTcb, report.committedTcb]) tcb.microcode += 1;
      }),
    ],
    ['firmware not yet committed', null, bend(({ report }) => (report.currentTcb.snp += 1))],
  ],
  'platform-id': [
    ['another machine', 'PLATFORM_UNLISTED', { policy: { platformIds: ['ab'.repeat(64)] } }],
    ['no machine', 'PLATFORM_UNLISTED', { policy: { platformIds: [] } }],
    ['another machine under a VLEK, synthetic', 'PLATFORM_UNLISTED', patch(0x1a0, 0x99, { kind: 'VLEK' })],
    [
      'a masked machine under a VLEK, synthetic, though zeros are listed',
      'PLATFORM_UNLISTED',
      bend(({ report }) => report.chipId.fill(0), { kind: 'VLEK', policy: { platformIds: ['00'.repeat(64)] } }),
    ],
  ],
  'td-attributes': [
    ['DEBUG', 'TD_DEBUG', policyBits(1n << 19n)],
    ['MIGRATE_MA', 'TD_ATTRIBUTES_REFUSED', policyBits(1n << 18n)],
    ['without bit 17', 'TD_ATTRIBUTES_REFUSED', policyBits(0n, 1n << 17n)],
    ['CXL_ALLOW', 'TD_ATTRIBUTES_REFUSED', policyBits(1n << 21n)],
    ['bit 26', 'TD_ATTRIBUTES_REFUSED', policyBits(1n << 26n)],
    ['bit 63', 'TD_ATTRIBUTES_REFUSED', policyBits(1n << 63n)],
    ['VMPL 1', 'TD_ATTRIBUTES_REFUSED', patch(0x30, 1)],
    ['a report that the host asked for', 'TD_ATTRIBUTES_REFUSED', bend(({ report }) => (report.vmpl = 0xffffffff))],
    [
      'no word of memory aliases, where the policy asks for it',
      'TD_ATTRIBUTES_REFUSED',
      bend(({ report }) => (report.platformInfo &= ~0x20n), { policy: { snpAliasCheck: 'required' } }),
    ],
    [
      'no memory aliases',
      null,
      bend(({ report }) => (report.platformInfo |= 0x20n), { policy: { snpAliasCheck: 'required' } }),
    ],
    ['every bit that narrows', null, policyBits(0x3d0ffffn, 1n << 16n)],
    ['a platform with bits to come', null, bend(({ report }) => (report.platformInfo = 0xffff_ffff_ffff_ffffn))],
  ],
};

for (const [check, cases] of Object.entries(TABLES))
  for (const [title, code, change] of cases)
    test(`${check}: ${title}`, async () => {
      const { failed, status, platform } = await judge(change);
      assert.deepEqual(failed, code === null ? [] : [`${check}: ${code}`]);
      if (code === null) assert.deepEqual(status, allPass);
      // Without a signature nothing counts that the report says.
      if (['quote-format', 'certificate-chain', 'quote-signature'].includes(check) && code !== null) {
        assert.deepEqual(platform, { report: null, level: null, rootSha256: null });
        for (const id of ['tcb-status', 'platform-id', 'td-attributes']) assert.equal(status[id], 'not-run');
      }
    });
