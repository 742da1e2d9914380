/** What runs inside: attributes of the trust domain, operating system, application. */
import { sha256 } from '@noble/hashes/sha2.js';
import type { VerificationCode } from '../codes.ts';
import { refuse } from '../errors.ts';
import { bytesToHex, isZero, utf8ToBytes } from '../formats/bytes.ts';
import type { OsMeasurement } from '../policy.ts';
import type { TdReport } from '../tdx/tdx-quote.ts';
import type { AppIdentity } from './event-log.ts';

/** TDATTRIBUTES (Intel TDX Module ABI, "ATTRIBUTES"), as memory order hex: SEPT_VE_DISABLE, bit 28, and no other bit. */
const TD_ATTRIBUTES = '0000001000000000';

/** Throws TD_DEBUG for any bit of the first byte (TUD: the domain is under debug), TD_ATTRIBUTES_REFUSED for others. */
export function verifyTdAttributes({ tdAttributes }: TdReport): string {
  const seen = bytesToHex(tdAttributes);
  if (tdAttributes[0] !== 0) refuse('TD_DEBUG', `attributes ${TD_ATTRIBUTES}`, seen);
  if (seen !== TD_ATTRIBUTES) refuse('TD_ATTRIBUTES_REFUSED', `attributes ${TD_ATTRIBUTES}`, seen);
  return seen;
}

/** Returns the name of the listed image that was measured. Throws OS_MEASUREMENT_UNLISTED. */
export function verifyOsMeasurement(td: TdReport, allowed: readonly OsMeasurement[]): string {
  const [mrtd, rtmr0, rtmr1, rtmr2] = [td.mrtd, td.rtmr0, td.rtmr1, td.rtmr2].map(bytesToHex);
  const image = allowed.find(
    (each) => each.mrtd === mrtd && each.rtmr0 === rtmr0 && each.rtmr1 === rtmr1 && each.rtmr2 === rtmr2,
  );
  return (
    image?.name ??
    refuse(
      'OS_MEASUREMENT_UNLISTED',
      allowed.map(({ name }) => name).join(' or '),
      `MRTD ${mrtd}, RTMR0 ${rtmr0}, RTMR1 ${rtmr1}, RTMR2 ${rtmr2}`,
    )
  );
}

/** dstack's first form of MRCONFIGID: 01 ‖ code hash ‖ zeros. Other forms and zeros say nothing that is used here. */
const MRCONFIGID_V1 = 1;

/**
 * `sha256:` + hex of the raw app_compose. Throws CODE_HASH_MISMATCH unless it is what the guest measured before it
 * started the application, and what the host configured, where it did.
 */
export function attestedCodeHash(appCompose: string, { composeHash }: AppIdentity, td: TdReport): string {
  const seen = bytesToHex(sha256(utf8ToBytes(appCompose)));
  if (seen !== composeHash) refuse('CODE_HASH_MISMATCH', `app_compose with SHA-256 ${composeHash}`, seen);
  const configured = td.mrConfigId.subarray(1, 33);
  if (td.mrConfigId[0] === MRCONFIGID_V1 && (bytesToHex(configured) !== seen || !isZero(td.mrConfigId.subarray(33))))
    refuse('CODE_HASH_MISMATCH', `MRCONFIGID 01${seen}`, bytesToHex(td.mrConfigId));
  return `sha256:${seen}`;
}

/** Returns what was seen. Throws `code` unless it is listed. */
export function verifyListed(code: VerificationCode, seen: string, allowed: readonly string[]): string {
  return allowed.includes(seen) ? seen : refuse(code, allowed.join(' or ') || 'none', seen);
}
