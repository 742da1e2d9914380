/**
 * OCSP (RFC 6960): what a certificate authority says today of one certificate. Responses are carried with the evidence
 * or fetched by whoever verifies; here they are read and authenticated, whoever brought them. A nonce is not asked for:
 * caches answer without, and `nextUpdate` bounds the age.
 */
import { sha1 } from '@noble/hashes/legacy.js';
import { sha256, sha384 } from '@noble/hashes/sha2.js';
import { refuse } from '../errors.ts';
import { equalBytes, malformed } from '../formats/bytes.ts';
import {
  bitStringBytes,
  DerFields,
  generalizedTimeOf,
  oidOf,
  parseDer,
  parseDerList,
  serialOf,
  TAG,
} from '../formats/der.ts';
import { parseSignature, parseSignatureAlgorithm } from './signature.ts';
import {
  type Certificate,
  isoOf,
  isSignedBy,
  isWithin,
  parseCertificate,
  parseExtensions,
  type Signed,
} from './x509.ts';

/** A BasicOCSPResponse (section 4.2.1). */
export interface OcspResponse extends Signed {
  responder: { name: Uint8Array } | { keyHash: Uint8Array };
  answers: OcspAnswer[];
  /** Of the responder, when it is not the authority itself. */
  certificates: Certificate[];
}

interface OcspAnswer {
  hash: keyof typeof HASHES;
  issuerNameHash: Uint8Array;
  issuerKeyHash: Uint8Array;
  serial: string;
  status: 'good' | 'revoked' | 'unknown';
  /** CRLReason (RFC 5280 section 5.3.1) of a revoked one; 6: on hold. */
  reason: number | null;
  thisUpdateMs: number;
  nextUpdateMs: number | null;
}

/** By these the request names the issuer; they authenticate nothing, so that SHA-1 does no harm. */
const HASHES = {
  '1.3.14.3.2.26': sha1,
  '2.16.840.1.101.3.4.2.1': sha256,
  '2.16.840.1.101.3.4.2.2': sha384,
} as const;
const BASIC_RESPONSE = '1.3.6.1.5.5.7.48.1.1';
const OCSP_SIGNING = '1.3.6.1.5.5.7.3.9';
const EXTENDED_KEY_USAGE = '2.5.29.37';
const ON_HOLD = 6;
const STATUS = { GOOD: 0x80, REVOKED: 0xa1, UNKNOWN: 0x82 } as const; // context tags 0, 1, 2 of CertStatus

/** Throws MalformedError; also for an error response, which nobody signs (section 2.3). */
export function parseOcspResponse(der: Uint8Array): OcspResponse {
  const outer = new DerFields(parseDer(der, TAG.SEQUENCE).value);
  const [successful] = outer.next(TAG.ENUMERATED).value;
  if (successful !== 0) malformed(`OCSP response status ${successful}`);
  const wrapped = new DerFields(parseDer(outer.next(TAG.CONTEXT_0).value, TAG.SEQUENCE).value);
  outer.end();
  if (oidOf(wrapped.next(TAG.OID)) !== BASIC_RESPONSE) malformed('OCSP response is not a basic one');
  const basic = new DerFields(parseDer(wrapped.next(TAG.OCTET_STRING).value, TAG.SEQUENCE).value);
  wrapped.end();
  const tbs = basic.next(TAG.SEQUENCE);
  const algorithm = parseSignatureAlgorithm(basic);
  const signature = parseSignature(algorithm, bitStringBytes(basic.next(TAG.BIT_STRING)));
  const certificates = basic.optional(TAG.CONTEXT_0);
  basic.end();
  return {
    ...{ tbs: tbs.raw, algorithm, signature, ...parseResponseData(new DerFields(tbs.value)) },
    certificates: certificates
      ? parseDerList(parseDer(certificates.value, TAG.SEQUENCE).value, TAG.SEQUENCE).map(({ raw }) =>
          parseCertificate(raw),
        )
      : [],
  };
}

function parseResponseData(data: DerFields): Pick<OcspResponse, 'responder' | 'answers'> {
  const byName = data.optional(TAG.CONTEXT_1);
  const responder = byName
    ? { name: parseDer(byName.value, TAG.SEQUENCE).raw }
    : { keyHash: parseDer(data.next(TAG.CONTEXT_2).value, TAG.OCTET_STRING).value };
  generalizedTimeOf(data); // producedAt: the answers have their own times
  const answers = parseDerList(data.next(TAG.SEQUENCE).value, TAG.SEQUENCE).map(({ value }) => parseAnswer(value));
  refuseCritical(data.optional(TAG.CONTEXT_1)?.value);
  data.end();
  return { responder, answers };
}

function parseAnswer(sequence: Uint8Array): OcspAnswer {
  const answer = new DerFields(sequence);
  const id = new DerFields(answer.next(TAG.SEQUENCE).value);
  const hash = oidOf(new DerFields(id.next(TAG.SEQUENCE).value).next(TAG.OID)); // parameters are NULL or absent
  if (!Object.hasOwn(HASHES, hash)) malformed(`CertID by hash ${hash}`);
  const [issuerNameHash, issuerKeyHash] = [id.next(TAG.OCTET_STRING).value, id.next(TAG.OCTET_STRING).value];
  const serial = serialOf(id.next(TAG.INTEGER));
  id.end();
  const revoked = answer.optional(STATUS.REVOKED);
  const status = revoked ? 'revoked' : answer.optional(STATUS.GOOD) ? 'good' : 'unknown';
  if (status === 'unknown') answer.next(STATUS.UNKNOWN);
  const thisUpdateMs = generalizedTimeOf(answer);
  const next = answer.optional(TAG.CONTEXT_0);
  refuseCritical(answer.optional(TAG.CONTEXT_1)?.value);
  answer.end();
  return {
    ...{ hash: hash as OcspAnswer['hash'], issuerNameHash, issuerKeyHash, serial, status, thisUpdateMs },
    reason: revoked ? parseReason(revoked.value) : null,
    nextUpdateMs: next ? generalizedTimeOf(new DerFields(next.value)) : null,
  };
}

