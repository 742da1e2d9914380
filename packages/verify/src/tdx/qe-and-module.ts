/** The parts of the platform that Intel names by their signer: quoting enclave and TDX module. */

import { refuse } from '../errors.ts';
import { bytesToHex, hexToBytes } from '../formats/bytes.ts';
import type { QeReport } from './qe-report.ts';
import { combineLevels, softwareLevel, type TcbLevel } from './tcb.ts';
import type { QeIdentity, TcbInfo } from './tcb-info.ts';
import type { TdReport } from './tdx-quote.ts';

/** Throws QE_IDENTITY_MISMATCH, or TCB_UNKNOWN for an enclave older than every level. */
export function verifyQeIdentity(qe: QeReport, identity: QeIdentity): TcbLevel {
  const equal = (what: string, expected: string | number, seen: string | number): void => {
    if (expected !== seen) refuse('QE_IDENTITY_MISMATCH', `QE ${what} ${expected}`, `${seen}`);
  };
  equal('MRSIGNER', identity.mrsigner, bytesToHex(qe.mrSigner));
  equal('ISVPRODID', identity.isvprodid, qe.isvProdId);
  const { miscselect, miscselectMask, attributes, attributesMask } = identity;
  equal('MISCSELECT', masked(hexToBytes(miscselect), miscselectMask), masked(qe.miscSelect, miscselectMask));
  equal('ATTRIBUTES', masked(hexToBytes(attributes), attributesMask), masked(qe.attributes, attributesMask));
  return softwareLevel('quoting enclave', identity.tcbLevels, qe.isvSvn);
}

/**
 * The module that started the guest; in a report of TDX 1.5 also the one that runs now, if it was exchanged meanwhile: the
 * worse of both levels. Throws TDX_MODULE_MISMATCH, or TCB_UNKNOWN for a module older than every level.
 */
export function verifyTdxModule(td: TdReport, info: TcbInfo): TcbLevel {
  const signer = bytesToHex(td.mrSignerSeam);
  const levels = tcbSvnsOf(td).map(([svn, version]) => {
    const { mrsigner, attributes, attributesMask, tcbLevels } = identityOf(version!, info);
    if (signer !== mrsigner) refuse('TDX_MODULE_MISMATCH', `MRSIGNERSEAM ${mrsigner}`, signer);
    const expected = masked(hexToBytes(attributes), attributesMask);
    const seen = bytesToHex(td.seamAttributes); // as a whole: a bit outside the mask means nothing today, and is not set
    if (seen !== expected) refuse('TDX_MODULE_MISMATCH', `SEAMATTRIBUTES ${expected}`, seen);
    // The age of version 0 is in the first two TDX components of the platform level.
    return tcbLevels ? softwareLevel('TDX module', tcbLevels, svn!) : { status: 'UpToDate' as const, advisories: [] };
  });
  return combineLevels(...levels);
}

/** TEE_TCB_SVN at the start of the guest and, in a report of TDX 1.5, TEE_TCB_SVN2 now. */
export const tcbSvnsOf = ({ teeTcbSvn, teeTcbSvn2 }: TdReport): Uint8Array[] =>
  teeTcbSvn2 ? [teeTcbSvn, teeTcbSvn2] : [teeTcbSvn];

/** `TDX_01` and later have levels of their own. */
function identityOf(version: number, { tdxModule, tdxModuleIdentities }: TcbInfo) {
  if (version === 0) return { ...tdxModule, tcbLevels: null };
  const id = `TDX_${version.toString(16).padStart(2, '0')}`.toUpperCase();
  return (
    tdxModuleIdentities.find((each) => each.id.toUpperCase() === id) ??
    refuse('TDX_MODULE_MISMATCH', 'a TDX module that Intel lists', id)
  );
}

const masked = (bytes: Uint8Array, mask: string): string =>
  bytesToHex(hexToBytes(mask).map((bits, index) => bits & bytes[index]!));
