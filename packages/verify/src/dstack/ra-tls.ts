/**
 * RA-TLS: a certificate that carries a quote over its own key, in dstack's extensions. It proves that the key was made
 * inside, not that the quote is fresh: for that, ask for evidence over a nonce.
 *
 *   1.3.6.1.4.1.62397.1.1  TDX quote                  (dstack before 2026)
 *   1.3.6.1.4.1.62397.1.2  event log, JSON
 *   1.3.6.1.4.1.62397.1.8  VersionedAttestation       (replaces both)
 */
import { reading } from '../errors.ts';
import { parseEventLog, type TdxEvent } from '../evidence.ts';
import { decodeUtf8, equalBytes, malformed } from '../formats/bytes.ts';
import { parseDer, TAG } from '../formats/der.ts';
import { parseJson } from '../formats/schema.ts';
import { type Certificate, parseCertificate } from '../pki/x509.ts';
import { computeRaTlsReportData } from '../report-data.ts';
import { fingerprint } from '../roots.ts';
import { parseTdxQuote } from '../tdx/tdx-quote.ts';
import { parseVersionedAttestation } from './versioned-attestation.ts';

const DSTACK = '1.3.6.1.4.1.62397.1';

export interface RaTlsCertificate {
  /** What the evidence must name: SHA-256 of the SubjectPublicKeyInfo, hex. */
  tlsSpkiSha256: string;
  quote: Uint8Array;
  eventLog: TdxEvent[];
  /** The quote was made for this key. The quote itself is not verified here. */
  bound: boolean;
}

/** Reports what the certificate (DER) carries. Throws CERTIFICATE_INVALID, EVIDENCE_MALFORMED, QUOTE_MALFORMED or QUOTE_UNSUPPORTED. */
export function checkRaTlsCertificate(der: Uint8Array): RaTlsCertificate {
  const certificate = reading('CERTIFICATE_INVALID', 'certificate', () => parseCertificate(der));
  const { quote, eventLog } = reading('EVIDENCE_MALFORMED', 'RA-TLS extension', () => parseAttestation(certificate));
  const { report } = parseTdxQuote(quote);
  return {
    tlsSpkiSha256: fingerprint(certificate.spki),
    quote,
    eventLog,
    bound: equalBytes(report.reportData, computeRaTlsReportData(certificate.spki)),
  };
}

type Attestation = Pick<RaTlsCertificate, 'quote' | 'eventLog'>;

function parseAttestation({ extensions }: Certificate): Attestation {
  const octets = (arc: number): Uint8Array | null => {
    const extension = extensions.get(`${DSTACK}.${arc}`);
    return extension ? parseDer(extension.value, TAG.OCTET_STRING).value : null;
  };
  const versioned = octets(8);
  if (versioned) {
    const attestation = parseVersionedAttestation(versioned);
    return attestation.teeType === 'intel-tdx'
      ? attestation
      : malformed('certificate of a guest that is not under TDX');
  }
  const [quote, eventLog] = [octets(1), octets(2)];
  if (!quote || !eventLog) return malformed('certificate carries no quote and event log of dstack');
  return { quote, eventLog: parseEventLog(parseJson(decodeUtf8(eventLog))) };
}
