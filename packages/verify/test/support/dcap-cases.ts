/**
 * Quotes and collateral on which verifiers of Intel DCAP are compared: real ones as they are, and bent ones. One list for
 * our test against two of them, and for `npm run interop` against a third.
 */
import { parsePolicy, type TdxCollateral, type VerificationCode, VerifiedCache, verifyFiles } from '../../src/index.ts';
import { fingerprint } from '../../src/roots.ts';
import * as data from './shared-data.ts';

export interface DcapCase {
  name: string;
  quote: Buffer;
  collateral: TdxCollateral;
  nowMs: number;
  /** The root to believe, DER. Default: Intel's. */
  root?: Buffer;
}

const flipHex = (hex: string, fromEnd: number): string => {
  const bytes = Buffer.from(hex, 'hex');
  bytes[bytes.length - fromEnd]! ^= 1;
  return bytes.toString('hex');
};
const flip = (at: number) => (quote: Buffer) => {
  const flipped = Buffer.from(quote);
  flipped[at]! ^= 1;
  return flipped;
};

const BENT_QUOTES: Record<string, (quote: Buffer) => Buffer> = {
  'version 3': (quote) => Buffer.concat([Buffer.of(3), quote.subarray(1)]),
  'another QE vendor': flip(12),
  'user data of the header': flip(30),
  'TEE TCB SVN': flip(48),
  MRSEAM: flip(70),
  'debug bit': flip(168),
  MRTD: flip(200),
  RTMR3: flip(530),
  'report data': flip(568),
  'quote signature': flip(639),
  'attestation key': flip(703),
  'QE report': flip(780),
  'signature of the QE report': flip(1160),
  'QE authentication data': flip(1221),
  'PCK certificate': (quote) => flip(quote.indexOf('-----BEGIN CERTIFICATE-----') + 400)(quote),
  'a byte after the end': (quote) => Buffer.concat([quote, Buffer.from('x')]),
  'length of the signature data + 1': flip(632),
  'cut off': (quote) => quote.subarray(0, 3000),
};

const BENT_COLLATERAL: Record<string, (collateral: TdxCollateral) => Partial<TdxCollateral>> = {
  'TCB info edited': ({ tcb_info }) => ({ tcb_info: tcb_info.replace('OutOfDate', 'UpToDate') }),
  'TCB info signature': ({ tcb_info_signature }) => ({ tcb_info_signature: flipHex(tcb_info_signature, 3) }),
  'QE identity edited': ({ qe_identity }) => ({ qe_identity: qe_identity.replace('"isvsvn":', '"isvsvn": ') }),
  'QE identity signature': ({ qe_identity_signature }) => ({
    qe_identity_signature: flipHex(qe_identity_signature, 3),
  }),
  'PCK CRL signature': ({ pck_crl }) => ({ pck_crl: flipHex(pck_crl, 5) }),
  'PCK CRL empty': () => ({ pck_crl: '' }),
  'PCK CRL garbage': () => ({ pck_crl: 'deadbeef' }),
  'root CRL garbage': () => ({ root_ca_crl: 'deadbeef' }),
  'root CRL in place of the PCK CRL': ({ root_ca_crl }) => ({ pck_crl: root_ca_crl }),
  'PCK CRL past its next update': () => ({ pck_crl: data.dcapCollateral().pck_crl }),
  'CRL issuer chain garbage': () => ({ pck_crl_issuer_chain: 'garbage' }),
  'TCB issuer chain of the CRL': ({ pck_crl_issuer_chain }) => ({ tcb_info_issuer_chain: pck_crl_issuer_chain }),
};

export function dcapCases(): DcapCase[] {
  const near = { quote: data.nearQuote(), collateral: data.nearCollateral(), nowMs: data.NEAR_MS };
  const { nowMs, collateral } = near;
  const old = data.read('dstack/misc/tdx_quote');
  return [
    { name: 'near-mpc', ...near },
    { name: 'dcap-qvl', quote: data.dcapQuote(), collateral: data.dcapCollateral(), nowMs: data.DCAP_MS },
    { name: 'dcap-qvl under the collateral of 2026', quote: data.dcapQuote(), collateral, nowMs },
    { name: 'dstack simulator', quote: Buffer.from(data.simulatorAttestation().quote), collateral, nowMs },
    { name: 'a platform below every level', quote: old, collateral, nowMs },
    { name: 'the same in 2025', quote: old, collateral: data.dcapCollateral(), nowMs: data.DCAP_MS },
    { name: 'collateral of another platform', quote: data.gpuVmQuote(), collateral, nowMs },
    { name: 'a day after the end', ...near, nowMs: Date.parse('2026-09-13T12:00:00Z') },
    { name: 'a day before the issue', ...near, nowMs: Date.parse('2026-08-12T12:00:00Z') },
    ...Object.entries(BENT_QUOTES).map(([name, bend]) => ({ ...near, name, quote: bend(near.quote) })),
    ...Object.entries(BENT_COLLATERAL).map(([name, bend]) => ({
      ...{ ...near, name },
      collateral: { ...collateral, ...bend(collateral) },
    })),
  ];
}

/** What other verifiers let through, and why it is refused here. */
export const KNOWN_DISAGREEMENTS: Record<string, string> = {
  'PCK CRL signature': 'the CRL is not authenticated: whoever supplies it can hide a revocation',
  'PCK CRL empty': 'a missing CRL counts as an empty one',
  'PCK CRL garbage': 'a CRL that cannot be read counts as an empty one',
  'root CRL garbage': 'a CRL that cannot be read counts as an empty one',
  'root CRL in place of the PCK CRL': 'the issuer of the CRL is not compared with that of the certificate',
  'PCK CRL past its next update': 'the dates of CRLs are not compared',
  'CRL issuer chain garbage': 'the member is not read',
  'QE identity edited': 'the QE identity is not read',
  'QE identity signature': 'the QE identity is not read',
  'a day before the issue': 'the issue date is not compared',
  'the same in 2025': 'the status is Unknown, and what to make of it is left to the caller',
  'a platform below every level': 'the status is Unknown, and what to make of it is left to the caller',
  'a byte after the end': 'what follows the quote is not looked at: two byte strings pass for one quote',
  'length of the signature data + 1':
    'the stated length is not that of what is read: two byte strings pass for one quote',
};

const policy = parsePolicy({ version: 1 });
const cache = new VerifiedCache();
/** What a policy says of a status that was established. */
const OF_POLICY: readonly VerificationCode[] = ['TCB_OUT_OF_DATE', 'TCB_STATUS_REFUSED', 'ADVISORY_REFUSED'];

/** Our status and advisories; null when the quote is refused. A status that a policy would refuse is still a status. */
export async function ourStatus({ quote, collateral, nowMs, root }: DcapCase): Promise<string | null> {
  const acceptedRootsSha256 = root ? [fingerprint(root)] : [];
  const { checks, tcbStatus, advisories } = await verifyFiles(
    { quote, collateral },
    { policy, nowMs, acceptedRootsSha256, cache },
  );
  const refused = checks.some(({ status, code }) => status === 'fail' && !OF_POLICY.includes(code!));
  return refused || tcbStatus === null ? null : [tcbStatus, ...advisories].join(' ');
}
