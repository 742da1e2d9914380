/**
 * Intel TDX quote, versions 4 and 5 (Intel TDX DCAP Quoting Library API, appendix A.3 and A.4). Integers are little-endian.
 *
 *   offset  bytes  header
 *        0      2  version (4 or 5)
 *        2      2  attestation key type (2: ECDSA on P-256)
 *        4      4  TEE type (0x81: TDX)
 *        8      4  reserved
 *       12     16  vendor of the quoting enclave
 *       28     20  user data
 *       48      6  version 5 only: type of the body (2: TD report 1.0, 3: TD report 1.5), its length (4)
 *                  body, TD report: see TD_REPORT_1_0 and TD_REPORT_1_5 below
 *
 *   offset  bytes  after the body
 *        0      4  length of all that follows
 *        4     64  signature of all up to the end of the body by the attestation key, r‖s
 *       68     64  attestation key, x‖y
 *      132      6  certification data: type 6 (2), length (4)
 *      138    384  report of the quoting enclave (QE)
 *      522     64  signature of the QE report by the PCK key, r‖s
 *      586      2  length n of QE authentication data
 *      588      n  QE authentication data
 *    588+n      6  certification data: type 5 (2), length (4)
 *    594+n         PCK certificate chain, PEM: leaf, CA, root; the QE ends it with a zero byte
 *
 * Buffers of the kernel are longer than the quote: after the end only zeros are accepted.
 */

import { reading, refuse } from '../errors.ts';
import { ByteReader, bytesToHex, decodeUtf8, isZero, malformed } from '../formats/bytes.ts';
import { parsePemChain } from '../formats/pem.ts';

/** TD report of TDX 1.0: bytes of each field, in order. */
const TD_REPORT_1_0 = {
  teeTcbSvn: 16, // security versions of the TDX module and what it rests on
  mrSeam: 48, // measurement of the TDX module
  mrSignerSeam: 48, // its signer: zeros are Intel
  seamAttributes: 8,
  tdAttributes: 8, // of the trust domain: debug and others
  xfam: 8, // CPU features that the trust domain may use
  mrtd: 48, // initial memory: the virtual firmware
  mrConfigId: 48, // set by the host at start: dstack puts the code hash there
  mrOwner: 48,
  mrOwnerConfig: 48,
  rtmr0: 48, // firmware configuration
  rtmr1: 48, // kernel
  rtmr2: 48, // kernel command line and initial file system
  rtmr3: 48, // what the guest measured at run time: the application
  reportData: 64,
} as const;

/** TD report of TDX 1.5: the same, and two fields more. */
const TD_REPORT_1_5 = {
  ...TD_REPORT_1_0,
  teeTcbSvn2: 16, // of the TDX module that runs now, if it was exchanged under the running guest
  mrServiceTd: 48, // of a service domain, such as one that migrates this guest
} as const;

export type TdReport = Record<keyof typeof TD_REPORT_1_0, Uint8Array> & {
  /** Null in a report of TDX 1.0, which has no such field. */
  teeTcbSvn2: Uint8Array | null;
  mrServiceTd: Uint8Array | null;
};

export interface TdxQuote {
  /** Header and body: what `signature` covers. */
  signed: Uint8Array;
  report: TdReport;
  signature: Uint8Array;
  attestationKey: Uint8Array;
  qeReport: Uint8Array;
  qeReportSignature: Uint8Array;
  qeAuthData: Uint8Array;
  /** DER of leaf, CA and root. */
  pckChain: [Uint8Array, Uint8Array, Uint8Array];
}

const HEADER_BYTES = 48;
/** Body types of version 5; version 4 has only the first. */
const BODIES = new Map<number, Record<string, number>>([
  [2, TD_REPORT_1_0],
  [3, TD_REPORT_1_5],
]);
const ECDSA_P256 = 2;
const TEE_TDX = 0x81;
const INTEL_QE_VENDOR = '939a7233f79c4ca9940a0db3957f0607';
const QE_REPORT_CERTIFICATION = 6;
const PCK_CHAIN = 5;

