/**
 * Whether the channel over which data will go ends in the attested process: in the TLS key that the quote names, or in the
 * HPKE key to which every request will be sealed. Evidence that names neither of the two could have been relayed.
 */
import { refuse } from './errors.ts';
import type { ReportDataPreimage } from './evidence.ts';
import { verifyListed } from './policy.ts';

export interface ExpectedChannel {
  /** SHA-256 of the SubjectPublicKeyInfo (DER) of the TLS peer, hex. Null: not known, as in a browser. */
  tlsSpkiSha256: string | null;
  /**
   * SHA-256 of the TLS exporter of this connection (`tlsExporterSha256` of the evidence), hex. Compared when the evidence
   * has one: then a relay fails even with the stolen TLS key. Absent or null: this end has none.
   */
  tlsExporterSha256?: string | null;
  /** Nothing will be sent but what is sealed to the HPKE key of the evidence: whoever is between sees ciphertext. */
  sealed?: boolean;
}

/** The label and length under which both ends ask TLS 1.3 for the exporter (RFC 8446 section 7.5); context: the nonce. */
export const TLS_EXPORTER = { label: 'EXPORTER-abaton-attest-v1', bytes: 32 } as const;

/** True when there is something to compare: otherwise the verdict says `not bound`. */
export const isBound = ({ tlsSpkiSha256, sealed = false }: ExpectedChannel): boolean =>
  tlsSpkiSha256 !== null || sealed;

/** Throws CHANNEL_MISMATCH. Returns what binds the channel. */
export function verifyChannel(said: ReportDataPreimage, expected: ExpectedChannel): string {
  const { tlsSpkiSha256, tlsExporterSha256 = null, sealed = false } = expected;
  const bound: string[] = [];
  if (tlsSpkiSha256 !== null) {
    bound.push(`TLS key ${verifyListed('CHANNEL_MISMATCH', said.tlsSpkiSha256, [tlsSpkiSha256])}`);
    if (tlsExporterSha256 !== null && said.tlsExporterSha256 !== null) {
      verifyListed('CHANNEL_MISMATCH', said.tlsExporterSha256, [tlsExporterSha256]);
      bound.push('this very connection');
    }
  }
  if (sealed) {
    if (said.hpkePublicKey === null) refuse('CHANNEL_MISMATCH', 'evidence that names an HPKE key', 'none');
    bound.push('HPKE key');
  }
  return bound.join(', ');
}
