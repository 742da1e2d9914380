/** How OCSP names a certificate (CertID, RFC 6960 section 4.1.1), and the request that asks about one (section 4.1). */
import { sha1 } from '@noble/hashes/legacy.js';
import { sha256, sha384 } from '@noble/hashes/sha2.js';
import { bytesToHex, concatBytes, hexToBytes, malformed } from '../formats/bytes.ts';
import { bitStringBytes, DerFields, parseDer, serialOf, TAG } from '../formats/der.ts';
import type { Certificate } from './x509.ts';

/**
 * DER of the OID → digest. By these an issuer is named; nothing is authenticated with them, so that SHA-1 does no harm.
 * OpenSSL asks by SHA-1 unless told otherwise, NVIDIA's SDK by SHA-256, its older verifier by SHA-384.
 */
const HASHES = new Map([
  ['06052b0e03021a', sha1], // 1.3.14.3.2.26
  ['0609608648016503040201', sha256], // 2.16.840.1.101.3.4.2.1
  ['0609608648016503040202', sha384], // 2.16.840.1.101.3.4.2.2
]);
const NO_PARAMETERS = /0500$/; // NULL, which may also be left out (RFC 5754 section 2)

/** Contents of a CertID as one text, equal to one of `certIdsOf` the certificate that it names. Throws MalformedError. */
export function parseCertId(sequence: Uint8Array): string {
  const fields = new DerFields(sequence);
  const hash = bytesToHex(fields.next(TAG.SEQUENCE).value).replace(NO_PARAMETERS, '');
  if (!HASHES.has(hash)) malformed('CertID is not by SHA-1, SHA-256 or SHA-384');
  const issuerNameHash = fields.next(TAG.OCTET_STRING).value;
  const issuerKeyHash = fields.next(TAG.OCTET_STRING).value;
  const serial = serialOf(fields.next(TAG.INTEGER));
  fields.end();
  return idOf(hash, issuerNameHash, issuerKeyHash, serial);
}

/** The names that a certificate has in OCSP: one by each hash. */
export const certIdsOf = ({ serial }: Certificate, issuer: Certificate): ReadonlySet<string> =>
  new Set(
    Array.from(HASHES, ([hash, digest]) => idOf(hash, digest(issuer.subject), digest(keyBitsOf(issuer)), serial)),
  );

const idOf = (hash: string, issuerNameHash: Uint8Array, issuerKeyHash: Uint8Array, serial: string): string =>
  [hash, bytesToHex(issuerNameHash), bytesToHex(issuerKeyHash), serial].join(' ');

/** How a responder is named by its key: SHA-1 always (section 4.2.1, KeyHash). It authenticates nothing either. */
export const responderKeyHash = (certificate: Certificate): Uint8Array => sha1(keyBitsOf(certificate));

/** The contents of the BIT STRING of a public key. */
function keyBitsOf({ spki }: Certificate): Uint8Array {
  const fields = new DerFields(parseDer(spki, TAG.SEQUENCE).value);
  fields.next(TAG.SEQUENCE);
  return bitStringBytes(fields.next(TAG.BIT_STRING));
}

const SHA256_IDENTIFIER = hexToBytes('300d06096086480165030402010500');
const SERIAL_BYTES = 20; // RFC 5280 section 4.1.2.2

/**
 * DER of a request by SHA-256 for one certificate, unsigned and without nonce, to be posted as application/ocsp-request
 * (appendix A.1). Throws MalformedError for a serial number of more than 20 bytes.
 */
export function buildOcspRequest({ serial }: Certificate, issuer: Certificate): Uint8Array {
  const number = hexToBytes(serial);
  if (number.length > SERIAL_BYTES) malformed('serial number is longer than 20 bytes');
  const certId = tlv(
    TAG.SEQUENCE,
    SHA256_IDENTIFIER,
    tlv(TAG.OCTET_STRING, sha256(issuer.subject)),
    tlv(TAG.OCTET_STRING, sha256(keyBitsOf(issuer))),
    tlv(TAG.INTEGER, number[0]! < 0x80 ? number : concatBytes(Uint8Array.of(0), number)),
  );
  const requestList = tlv(TAG.SEQUENCE, tlv(TAG.SEQUENCE, certId)); // one Request, which is its CertID and no more
  return tlv(TAG.SEQUENCE, tlv(TAG.SEQUENCE, requestList)); // OCSPRequest { TBSRequest { requestList } }
}

/** Lengths of one octet, below 128: the longest request has 116 bytes. */
function tlv(tag: number, ...parts: Uint8Array[]): Uint8Array {
  const value = concatBytes(...parts);
  return concatBytes(Uint8Array.of(tag, value.length), value);
}
