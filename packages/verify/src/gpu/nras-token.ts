/**
 * Tokens of NVIDIA's Remote Attestation Service (NRAS): a detached entity attestation token (RFC 9711 section 5),
 * `[["JWT", overall], {"GPU-0": token, …}]`. They say that NVIDIA's service found evidence for this nonce good. That is
 * weaker than judging the evidence (verify-gpu.ts): the service, its keys and whoever fetched them have to be believed.
 *
 * `nvattest` writes the same form on the machine that is to be judged, signed by nobody (alg none): never accepted.
 */
import { sha256 } from '@noble/hashes/sha2.js';
import { reading, refuse } from '../errors.ts';
import { bytesToHex, utf8ToBytes } from '../formats/bytes.ts';
import type { Parse } from '../formats/schema.ts';
import { findKey, parseJws, verifyJws } from '../pki/jws.ts';
import { isoOf } from '../pki/x509.ts';
import {
  type Claims,
  type Digests,
  parseDetached,
  parseDeviceClaims,
  parseOverall,
  verifyDeviceIsGood,
} from './nras-claims.ts';

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

/** RFC 7519 section 4.1.5 allows a few minutes: tokens begin the second they are made, and clocks differ. */
const CLOCK_SKEW_MS = 5 * 60_000;

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
    verifyDeviceIsGood(payload, name);
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
