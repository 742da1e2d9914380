/**
 * Quotes of simulated platforms, genuinely signed, on which verifiers of Intel DCAP are compared under the simulation's own
 * root: levels, modules, quotes of version 5 and revocations of which no real sample can be had.
 */
import type { DcapCase } from './dcap-cases.ts';
import { put } from './judge.ts';
import { type Bent, extension, NOW_MS, simulate } from './simulated-platform.ts';

type Bend = (platform: Bent) => void;

const set =
  <T = string>(path: string, value: Parameters<typeof put<T>>[2]): Bend =>
  (platform) =>
    put(platform, path, value);
const replace = (from: string | RegExp, to: string) => (old: string) => old.replace(from, to);
const add = (item: unknown) => (old: unknown[]) => [...old, item];
const both =
  (...bends: Bend[]): Bend =>
  (platform) => {
    for (const bend of bends) bend(platform);
  };
/** The last word of each name is what is bent. */
const named = (names: readonly string[], bend: (name: string) => Bend): Record<string, Bend> =>
  Object.fromEntries(names.map((name) => [name, bend(name.split(' ').at(-1)!)]));

const LATE = NOW_MS - 1000;
const EARLY = NOW_MS + 1000;
const oldModule = set('td.teeTcbSvn', replace('0b', '0a'));
const version5 = (bodyType: 1 | 2 | 3) =>
  both(set('td.header', replace(/^04/, '05')), ({ td }) => {
    td.bodyType = bodyType;
  });
/** A TDX module of version 0, whose age stands in the first TDX components of the platform's levels. */
const versionZero = (svn: string): Bend =>
  both(set('td.teeTcbSvn', replace('0b01', `${svn}00`)), ({ tcbInfo }) => {
    for (const { tcb } of tcbInfo.tcbLevels) tcb.tdxtcbcomponents[1] = { svn: 0 };
  });
const running = (svns: string) => both(version5(3), set('td.teeTcbSvn2', svns.padEnd(32, '02')));
/** Bytes of TD attributes (Intel TDX module base architecture specification, ATTRIBUTES): byte 3, bit 4 is SEPT_VE_DISABLE. */
const attributes = (hex: string) => set('td.tdAttributes', hex);
const platformStatus = (status: string) => set('tcbInfo.tcbLevels.0.tcbStatus', status);
const moduleStatus = (status: string) => set('tcbInfo.tdxModuleIdentities.0.tcbLevels.0.tcbStatus', status);
const qeStatus = (status: string) => set('qeIdentity.tcbLevels.0.tcbStatus', status);

