/** The 64 bytes that a quote signs for us: what this evidence was made for. */
import { sha512 } from '@noble/hashes/sha2.js';
import { refuse } from './errors.ts';
import type { ReportDataPreimage } from './evidence.ts';
import { bytesToHex, concatBytes, equalBytes, utf8ToBytes } from './formats/bytes.ts';
import { canonicalize } from './formats/jcs.ts';

/** Separates our quotes from those of other programs in the same trust domain, and this format from later ones. */
const DOMAIN = 'abaton-attest-v1:';
const RA_TLS_DOMAIN = 'ratls-cert:'; // dstack's, for the quote in a certificate

/** `SHA-512("abaton-attest-v1:" ‖ JCS(preimage))`, 64 bytes. The server asks for a quote over this. */
export const computeReportData = (preimage: ReportDataPreimage): Uint8Array =>
  sha512(utf8ToBytes(DOMAIN + canonicalize(preimage)));

/** `SHA-512("ratls-cert:" ‖ SubjectPublicKeyInfo)`, 64 bytes. */
export const computeRaTlsReportData = (spki: Uint8Array): Uint8Array =>
  sha512(concatBytes(utf8ToBytes(RA_TLS_DOMAIN), spki));

/** Throws REPORT_DATA_MISMATCH unless the quote was made for this preimage; returns it, now authenticated. */
export function verifyReportData(preimage: ReportDataPreimage, reportData: Uint8Array): ReportDataPreimage {
  const expected = computeReportData(preimage);
  if (!equalBytes(expected, reportData))
    refuse('REPORT_DATA_MISMATCH', `report_data ${bytesToHex(expected)}`, bytesToHex(reportData));
  return preimage;
}
