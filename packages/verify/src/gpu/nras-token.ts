/**
 * Tokens of NVIDIA's Remote Attestation Service (NRAS): a detached entity attestation token (RFC 9711 section 5),
 * `[["JWT", overall], {"GPU-0": token, …}]`. They say that NVIDIA's service found evidence for this nonce good. That is
 * weaker than judging the evidence (verify-gpu.ts): the service, its keys and whoever fetched them have to be believed.
 *
 * `nvattest` writes the same form on the machine that is to be judged, signed by nobody (alg none): never accepted.
 */
import { sha256 } from '@noble/hashes/sha2.js';
import { reading, refuse } from '../errors.ts';
import { bytesToHex, malformed, utf8ToBytes } from '../formats/bytes.ts';
import { boolean, hex, integer, object, oneOf, type Parse, text } from '../formats/schema.ts';
import { findKey, parseJws, verifyJws } from '../pki/jws.ts';
import { isoOf } from '../pki/x509.ts';

export interface NrasExpectation {
  /** Parsed JSON of https://nras.attestation.nvidia.com/.well-known/jwks.json; keys live for two days. */
  jwks: unknown;
  /** That the GPUs were asked for, lower-case hex. */
  nonce: string;
  nowMs: number;
}

export interface NrasClaims {
  devices: NrasDevice[];
  /** When the first of the tokens ends. */
  expiresMs: number;
}

export interface NrasDevice {
  /** GPU-0 */
  name: string;
  /** Serial number of the device certificate, decimal: the `ueid` of verified evidence. */
  ueid: string;
  /** GH100 A01 GSP BROM */
  hwmodel: string;
  driverVersion: string;
  vbiosVersion: string;
}

const ISSUER = 'https://nras.attestation.nvidia.com';
/** With version 2.0 (what /v3/attest/gpu returned in 2026; /v4 has 3.0) nobody says whether firmware id and versions fit. */
const CLAIMS_VERSION = '3.0';
const DEVICES = 16; // a machine has eight GPUs
const DEVICE_NAME = /^GPU-(0|[1-9]\d?)$/;
const TOKEN_CHARS = 64 * 1024; // [3 kB]
/** RFC 7519 section 4.1.5 allows a few minutes: tokens begin the second they are made, and clocks differ. */
const CLOCK_SKEW_MS = 5 * 60_000;
const MAX_SECONDS = 253_402_300_799; // the year 9999

/** What every token says. Times in seconds (RFC 7519 section 2, NumericDate). */
interface Claims {
  iss: typeof ISSUER;
  eat_nonce: string;
  iat: number;
  nbf: number;
  exp: number;
}
const seconds = integer(0, MAX_SECONDS);
const CLAIMS = { iss: oneOf(ISSUER), eat_nonce: hex(32), iat: seconds, nbf: seconds, exp: seconds };

/** Members GPU-0, GPU-1, …: at least one. */
const byDevice =
  <T>(parse: Parse<T>): Parse<Map<string, T>> =>
  (value, path) => {
    const entries = typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.entries(value) : [];
    if (entries.length === 0 || entries.length > DEVICES) malformed(`${path} must name 1 to ${DEVICES} devices`);
    for (const [name] of entries) if (!DEVICE_NAME.test(name)) malformed(`${path} names something that is no GPU`);
    return new Map(entries.map(([name, item]) => [name, parse(item, `${path}.${name}`)]));
  };

const pair =
  <A, B>(first: Parse<A>, second: Parse<B>): Parse<[A, B]> =>
  (value, path) =>
    Array.isArray(value) && value.length === 2
      ? [first(value[0], `${path}[0]`), second(value[1], `${path}[1]`)]
      : malformed(`${path} must be a pair`);

const token = text(TOKEN_CHARS);
const parseDetached = pair(pair(oneOf('JWT'), token), byDevice(token));
const parseOverall = object<
  Claims & { 'x-nvidia-ver': string; 'x-nvidia-overall-att-result': boolean; submods: Digests }
>(
  {
    ...CLAIMS,
    'x-nvidia-ver': oneOf(CLAIMS_VERSION),
    'x-nvidia-overall-att-result': boolean,
    submods: byDevice(pair(oneOf('DIGEST'), pair(oneOf('SHA-256'), hex(32)))),
  },
  { open: true },
);
type Digests = Map<string, ['DIGEST', ['SHA-256', string]]>;

interface DeviceClaims extends Claims {
  ueid: string;
  hwmodel: string;
  'x-nvidia-gpu-driver-version': string;
  'x-nvidia-gpu-vbios-version': string;
}
const version = text(40, /^[0-9A-F.]+$/i, 'a version');
const parseDeviceClaims = object<DeviceClaims>(
  {
    ...CLAIMS,
    ueid: text(49, /^[1-9]\d*$/, 'a serial number'), // 20 bytes
    hwmodel: text(80, /./),
    'x-nvidia-gpu-driver-version': version,
    'x-nvidia-gpu-vbios-version': version,
  },
  { open: true },
);

