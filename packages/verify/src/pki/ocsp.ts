/**
 * OCSP (RFC 6960): what a certificate authority says today of one certificate. Responses are carried with the evidence
 * or fetched by whoever verifies; here they are read and authenticated, whoever brought them. A nonce is not asked for:
 * caches answer without, and `nextUpdate` bounds the age (a day with NVIDIA).
 */
import { refuse } from '../errors.ts';
import { equalBytes, malformed } from '../formats/bytes.ts';
import {
  bitStringBytes,
  type Der,
  DerFields,
  generalizedTimeOf,
  oidOf,
  parseDer,
  parseDerList,
  TAG,
} from '../formats/der.ts';
import { certIdsOf, parseCertId } from './ocsp-cert-id.ts';
import { type SignedByResponder, verifyResponder } from './ocsp-responder.ts';
import { parseSignature, parseSignatureAlgorithm } from './signature.ts';
import { type Certificate, isoOf, isWithin, parseCertificate, parseExtensions } from './x509.ts';

/** A BasicOCSPResponse (section 4.2.1). */
export interface OcspResponse extends SignedByResponder {
  answers: readonly OcspAnswer[];
}

interface OcspAnswer {
  /** One of `certIdsOf` the certificate that it is about. */
  certId: string;
  status: 'good' | 'revoked' | 'unknown';
  /** CRLReason of a revoked one; null: not stated. */
  reason: number | null;
  thisUpdateMs: number;
  nextUpdateMs: number | null;
}

const SUCCESSFUL = 0;
const BASIC_RESPONSE = '1.3.6.1.5.5.7.48.1.1';
/** id-pkix-ocsp-nonce (section 4.4.1): whoever asks with a critical one may be answered with a critical one. */
const NONCE = '1.3.6.1.5.5.7.48.1.2';
const STATUS = { GOOD: 0x80, REVOKED: 0xa1, UNKNOWN: 0x82 } as const; // context tags 0, 1, 2 of CertStatus
/** CRLReason (RFC 5280 section 5.3.1). NVIDIA puts devices that it has doubts about on hold. */
const REASONS = [
  ...['unspecified', 'keyCompromise', 'cACompromise', 'affiliationChanged', 'superseded', 'cessationOfOperation'],
  ...['certificateHold', '7', 'removeFromCRL', 'privilegeWithdrawn', 'aACompromise'],
];
/** NVIDIA answers as of this very second, and clocks differ. As long as `openssl ocsp` allows (-validity_period). */
const CLOCK_SKEW_MS = 5 * 60_000;

/** Throws MalformedError; also for an error response, which nobody signs (section 2.3). */
export function parseOcspResponse(der: Uint8Array): OcspResponse {
  const outer = new DerFields(parseDer(der, TAG.SEQUENCE).value);
  const status = enumerated(outer.next(TAG.ENUMERATED));
  if (status !== SUCCESSFUL) malformed(`OCSP response status ${status}`);
  const wrapped = new DerFields(parseDer(outer.next(TAG.CONTEXT_0).value, TAG.SEQUENCE).value);
  outer.end();
  if (oidOf(wrapped.next(TAG.OID)) !== BASIC_RESPONSE) malformed('OCSP response is not a basic one');
  const basic = new DerFields(parseDer(wrapped.next(TAG.OCTET_STRING).value, TAG.SEQUENCE).value);
  wrapped.end();
  const tbs = basic.next(TAG.SEQUENCE);
  const algorithm = parseSignatureAlgorithm(basic);
  const signature = parseSignature(algorithm, bitStringBytes(basic.next(TAG.BIT_STRING)));
  const list = basic.optional(TAG.CONTEXT_0);
  basic.end();
  const certificates = list ? parseDerList(parseDer(list.value, TAG.SEQUENCE).value, TAG.SEQUENCE) : [];
  return {
    ...{ tbs: tbs.raw, algorithm, signature, ...parseResponseData(new DerFields(tbs.value)) },
    certificates: certificates.map(({ raw }) => parseCertificate(raw)),
  };
}

function parseResponseData(data: DerFields): Pick<OcspResponse, 'responder' | 'answers'> {
  const byName = data.optional(TAG.CONTEXT_1);
  const responder = byName
    ? { name: parseDer(byName.value, TAG.SEQUENCE).raw }
    : { keyHash: parseDer(data.next(TAG.CONTEXT_2).value, TAG.OCTET_STRING).value };
  generalizedTimeOf(data); // producedAt: the answers have their own times
  const answers = parseDerList(data.next(TAG.SEQUENCE).value, TAG.SEQUENCE).map(({ value }) => parseAnswer(value));
  refuseCritical(data.optional(TAG.CONTEXT_1));
  data.end();
  return { responder, answers };
}