function parseReason(revokedInfo: Uint8Array): number | null {
  const fields = new DerFields(revokedInfo);
  generalizedTimeOf(fields);
  const reason = fields.optional(TAG.CONTEXT_0);
  fields.end();
  return reason ? (parseDer(reason.value, TAG.ENUMERATED).value[0] ?? null) : null;
}

function refuseCritical(sequence: Uint8Array | undefined): void {
  if (!sequence) return;
  for (const [oid, { critical }] of parseExtensions(parseDer(sequence, TAG.SEQUENCE).value))
    if (critical) malformed(`OCSP response has critical extension ${oid}`);
}

/**
 * Every certificate of the chain but the root has an answer that is authentic, in date and good. Throws OCSP_INVALID,
 * OCSP_EXPIRED, or CERTIFICATE_REVOKED, also for one on hold: NVIDIA holds devices that it has doubts about.
 */
export async function verifyOcsp(
  responses: readonly OcspResponse[],
  chain: readonly Certificate[],
  nowMs: number,
): Promise<void> {
  for (const [index, certificate] of chain.slice(0, -1).entries()) {
    const issuer = chain[index + 1]!;
    const found = responses.flatMap((response) =>
      response.answers.filter((answer) => isAbout(answer, certificate, issuer)).map((answer) => ({ response, answer })),
    );
    const [first, ...more] = found;
    if (!first || more.length > 0)
      return refuse('OCSP_INVALID', `one answer on certificate ${index} of the chain`, `${found.length}`);
    await verifyResponder(first.response, issuer, nowMs);
    verifyAnswer(first.answer, index, nowMs);
  }
}

function isAbout(
  { hash, issuerNameHash, issuerKeyHash, serial }: OcspAnswer,
  { serial: asked }: Certificate,
  issuer: Certificate,
): boolean {
  const digest = HASHES[hash];
  return (
    serial === asked &&
    equalBytes(issuerNameHash, digest(issuer.subject)) &&
    equalBytes(issuerKeyHash, digest(keyBitsOf(issuer)))
  );
}

/** The contents of the BIT STRING of a public key (section 4.1.1, issuerKeyHash). */
function keyBitsOf({ spki }: Certificate): Uint8Array {
  const fields = new DerFields(parseDer(spki, TAG.SEQUENCE).value);
  fields.next(TAG.SEQUENCE);
  return bitStringBytes(fields.next(TAG.BIT_STRING));
}

/** The authority itself, or whom it has certified for just this (section 4.2.2.2). */
async function verifyResponder(response: OcspResponse, issuer: Certificate, nowMs: number): Promise<void> {
  const { responder, certificates } = response;
  const isNamed = (each: Certificate): boolean =>
    'name' in responder
      ? equalBytes(each.subject, responder.name)
      : equalBytes(sha1(keyBitsOf(each)), responder.keyHash);
  const delegate = certificates.find((each) => isNamed(each) && !equalBytes(each.spki, issuer.spki));
  if (delegate) {
    const purposes = delegate.extensions.get(EXTENDED_KEY_USAGE)?.value;
    const mayAnswer =
      purposes &&
      parseDerList(parseDer(purposes, TAG.SEQUENCE).value, TAG.OID).some((oid) => oidOf(oid) === OCSP_SIGNING);
    if (!mayAnswer || !equalBytes(delegate.issuer, issuer.subject) || !(await isSignedBy(delegate, issuer.publicKey)))
      refuse('OCSP_INVALID', 'a responder that the authority has certified for OCSP', 'another');
    if (!isWithin(nowMs, delegate.notBeforeMs, delegate.notAfterMs))
      refuse('OCSP_EXPIRED', `a responder valid at ${isoOf(nowMs)}`, isoOf(delegate.notAfterMs));
  } else if (!isNamed(issuer)) refuse('OCSP_INVALID', 'a response of the authority', 'one of another');
  if (!(await isSignedBy(response, (delegate ?? issuer).publicKey)))
    refuse('OCSP_INVALID', 'a response signed by its responder', 'a signature that does not verify');
}

function verifyAnswer({ status, reason, thisUpdateMs, nextUpdateMs }: OcspAnswer, index: number, nowMs: number): void {
  const name = `certificate ${index} of the chain`;
  if (status === 'revoked')
    refuse(
      'CERTIFICATE_REVOKED',
      `${name} not revoked`,
      reason === ON_HOLD ? 'on hold' : `revoked, reason ${reason ?? 'not stated'}`,
    );
  if (status !== 'good') refuse('OCSP_INVALID', `${name} known to its authority`, status);
  if (nextUpdateMs === null) refuse('OCSP_INVALID', `an answer on ${name} with an end`, 'no nextUpdate');
  else if (!isWithin(nowMs, thisUpdateMs, nextUpdateMs))
    refuse(
      'OCSP_EXPIRED',
      `an answer on ${name} valid at ${isoOf(nowMs)}`,
      `${isoOf(thisUpdateMs)} to ${isoOf(nextUpdateMs)}`,
    );
}