/** Throws QUOTE_UNSUPPORTED or QUOTE_MALFORMED. Verifies nothing. */
export function parseTdxQuote(bytes: Uint8Array): TdxQuote {
  return reading('QUOTE_MALFORMED', 'TDX quote', () => {
    const reader = new ByteReader(bytes);
    const version = parseHeader(new ByteReader(reader.take(HEADER_BYTES)));
    const report = version === 4 ? parseReport(reader, TD_REPORT_1_0) : parseBody(reader);
    const signed = bytes.subarray(0, reader.offset);
    const signatureData = new ByteReader(reader.take(reader.uint(4)));
    if (!isZero(reader.rest())) malformed('bytes follow the end of the quote');
    return { signed, report, ...parseSignatureData(signatureData) };
  });
}

/** Returns the version. */
function parseHeader(header: ByteReader): 4 | 5 {
  const version = header.uint(2);
  if (version !== 4 && version !== 5) return refuse('QUOTE_UNSUPPORTED', 'quote version 4 or 5', `${version}`);
  const keyType = header.uint(2);
  if (keyType !== ECDSA_P256) refuse('QUOTE_UNSUPPORTED', `attestation key type ${ECDSA_P256}`, `${keyType}`);
  const teeType = header.uint(4);
  if (teeType !== TEE_TDX) refuse('QUOTE_UNSUPPORTED', `TEE type ${TEE_TDX} (TDX)`, `${teeType}`);
  header.take(4);
  const vendor = bytesToHex(header.take(16));
  if (vendor !== INTEL_QE_VENDOR) refuse('QUOTE_UNSUPPORTED', `QE vendor ${INTEL_QE_VENDOR}`, vendor);
  return version;
}

function parseBody(reader: ByteReader): TdReport {
  const type = reader.uint(2);
  const fields = BODIES.get(type) ?? refuse('QUOTE_UNSUPPORTED', 'a body of type 2 or 3 (TD report)', `${type}`);
  const body = new ByteReader(reader.take(reader.uint(4)));
  const report = parseReport(body, fields);
  if (body.left > 0) malformed('bytes follow the TD report');
  return report;
}

function parseReport(reader: ByteReader, fields: Record<string, number>): TdReport {
  const report: Record<string, Uint8Array | null> = { teeTcbSvn2: null, mrServiceTd: null };
  for (const [field, bytes] of Object.entries(fields)) report[field] = reader.take(bytes);
  return report as TdReport;
}

function parseSignatureData(reader: ByteReader): Omit<TdxQuote, 'signed' | 'report'> {
  const signature = reader.take(64);
  const attestationKey = reader.take(64);
  const certification = new ByteReader(takeCertification(reader, QE_REPORT_CERTIFICATION));
  const qeReport = certification.take(384);
  const qeReportSignature = certification.take(64);
  const qeAuthData = certification.take(certification.uint(2));
  const pckChain = parsePckChain(takeCertification(certification, PCK_CHAIN));
  return { signature, attestationKey, qeReport, qeReportSignature, qeAuthData, pckChain };
}

/** Certification data fills its container to the last byte. */
function takeCertification(reader: ByteReader, type: number): Uint8Array {
  const seen = reader.uint(2);
  if (seen !== type) refuse('QUOTE_UNSUPPORTED', `certification data of type ${type}`, `${seen}`);
  const data = reader.take(reader.uint(4));
  if (reader.left > 0) malformed('bytes follow the certification data');
  return data;
}

function parsePckChain(pem: Uint8Array): TdxQuote['pckChain'] {
  const text = decodeUtf8(pem.at(-1) === 0 ? pem.subarray(0, -1) : pem);
  const [leaf, ca, root, ...more] = parsePemChain(text);
  if (!leaf || !ca || !root || more.length > 0) return malformed('PCK chain does not have three certificates');
  return [leaf, ca, root];
}