/** SingleResponse. */
function parseAnswer(sequence: Uint8Array): OcspAnswer {
  const fields = new DerFields(sequence);
  const certId = parseCertId(fields.next(TAG.SEQUENCE).value);
  const said = parseStatus(fields);
  const thisUpdateMs = generalizedTimeOf(fields);
  const next = fields.optional(TAG.CONTEXT_0);
  refuseCritical(fields.optional(TAG.CONTEXT_1));
  fields.end();
  return { certId, ...said, thisUpdateMs, nextUpdateMs: next && onlyOne(next, generalizedTimeOf) };
}

function parseStatus(fields: DerFields): Pick<OcspAnswer, 'status' | 'reason'> {
  const revoked = fields.optional(STATUS.REVOKED);
  if (revoked) {
    const info = new DerFields(revoked.value);
    generalizedTimeOf(info);
    const reason = info.optional(TAG.CONTEXT_0);
    info.end();
    return { status: 'revoked', reason: reason && enumerated(parseDer(reason.value, TAG.ENUMERATED)) };
  }
  const good = fields.optional(STATUS.GOOD);
  const { value } = good ?? fields.next(STATUS.UNKNOWN);
  if (value.length > 0) malformed('OCSP status has contents');
  return { status: good ? 'good' : 'unknown', reason: null };
}

/** All values of OCSP fit one octet. */
function enumerated({ value }: Der): number {
  const [only] = value;
  return only !== undefined && only < 0x80 && value.length === 1 ? only : malformed('ENUMERATED is not of one octet');
}

function onlyOne<T>({ value }: Der, read: (fields: DerFields) => T): T {
  const fields = new DerFields(value);
  const result = read(fields);
  fields.end();
  return result;
}

function refuseCritical(explicit: Der | null): void {
  if (!explicit) return;
  for (const [oid, { critical }] of parseExtensions(parseDer(explicit.value, TAG.SEQUENCE).value))
    if (critical && oid !== NONCE) malformed(`OCSP response has critical extension ${oid}`);
}

/**
 * Every certificate of the chain but the last has an answer, and all answers on it are authentic, in date and good.
 * Throws OCSP_INVALID, OCSP_EXPIRED, or CERTIFICATE_REVOKED, also for one on hold.
 *
 * NVIDIA's responder knows no leaf of a device, which the device itself certifies at each boot: it says `unauthorized`.
 * The chain of a device is to be given from its second certificate. `authentic`, shared by the chains of one verification,
 * saves verifying a response again that is about several of them.
 */
export async function verifyOcsp(
  responses: readonly OcspResponse[],
  chain: readonly Certificate[],
  nowMs: number,
  authentic = new Map<OcspResponse, Certificate[]>(),
): Promise<void> {
  for (const [index, certificate] of chain.slice(0, -1).entries()) {
    const issuer = chain[index + 1]!;
    const name = `certificate ${index} of the chain (serial ${certificate.serial})`;
    const ids = certIdsOf(certificate, issuer);
    const isAbout = ({ certId }: OcspAnswer): boolean => ids.has(certId);
    const found = responses.filter(({ answers }) => answers.some(isAbout));
    if (found.length === 0) refuse('OCSP_INVALID', `an answer on ${name}`, `none in ${responses.length} responses`);
    for (const response of found) {
      const authorities = authentic.get(response) ?? [];
      if (!authorities.some((known) => isSameAuthority(known, issuer))) await verifyResponder(response, issuer, nowMs);
      authentic.set(response, [...authorities, issuer]);
      for (const answer of response.answers.filter(isAbout)) verifyAnswer(answer, name, nowMs);
    }
  }
}

const isSameAuthority = (a: Certificate, b: Certificate): boolean =>
  equalBytes(a.subject, b.subject) && equalBytes(a.spki, b.spki);

function verifyAnswer({ status, reason, thisUpdateMs, nextUpdateMs }: OcspAnswer, name: string, nowMs: number): void {
  if (status === 'revoked') {
    const why = reason === null ? 'no reason stated' : (REASONS[reason] ?? `${reason}`);
    refuse('CERTIFICATE_REVOKED', `${name} not revoked`, `revoked: ${why}`);
  }
  if (status !== 'good') refuse('OCSP_INVALID', `${name} known to its authority`, status);
  if (nextUpdateMs === null) refuse('OCSP_INVALID', `an answer on ${name} with an end`, 'no nextUpdate');
  if (!isWithin(nowMs, thisUpdateMs - CLOCK_SKEW_MS, nextUpdateMs))
    refuse(
      'OCSP_EXPIRED',
      `an answer on ${name} valid at ${isoOf(nowMs)}`,
      `${isoOf(thisUpdateMs)} to ${isoOf(nextUpdateMs)}`,
    );
}
