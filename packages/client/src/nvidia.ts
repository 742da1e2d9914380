/**
 * Fetches what a verifier of NVIDIA GPUs needs beside the reports: reference measurements and revocation. Both are signed,
 * and nothing is judged here.
 *
 * | what | request | answer |
 * |---|---|---|
 * | RIM | GET /v1/rim/<id> | JSON { id, rim: base64 of the file, sha256: of the file, hex, … } |
 * | OCSP | POST, application/ocsp-request (RFC 6960 appendix A.1) | DER of an OCSPResponse |
 *
 * Written from published descriptions and answers. Tested against servers of our own only, never against the live
 * services. A caching proxy with the same paths, such as the one of dstack, can stand in for both.
 */
import { createHash } from 'node:crypto';
import { UnavailableError } from '@abaton/verify';
import type { ClientCode } from './codes.ts';
import { fetchBytes } from './fetch-bytes.ts';

export interface RimOptions {
  /** Of the service, without /v1/rim. */
  baseUrl?: string;
  timeoutMs?: number;
}

export interface OcspOptions {
  /** Where requests are posted to. */
  url?: string;
  timeoutMs?: number;
}

const RIM_SERVICE = 'https://rim.attestation.nvidia.com';
const OCSP_SERVICE = 'https://ocsp.ndis.nvidia.com';
const TIMEOUT_MS = 10_000; // as with the PCCS
/** RIM files have 20 to 26 kB; evidence takes 256 KiB, a third more in base64. */
const MAX_RIM_ANSWER_BYTES = 512 * 1024;
const MAX_OCSP_BYTES = 64 * 1024; // an answer with the certificates of its responder has about 2 kB
/** NV_GPU_DRIVER_GH100_580.159.03: names that come from a report, so that nothing in them may mean something in a path. */
const RIM_ID = /^\w[\w.-]{0,127}$/;
/** OCSPResponse of an error: nothing but its status, and unsigned (RFC 6960 sections 2.3 and 4.2.1). */
const OCSP_ERROR = /^30030a01(..)$/;
const OCSP_ERRORS = ['', 'malformedRequest', 'internalError', 'tryLater', '', 'sigRequired', 'unauthorized'];

/** The XML of one RIM, to be verified. Throws RIM_UNAVAILABLE, also for an id that NVIDIA has published nothing under. */
export async function fetchRim(
  id: string,
  { baseUrl = RIM_SERVICE, timeoutMs = TIMEOUT_MS }: RimOptions = {},
): Promise<string> {
  const unavailable = (why: string, cause?: unknown) =>
    new UnavailableError<ClientCode>('RIM_UNAVAILABLE', `RIM ${id.slice(0, 128)}: ${why}.`, { cause });
  if (!RIM_ID.test(id)) throw unavailable('no RIM has such an id');
  const url = `${baseUrl.replace(/\/+$/, '')}/v1/rim/${id}`;
  const { bytes } = await fetchBytes(url, { timeoutMs, maxBytes: MAX_RIM_ANSWER_BYTES }, (why, cause) =>
    unavailable(`${url} ${why}`, cause),
  );
  let answer: Partial<Record<'id' | 'rim' | 'sha256', unknown>> | null;
  try {
    answer = JSON.parse(new TextDecoder().decode(bytes));
  } catch (cause) {
    throw unavailable(`${url} did not answer with JSON`, cause);
  }
  if (answer?.id !== id) throw unavailable(`${url} answered with another id`);
  const { rim, sha256 } = answer;
  const file = Buffer.from(typeof rim === 'string' ? rim : '', 'base64');
  if (file.length === 0 || file.toString('base64') !== rim) throw unavailable(`${url} sent no file in base64`);
  if (createHash('sha256').update(file).digest('hex') !== sha256)
    throw unavailable(`${url} sent a file that does not match its SHA-256`);
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(file);
  } catch (cause) {
    throw unavailable(`${url} sent a file that is not text`, cause);
  }
}

/** DER of the answer to this request (DER), to be verified. Throws OCSP_UNAVAILABLE, also for an answer that is an error. */
export async function fetchOcsp(
  request: Uint8Array,
  { url = OCSP_SERVICE, timeoutMs = TIMEOUT_MS }: OcspOptions = {},
): Promise<Uint8Array> {
  const unavailable = (why: string, cause?: unknown) =>
    new UnavailableError<ClientCode>('OCSP_UNAVAILABLE', `${url} ${why}.`, { cause });
  const { bytes } = await fetchBytes(
    url,
    {
      method: 'POST',
      headers: { 'content-type': 'application/ocsp-request', accept: 'application/ocsp-response' },
      body: request as BodyInit,
      timeoutMs,
      maxBytes: MAX_OCSP_BYTES,
    },
    unavailable,
  );
  if (bytes[0] !== 0x30) throw unavailable('did not answer with an OCSP response'); // SEQUENCE
  const error = OCSP_ERROR.exec(Buffer.from(bytes).toString('hex'));
  if (error) {
    const status = Number.parseInt(error[1]!, 16);
    throw unavailable(`answered ${OCSP_ERRORS[status] || `with error ${status}`}`);
  }
  return bytes;
}
