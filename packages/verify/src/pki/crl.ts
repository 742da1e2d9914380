/** Certificate revocation lists (RFC 5280 section 5): full lists of one issuer, version 2. */

import { refuse } from '../errors.ts';
import { equalBytes, malformed } from '../formats/bytes.ts';
import { DerFields, integerOf, parseDer, parseDerList, serialOf, TAG, timeOf } from '../formats/der.ts';
import {
  type Certificate,
  isoOf,
  isSignedBy,
  isWithin,
  parseExtensions,
  parseInnerAlgorithm,
  parseSigned,
  type Signed,
} from './x509.ts';

export interface Crl extends Signed {
  issuer: Uint8Array;
  thisUpdateMs: number;
  nextUpdateMs: number;
  /** Serial numbers, lower-case hex. */
  revoked: Set<string>;
}

const V2 = 1;

/** Throws MalformedError. Critical extensions (delta, indirect or partial lists) are refused: none is a full list. */
export function parseCrl(der: Uint8Array): Crl {
  const { signed, fields } = parseSigned(der);
  if (integerOf(fields.next(TAG.INTEGER)) !== V2) malformed('CRL is not version 2');
  parseInnerAlgorithm(fields, signed);
  const issuer = fields.next(TAG.SEQUENCE).raw;
  const thisUpdateMs = timeOf(fields);
  const nextUpdateMs = timeOf(fields);
  const entries = fields.optional(TAG.SEQUENCE);
  refuseCritical(fields.optional(TAG.CONTEXT_0)?.value);
  fields.end();
  const revoked = new Set(
    parseDerList(entries?.value ?? new Uint8Array(), TAG.SEQUENCE).map(({ value }) => {
      const entry = new DerFields(value);
      const serial = serialOf(entry.next(TAG.INTEGER));
      timeOf(entry);
      refuseCritical(entry.optional(TAG.SEQUENCE)?.raw);
      entry.end();
      return serial;
    }),
  );
  return { ...signed, issuer, thisUpdateMs, nextUpdateMs, revoked };
}

function refuseCritical(sequence: Uint8Array | undefined): void {
  if (!sequence) return;
  for (const [oid, { critical }] of parseExtensions(parseDer(sequence, TAG.SEQUENCE).value))
    if (critical) malformed(`CRL has critical extension ${oid}`);
}

/** Throws CRL_INVALID unless `issuer` may sign lists and signed this one. */
export async function verifyCrl(crl: Crl, issuer: Certificate): Promise<void> {
  if (!equalBytes(crl.issuer, issuer.subject))
    refuse('CRL_INVALID', 'a CRL of its certificate authority', 'another issuer');
  if (!issuer.keyUsage?.has('cRLSign')) refuse('CRL_INVALID', 'an issuer with key usage cRLSign', 'none');
  if (!(await isSignedBy(crl, issuer.publicKey)))
    refuse('CRL_INVALID', 'a CRL signed by its issuer', 'a signature that does not verify');
}

/** Throws CRL_EXPIRED past the next update, CRL_INVALID before this one. */
export function verifyCrlDates({ thisUpdateMs, nextUpdateMs }: Crl, nowMs: number): void {
  if (nowMs < thisUpdateMs) refuse('CRL_INVALID', `a CRL issued before ${isoOf(nowMs)}`, isoOf(thisUpdateMs));
  if (!isWithin(nowMs, thisUpdateMs, nextUpdateMs))
    refuse('CRL_EXPIRED', `a CRL valid at ${isoOf(nowMs)}`, `next update ${isoOf(nextUpdateMs)}`);
}

/** Throws CERTIFICATE_REVOKED. */
export function verifyNotRevoked(certificate: Certificate, crl: Crl): void {
  if (equalBytes(certificate.issuer, crl.issuer) && crl.revoked.has(certificate.serial))
    refuse(
      'CERTIFICATE_REVOKED',
      'no revoked certificate',
      `serial ${certificate.serial} on the CRL of ${isoOf(crl.thisUpdateMs)}`,
    );
}
