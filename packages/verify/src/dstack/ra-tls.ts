/**
 * RA-TLS: a certificate that carries a quote over its own key, in dstack's extensions. It proves that the key was made
 * inside, not that the quote is fresh: for that, ask for evidence over a nonce.
 *
 *   1.3.6.1.4.1.62397.1.1  TDX quote                  (dstack before 2026)
 *   1.3.6.1.4.1.62397.1.2  event log, JSON
 *   1.3.6.1.4.1.62397.1.8  VersionedAttestation       (replaces both)
 */

import { reading } from '../errors.ts';
import type { TdxEvent } from '../evidence.ts';
import { parseEventLog } from '../evidence-format.ts';
import { bytesToHex, decodeUtf8, equalBytes, malformed } from '../formats/bytes.ts';
import { parseDer, TAG } from '../formats/der.ts';
import { ScaleReader } from '../formats/scale.ts';
import { parseJson } from '../formats/schema.ts';
import { type Certificate, parseCertificate } from '../pki/x509.ts';
import { computeRaTlsReportData } from '../report-data.ts';
import { fingerprint } from '../roots.ts';
import { parseTdxQuote } from '../tdx/tdx-quote.ts';

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
  if (versioned) return parseVersionedAttestation(versioned);
  const [quote, eventLog] = [octets(1), octets(2)];
  if (!quote || !eventLog) return malformed('certificate carries no quote and event log of dstack');
  return { quote, eventLog: parseEventLog(parseJson(decodeUtf8(eventLog))) };
}

const SCALE_V0 = 0; // first byte; a MessagePack map, version 1, is not read yet
const KIND_TDX = 0;

/** dstack's VersionedAttestation, version 0. Throws MalformedError, EVIDENCE_MALFORMED. */
export function parseVersionedAttestation(bytes: Uint8Array): Attestation {
  const reader = new ScaleReader(bytes);
  if (reader.uint(1) !== SCALE_V0) malformed('attestation is not version 0');
  if (reader.uint(1) !== KIND_TDX) malformed('attestation is not of a TDX guest');
  const quote = reader.bytes();
  const eventLog = reader.vector(() => ({
    imr: reader.uint(4),
    event_type: reader.uint(4),
    digest: bytesToHex(reader.bytes()),
    event: reader.string(),
    event_payload: bytesToHex(reader.bytes()),
  }));
  reader.vector(() => [reader.string(), reader.bytes()]); // runtime events again
  reader.take(64); // report_data: the quote's own counts
  reader.string(); // VM configuration: a claim of the host
  reader.end();
  return { quote, eventLog: parseEventLog(eventLog) };
}
