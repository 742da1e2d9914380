/**
 * Who may answer for a certificate authority (RFC 6960 section 4.2.2.2): the authority itself, or a responder that it has
 * certified for just this, whose certificate comes with the response. NVIDIA has such a responder at each level.
 */
import { reading, refuse } from '../errors.ts';
import { equalBytes } from '../formats/bytes.ts';
import { oidOf, parseDer, parseDerList, TAG } from '../formats/der.ts';
import { responderKeyHash } from './ocsp-cert-id.ts';
import { type Certificate, isoOf, isSignedBy, isWithin, type Signed } from './x509.ts';

export interface SignedByResponder extends Signed {
  /** As the response names its signer. */
  responder: { name: Uint8Array } | { keyHash: Uint8Array };
  /** Of the responder, when it is not the authority itself. */
  certificates: readonly Certificate[];
}

const EXTENDED_KEY_USAGE = '2.5.29.37';
const OCSP_SIGNING = '1.3.6.1.5.5.7.3.9'; // id-kp-OCSPSigning
/** id-pkix-ocsp-nocheck (section 4.2.2.2.1): the authority stands for the responder until its certificate ends. */
const NO_CHECK = '1.3.6.1.5.5.7.48.1.5';
/** Basic constraints and key usage besides. */
const MAY_BE_CRITICAL = new Set(['2.5.29.19', '2.5.29.15', EXTENDED_KEY_USAGE, NO_CHECK]);

/** Throws OCSP_INVALID, or OCSP_EXPIRED for a responder whose certificate is not in date. */
export async function verifyResponder(response: SignedByResponder, issuer: Certificate, nowMs: number): Promise<void> {
  const signer = [issuer, ...response.certificates].find((each) => isNamed(each, response.responder));
  if (!signer) refuse('OCSP_INVALID', 'an answer of the authority or its responder', 'another signer');
  if (signer !== issuer) await verifyDelegation(signer, issuer, nowMs);
  if (!(await isSignedBy(response, signer.publicKey)))
    refuse('OCSP_INVALID', 'an answer signed by its responder', 'a signature that does not verify');
}

const isNamed = (certificate: Certificate, responder: SignedByResponder['responder']): boolean =>
  'name' in responder
    ? equalBytes(certificate.subject, responder.name)
    : equalBytes(responderKeyHash(certificate), responder.keyHash);

async function verifyDelegation(responder: Certificate, issuer: Certificate, nowMs: number): Promise<void> {
  const refused = (expected: string, seen: string): never => refuse('OCSP_INVALID', expected, seen);
  if (!equalBytes(responder.issuer, issuer.subject) || !(await isSignedBy(responder, issuer.publicKey)))
    refused('a responder certified by the authority itself', 'one certified by another');
  if (!purposesOf(responder).includes(OCSP_SIGNING))
    refused('a responder certified for OCSP signing', purposesOf(responder).join(', ') || 'no purpose stated');
  if (responder.keyUsage?.has('digitalSignature') === false)
    refused('a responder with key usage digitalSignature', 'none');
  for (const [oid, { critical }] of responder.extensions)
    if (critical && !MAY_BE_CRITICAL.has(oid)) refused('a responder with known critical extensions', oid);
  // Nobody says whether any other responder has been revoked; leaving that open is what the standard lets one refuse.
  if (!responder.extensions.has(NO_CHECK))
    refused('a responder that need not be checked for revocation', 'no id-pkix-ocsp-nocheck');
  const { notBeforeMs, notAfterMs } = responder;
  if (!isWithin(nowMs, notBeforeMs, notAfterMs))
    refuse('OCSP_EXPIRED', `a responder valid at ${isoOf(nowMs)}`, `${isoOf(notBeforeMs)} to ${isoOf(notAfterMs)}`);
}

/** ExtKeyUsageSyntax (RFC 5280 section 4.2.1.12). */
function purposesOf({ extensions }: Certificate): string[] {
  const usage = extensions.get(EXTENDED_KEY_USAGE)?.value;
  if (!usage) return [];
  return reading('OCSP_INVALID', 'responder certificate', () =>
    parseDerList(parseDer(usage, TAG.SEQUENCE).value, TAG.OID).map(oidOf),
  );
}
