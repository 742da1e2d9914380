/**
 * Fetches Intel DCAP collateral from a PCCS (Provisioning Certificate Caching Service, API v4) or from Intel's own
 * service, which has the same paths but no root CRL. Nothing is judged here: verifiers authenticate every byte.
 *
 * | part | path | issuer chain (percent-encoded PEM, in a header) |
 * |---|---|---|
 * | TCB info | /tdx/certification/v4/tcb?fmspc= | TCB-Info-Issuer-Chain |
 * | QE identity | /tdx/certification/v4/qe/identity | SGX-Enclave-Identity-Issuer-Chain |
 * | PCK CRL | /sgx/certification/v4/pckcrl?ca=&encoding=der | SGX-PCK-CRL-Issuer-Chain |
 * | root CRL | /sgx/certification/v4/rootcacrl | - |
 */
import { type TdxCollateral, UnavailableError } from '@abaton/verify';
import type { ClientCode } from './codes.ts';
import { type FetchedBytes, fetchBytes } from './fetch-bytes.ts';

export interface PlatformId {
  /** Family-Model-Stepping-Platform-CustomSKU of the PCK certificate: 12 hex digits. */
  fmspc: string;
  /** Which of Intel's PCK authorities issued it. */
  ca: 'processor' | 'platform';
}

const TIMEOUT_MS = 10_000; // a cache in the same data centre answers in milliseconds, Intel's service in about a second
const MAX_BYTES = 2 ** 20; // the largest part, TCB info, has about 20 kB

/**
 * Fetches the four parts for one platform family. `pccsUrl` is the origin of the service, with or without its
 * `/sgx/certification/v4` suffix. Throws COLLATERAL_UNAVAILABLE when a part is absent, late or not of the API's shape.
 */
export async function fetchCollateral(pccsUrl: string, { fmspc, ca }: PlatformId): Promise<TdxCollateral> {
  const origin = pccsUrl.replace(/\/+$/, '').replace(/\/(sgx|tdx)\/certification\/v4$/, '');
  const part = (path: string) => fetchPart(`${origin}${path}`);
  const [tcb, identity, pckCrl, rootCrl] = await Promise.all([
    part(`/tdx/certification/v4/tcb?fmspc=${fmspc}`),
    part('/tdx/certification/v4/qe/identity'),
    part(`/sgx/certification/v4/pckcrl?ca=${ca}&encoding=der`),
    part('/sgx/certification/v4/rootcacrl'),
  ]);
  const tcbInfo = parseSigned(tcb, 'tcbInfo');
  const qeIdentity = parseSigned(identity, 'enclaveIdentity');
  return {
    pck_crl_issuer_chain: issuerChain(pckCrl, 'sgx-pck-crl-issuer-chain'),
    root_ca_crl: crlHex(rootCrl),
    pck_crl: crlHex(pckCrl),
    tcb_info_issuer_chain: issuerChain(tcb, 'tcb-info-issuer-chain'),
    tcb_info: tcbInfo.text,
    tcb_info_signature: tcbInfo.signature,
    qe_identity_issuer_chain: issuerChain(identity, 'sgx-enclave-identity-issuer-chain'),
    qe_identity: qeIdentity.text,
    qe_identity_signature: qeIdentity.signature,
  };
}

interface Part extends FetchedBytes {
  url: string;
}

const unavailable = (url: string, why: string, cause?: unknown) =>
  new UnavailableError<ClientCode>('COLLATERAL_UNAVAILABLE', `${url} ${why}. Check the address of the PCCS.`, {
    cause,
  });

async function fetchPart(url: string): Promise<Part> {
  const limits = { timeoutMs: TIMEOUT_MS, maxBytes: MAX_BYTES };
  return { url, ...(await fetchBytes(url, limits, (why, cause) => unavailable(url, why, cause))) };
}

/** Cuts the signed text out as it came: the signature covers these bytes, not a re-serialised form of them. */
function parseSigned({ url, bytes }: Part, member: string): { text: string; signature: string } {
  const match = new RegExp(
    `^\\s*{\\s*"${member}"\\s*:\\s*({.*})\\s*,\\s*"signature"\\s*:\\s*"([0-9a-fA-F]{128})"\\s*}\\s*$`,
    's',
  ).exec(new TextDecoder().decode(bytes));
  if (!match) throw unavailable(url, `did not answer with ${member} and its signature`);
  return { text: match[1]!, signature: match[2]!.toLowerCase() };
}

function issuerChain({ url, headers }: Part, name: string): string {
  try {
    const chain = decodeURIComponent(headers.get(name) ?? '');
    if (chain.includes('-----BEGIN CERTIFICATE-----')) return chain;
  } catch {} // not percent-encoding: the same answer as an absent header
  throw unavailable(url, `sent no issuer chain in ${name}`);
}

/** PCCS sends DER or its hexadecimal text, depending on path and version; 0x30 opens a DER SEQUENCE and is the digit 0 in text. */
function crlHex({ url, bytes }: Part): string {
  if (bytes[0] === 0x30) return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  const text = new TextDecoder().decode(bytes).trim().toLowerCase();
  if (/^30(?:[0-9a-f]{2})+$/.test(text)) return text;
  throw unavailable(url, 'did not answer with a CRL');
}