const BENDS: Record<string, Bend> = {
  good: () => {},
  'nothing after the signature': set('padding', () => Buffer.alloc(0)),
  'version 5, TDX 1.0': version5(2),
  'version 5, TDX 1.5': version5(3),
  'version 5, SGX': version5(1),
  'version 5, a service domain': both(version5(3), set('td.mrServiceTd', '01'.padEnd(96, '0'))),
  'version 6': set('td.header', replace(/^04/, '06')),
  'attestation key of another type': set('td.header', replace('0400020', '0400030')),

  // Age of the platform
  ...named(
    [
      ...['platform SWHardeningNeeded', 'platform ConfigurationNeeded', 'platform ConfigurationAndSWHardeningNeeded'],
      ...['platform OutOfDate', 'platform OutOfDateConfigurationNeeded', 'platform Revoked'],
    ],
    platformStatus,
  ),
  ...named(['module OutOfDate', 'module Revoked'], moduleStatus),
  ...named(['QE ConfigurationNeeded', 'QE OutOfDate', 'QE OutOfDateConfigurationNeeded', 'QE Revoked'], qeStatus),
  ...named(
    [
      ...['old module, platform SWHardeningNeeded', 'old module, platform ConfigurationNeeded'],
      ...['old module, platform OutOfDate', 'old module, platform Revoked'],
    ],
    (status) => both(oldModule, platformStatus(status)),
  ),
  'an advisory': set('tcbInfo.tcbLevels.0.advisoryIDs', ['INTEL-SA-00009']),
  'old by an SGX component': set('pck.componentSvns.15', 1),
  'old by a TDX component': set('td.teeTcbSvn', replace(/02$/, '01')),
  'old by its module': oldModule,
  'old by its module and an SGX component': both(oldModule, set('pck.componentSvns.0', 1)),
  'below every level': set('pck.pceSvn', 4),
  'levels in another order': ({ tcbInfo }) => {
    tcbInfo.tcbLevels.reverse();
  },
  'unknown status': platformStatus('Excellent'),
  'one TDX component': set('tcbInfo.tcbLevels.0.tcb.tdxtcbcomponents', [{ svn: 0 }]),

  // TDX module
  'module below every level': set('td.teeTcbSvn', replace('0b', '05')),
  'module of an unlisted version': set('td.teeTcbSvn', replace('0b01', '0b07')),
  'module of version 0': versionZero('0b'),
  'old module of version 0': versionZero('01'),
  'module of another signer': set('td.mrSignerSeam', '01'.repeat(48)),
  'TCB info for a module of another signer': set('tcbInfo.tdxModuleIdentities.0.mrsigner', '01'.repeat(48)),
  'module with other attributes': set('td.seamAttributes', '01'.padEnd(16, '0')),
  'module with an attribute that is not compared': both(
    set('td.seamAttributes', '01'.padEnd(16, '0')),
    set('tcbInfo.tdxModuleIdentities.0.attributesMask', 'FE'.padEnd(16, 'F')),
  ),
  'running module is older': running('0a01'),
  'running module is newer': both(oldModule, running('0b01')),
  'running module below every level': running('0501'),
  'running module of an unlisted version': running('0b07'),
  'running platform below every level': running('0b01'.padEnd(32, '0')),

  // What the host may do with the guest
  ...named(
    ['01', '02', '10', '80'].map((byte) => `attributes under debug ${byte}`),
    (byte) => attributes(`${byte}00001000000000`),
  ),
  'no SEPT_VE_DISABLE': attributes('00'.repeat(8)),
  migratable: attributes('0000003000000000'),
  'reserved attribute': attributes('0001001000000000'),
  'attribute LASS': attributes('0000001800000000'),
  'attributes PKS and KL': attributes('000000d000000000'),
  'attribute PERFMON': attributes('0000001000000080'),

  // Quoting enclave
  'QE of another signer': set('qe.mrSigner', 'ac'.repeat(32)),
  'QE of another product': set('qe.isvProdId', 1),
  'QE that can be debugged': set('qe.attributes', replace('11', '13')),
  'QE with another MISCSELECT': set('qeIdentity.miscselect', '01000000'),
  'QE below every level': set('qe.isvSvn', 3),
  'QE names another key': set('qe.namesKey', false),

  // Certificates
  'PCK issued by another name': set('certificates.pck.issuer', 'other'),
  ...named(['forged pck', 'forged pckCa', 'forged root', 'forged tcbSigner'], (name) => set('forged', [name])),
  ...named(['expired pck', 'expired pckCa', 'expired root', 'expired tcbSigner'], (name) =>
    set(`certificates.${name}.notAfterMs`, LATE),
  ),
  'PCK CA not yet valid': set('certificates.pckCa.notBeforeMs', EARLY),
  'PCK certificate that is a CA': set('certificates.pck.ca', true),
  'TCB signer that is a CA': set('certificates.tcbSigner.ca', true),
  'PCK CA that is none': set('certificates.pckCa.ca', false),
  'PCK CA without keyCertSign': set('certificates.pckCa.keyUsage', 0x02),
  'PCK without digitalSignature': set('certificates.pck.keyUsage', 0x40),
  'root that allows no CA below': set('certificates.root.pathLength', 0),
  'unknown critical extension': set(
    'certificates.pck.extensions',
    add(extension('1.2.3', Buffer.from('3000', 'hex'), true)),
  ),
  'PCK chain without its root': set('quoteChain', ['pck', 'pckCa']),
  'PCK chain of four': set('quoteChain', ['pck', 'pckCa', 'root', 'root']),
  'PCK chain out of order': set('quoteChain', ['pck', 'root', 'pckCa']),

  // Revocation
  'PCK revoked': set('crls.pck.revoked', add(3)),
  'PCK CA revoked': set('crls.root.revoked', add(2)),
  'TCB signer revoked': set('crls.root.revoked', add(4)),
  'root revoked by itself': set('crls.root.revoked', add(1)),
  'PCK CRL past its next update': set('crls.pck.nextUpdateMs', LATE),
  'root CRL past its next update': set('crls.root.nextUpdateMs', LATE),
  'PCK CRL of the future': set('crls.pck.thisUpdateMs', EARLY),
  'PCK CRL by another name': set('crls.pck.issuer', 'other'),
  'CRL for some certificates': set(
    'crls.pck.extensions',
    add(extension('2.5.29.28', Buffer.from('3000', 'hex'), true)),
  ),
  'CA that may not sign lists': set('certificates.pckCa.keyUsage', 0x04),

  // Collateral
  'TCB info past its next update': set('tcbInfo.nextUpdate', '2030-06-15T11:59:59Z'),
  'TCB info of the future': set('tcbInfo.issueDate', '2030-06-15T12:00:01Z'),
  'QE identity past its next update': set('qeIdentity.nextUpdate', '2030-06-15T11:59:59Z'),
  'QE identity of the future': set('qeIdentity.issueDate', '2030-06-15T12:00:01Z'),
  '31st of June': set('tcbInfo.nextUpdate', '2030-06-31T00:00:00Z'),
  'TCB info of another platform': set('tcbInfo.fmspc', '00FF00FF00FE'),
  'TCB info of another PCE': set('tcbInfo.pceId', '0001'),
  'TCB info for SGX': set('tcbInfo.id', 'SGX'),
  'identity of the SGX QE': set('qeIdentity.id', 'QE'),
};

