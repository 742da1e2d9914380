/**
 * What the tokens of NVIDIA's attestation service say: their form, and what a device must have for its evidence to count
 * as good. Members not named here are ignored: the service adds some now and then.
 */
import { refuse } from '../errors.ts';
import { malformed } from '../formats/bytes.ts';
import { boolean, hex, integer, object, oneOf, type Parse, text } from '../formats/schema.ts';

const ISSUER = 'https://nras.attestation.nvidia.com';
/** Version 2.0, which /v3/attest/gpu still returned in 2026 (/v4 has 3.0), does not say whether firmware id and versions fit. */
const CLAIMS_VERSION = '3.0';
const DEVICES = 16; // a machine has eight GPUs
const DEVICE_NAME = /^GPU-(0|[1-9]\d?)$/;
const TOKEN_CHARS = 64 * 1024; // [3 kB]
const MAX_SECONDS = 253_402_300_799; // the year 9999

/** What every token says. Times in seconds (RFC 7519 section 2, NumericDate). */
export interface Claims {
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
export const parseDetached = pair(pair(oneOf('JWT'), token), byDevice(token));
export const parseOverall = object<
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
export type Digests = Map<string, ['DIGEST', ['SHA-256', string]]>;

export interface DeviceClaims extends Claims {
  ueid: string;
  hwmodel: string;
  'x-nvidia-gpu-driver-version': string;
  'x-nvidia-gpu-vbios-version': string;
}
const version = text(40, /^[0-9A-F.]+$/i, 'a version');
export const parseDeviceClaims = object<DeviceClaims>(
  {
    ...CLAIMS,
    ueid: text(49, /^[1-9]\d*$/, 'a serial number'), // 20 bytes
    hwmodel: text(80, /./),
    'x-nvidia-gpu-driver-version': version,
    'x-nvidia-gpu-vbios-version': version,
  },
  { open: true },
);

type Required = { [name: string]: string | boolean | Required };
const CHAIN = { 'x-nvidia-cert-status': 'valid', 'x-nvidia-cert-ocsp-status': 'good' };
/** NVIDIA's example policy for these tokens (nvtrust, NVGPURemotePolicyExample.json v4), secure boot and no debugging. */
const REQUIRED: Required = {
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

/** Throws TOKEN_INVALID unless the payload of a device's token says that its evidence is good. */
export const verifyDeviceIsGood = (payload: unknown, name: string): void => verifySays(payload, REQUIRED, name);

function verifySays(payload: unknown, required: Required, path: string): void {
  for (const [name, value] of Object.entries(required)) {
    const seen = (payload as Record<string, unknown> | null | undefined)?.[name];
    if (typeof value === 'object') verifySays(seen, value, `${path}.${name}`);
    else if (seen !== value)
      refuse('TOKEN_INVALID', `${path}.${name} ${value}`, JSON.stringify(seen)?.slice(0, 80) ?? 'nothing');
  }
}