const CHAIN = { 'x-nvidia-cert-status': 'valid', 'x-nvidia-cert-ocsp-status': 'good' };
/** NVIDIA's example policy for these tokens (nvtrust, NVGPURemotePolicyExample.json v4), secure boot and no debugging. */
const REQUIRED: Record<string, string | boolean | typeof CHAIN> = {
  measres: 'success',
  secboot: true,
  dbgstat: 'disabled',
  'x-nvidia-gpu-arch-check': true,
  'x-nvidia-gpu-attestation-report-parsed': true,
  'x-nvidia-gpu-attestation-report-nonce-match': true,
  'x-nvidia-gpu-attestation-report-signature-verified': true,
  'x-nvidia-gpu-attestation-report-cert-chain': CHAIN,
  'x-nvidia-gpu-attestation-report-cert-chain-fwid-match': true,
  'x-nvidia-gpu-driver-rim-fetched': true,
  'x-nvidia-gpu-driver-rim-signature-verified': true,
  'x-nvidia-gpu-driver-rim-version-match': true,
  'x-nvidia-gpu-driver-rim-cert-chain': CHAIN,
  'x-nvidia-gpu-driver-rim-measurements-available': true,
  'x-nvidia-gpu-vbios-rim-fetched': true,
  'x-nvidia-gpu-vbios-rim-signature-verified': true,
  'x-nvidia-gpu-vbios-rim-version-match': true,
  'x-nvidia-gpu-vbios-rim-cert-chain': CHAIN,
  'x-nvidia-gpu-vbios-rim-measurements-available': true,
  'x-nvidia-gpu-vbios-index-no-conflict': true,
};

/**
 * Verifies the overall token and that of every device, which the overall one names by digest. Throws TOKEN_INVALID, or
 * TOKEN_EXPIRED outside the validity of any of them.
 */
export async function verifyNrasToken(detachedEat: unknown, expected: NrasExpectation): Promise<NrasClaims> {
  const [[, overallToken], tokens] = readingToken(() => parseDetached(detachedEat, 'token'));
  const overall = await verifyToken(overallToken, parseOverall, 'overall', expected);
  if (!overall.claims['x-nvidia-overall-att-result']) refused('an overall result of true', 'false');
  verifyDigests(overall.claims.submods, tokens);
  const devices: NrasDevice[] = [];
  const ends = [overall.claims.exp];
  for (const [name, each] of tokens) {
    const { claims, payload } = await verifyToken(each, parseDeviceClaims, name, expected);
    verifyRequired(payload, REQUIRED, name);
    const { ueid, hwmodel, exp } = claims;
    if (devices.some((device) => device.ueid === ueid)) refused('every device once', `${name}: ${ueid} again`);
    const versions = {
      driverVersion: claims['x-nvidia-gpu-driver-version'],
      vbiosVersion: claims['x-nvidia-gpu-vbios-version'],
    };
    devices.push({ name, ueid, hwmodel, ...versions });
    ends.push(exp);
  }
  return { devices, expiresMs: Math.min(...ends) * 1000 };
}

const refused = (expected: string, seen: string): never => refuse('TOKEN_INVALID', expected, seen);
const readingToken = <T>(read: () => T): T => reading('TOKEN_INVALID', 'token of NVIDIA', read);

async function verifyToken<T extends Claims>(
  compact: string,
  parse: Parse<T>,
  name: string,
  { jwks, nonce, nowMs }: NrasExpectation,
): Promise<{ claims: T; payload: unknown }> {
  const { jws, key } = readingToken(() => {
    const jws = parseJws(compact);
    return { jws, key: findKey(jwks, jws.kid) };
  });
  await verifyJws(jws, key);
  const claims = readingToken(() => parse(jws.payload, name));
  if (claims.eat_nonce !== nonce) refused(`${name} for nonce ${nonce}`, claims.eat_nonce);
  const [fromMs, endMs] = [Math.max(claims.iat, claims.nbf) * 1000, claims.exp * 1000];
  if (!(nowMs >= fromMs - CLOCK_SKEW_MS && nowMs < endMs))
    refuse('TOKEN_EXPIRED', `${name} valid at ${isoOf(nowMs)}`, `${isoOf(fromMs)} to ${isoOf(endMs)}`);
  return { claims, payload: jws.payload };
}

/** The tokens are those that the overall token names, and no others. */
function verifyDigests(submods: Digests, tokens: ReadonlyMap<string, string>): void {
  const [named, given] = [[...submods.keys()], [...tokens.keys()]].map((names) => names.sort().join(', '));
  if (named !== given) refused(`tokens of ${named}`, `${given}`);
  for (const [name, [, [, digest]]] of submods) {
    const seen = bytesToHex(sha256(utf8ToBytes(tokens.get(name)!)));
    if (seen !== digest) refused(`${name} with SHA-256 ${digest}`, seen);
  }
}

function verifyRequired(said: unknown, required: typeof REQUIRED | typeof CHAIN, path: string): void {
  for (const [name, value] of Object.entries(required)) {
    const seen = (said as Record<string, unknown> | null | undefined)?.[name];
    if (typeof value === 'object') verifyRequired(seen, value, `${path}.${name}`);
    else if (seen !== value) refused(`${path}.${name} ${value}`, JSON.stringify(seen)?.slice(0, 80) ?? 'nothing');
  }
}