export const simulatedDcapCases = (): DcapCase[] =>
  Object.entries(BENDS).map(([name, bend]) => {
    // The Rust crate wants a type in the PCK certificate.
    const { evidence, certificates } = simulate(both(set('pck.sgxType', 0), bend));
    const quote = Buffer.from(evidence.quote, 'hex');
    return { name, quote, collateral: evidence.collateral!, nowMs: NOW_MS, root: certificates.root };
  });

/** Why we are stricter than the Rust crate 0.7.1 on these. */
export const SIMULATED_DISAGREEMENTS: Record<string, string> = {
  'QE ConfigurationNeeded':
    'of the QE it counts only out of date or revoked, here the worst of three statuses is the status',
  'QE OutOfDateConfigurationNeeded':
    'of the QE it counts only out of date or revoked, here the worst of three statuses is the status',
  'levels in another order': 'it sorts the levels, here the order that Intel has signed holds',
  'running module is newer': 'it advises to launch the guest again, here the guest was launched by an old module',
  'running module is older':
    'of the running module it counts only that it is listed, here the worse of both modules counts',
  'attribute LASS': 'here the attributes are SEPT_VE_DISABLE and no other bit',
  'attributes PKS and KL': 'here the attributes are SEPT_VE_DISABLE and no other bit',
  'attribute PERFMON': 'here the attributes are SEPT_VE_DISABLE and no other bit',
  'forged root': 'its root comes from its caller, and that in the quote is not looked at',
  'expired root': 'its root comes from its caller, without dates',
  'root that allows no CA below': 'its root comes from its caller, without constraints (RFC 5280, 6.1.1)',
  'PCK CA without keyCertSign': 'key usage is not compared (RFC 5280, 4.2.1.3)',
  'PCK without digitalSignature': 'key usage is not compared (RFC 5280, 4.2.1.3)',
  'PCK chain without its root': 'the chain in the quote may have any length',
  'PCK chain of four': 'the chain in the quote may have any length',
  'PCK chain out of order': 'the chain in the quote may have any order',
  'PCK CRL of the future': 'of a CRL only the end is compared',
  'TCB info of another PCE': 'the PCEID is not compared',
};
