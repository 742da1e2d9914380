/** The parts of the platform that Intel names by their signer: quoting enclave and TDX module. */

import { refuse } from '../errors.ts';
import { bytesToHex, hexToBytes } from '../formats/bytes.ts';
import type { QeReport } from './qe-report.ts';
import { softwareLevel, type TcbLevel } from './tcb.ts';
import type { ModuleIdentity, QeIdentity, TcbInfo } from './tcb-info.ts';
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

/** Throws TDX_MODULE_MISMATCH, or TCB_UNKNOWN for a module older than every level. */
export function verifyTdxModule(td: TdReport, info: TcbInfo): TcbLevel {
  const [svn, version] = [td.teeTcbSvn[0]!, td.teeTcbSvn[1]!];
  if (version === 0) {
    verifyModuleIdentity(td, info.tdxModule);
    return { status: 'UpToDate', advisories: [] }; // its age is in the first two TDX components of the platform level
  }
  const id = `TDX_${version.toString(16).padStart(2, '0')}`.toUpperCase();
  const identity =
    info.tdxModuleIdentities.find((each) => each.id.toUpperCase() === id) ??
    refuse('TDX_MODULE_MISMATCH', 'a TDX module that Intel lists', id);
  verifyModuleIdentity(td, identity);
  return softwareLevel('TDX module', identity.tcbLevels, svn);
}

function verifyModuleIdentity(td: TdReport, { mrsigner, attributes, attributesMask }: ModuleIdentity): void {
  const signer = bytesToHex(td.mrSignerSeam);
  if (signer !== mrsigner) refuse('TDX_MODULE_MISMATCH', `MRSIGNERSEAM ${mrsigner}`, signer);
  const expected = masked(hexToBytes(attributes), attributesMask);
  const seen = masked(td.seamAttributes, attributesMask);
  if (seen !== expected) refuse('TDX_MODULE_MISMATCH', `SEAMATTRIBUTES ${expected}`, seen);
}

const masked = (bytes: Uint8Array, mask: string): string =>
  bytesToHex(hexToBytes(mask).map((bits, index) => bits & bytes[index]!));
