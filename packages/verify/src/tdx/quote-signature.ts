/** Two signatures lead from Intel's PCK certificate to the TD report: PCK → QE report → attestation key → quote. */
import { sha256 } from '@noble/hashes/sha2.js';
import { refuse } from '../errors.ts';
import { concatBytes, equalBytes } from '../formats/bytes.ts';
import { ecPoint, verifySignature } from '../pki/signature.ts';
import type { Certificate } from '../pki/x509.ts';
import { parseQeReport, type QeReport } from './qe-report.ts';
import type { TdReport, TdxQuote } from './tdx-quote.ts';

/** What the platform has signed. Everything read from here on comes from it. */
export interface SignedReports {
  td: TdReport;
  qe: QeReport;
}

/** Throws SIGNATURE_INVALID. */
export async function verifyQuoteSignature(quote: TdxQuote, pck: Certificate): Promise<SignedReports> {
  const qe = parseQeReport(quote.qeReport);
  if (!(await verifySignature(pck.publicKey, quote.qeReportSignature, quote.qeReport)))
    refuse('SIGNATURE_INVALID', 'a QE report signed by the PCK key', 'a signature that does not verify');
  const keyDigest = sha256(concatBytes(quote.attestationKey, quote.qeAuthData));
  if (!equalBytes(qe.reportData, concatBytes(keyDigest, new Uint8Array(32))))
    refuse('SIGNATURE_INVALID', 'a QE report that names the attestation key', 'another key');
  if (!(await verifySignature(ecPoint('P-256', quote.attestationKey), quote.signature, quote.signed)))
    refuse('SIGNATURE_INVALID', 'a quote signed by the attestation key', 'a signature that does not verify');
  return { td: quote.report, qe };
}
