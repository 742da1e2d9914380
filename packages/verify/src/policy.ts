/**
 * What a verifier demands: one readable JSON document, version 1, kept outside the measured image, signable by officers
 * (signed-policy.ts). What is absent allows nothing (code, OS, TCB status, advisory) and demands nothing either (machine, age,
 * evaluation number, GPU, where a null says so). There is no
 * member for debugging, for what Intel has revoked, or for another root of trust: nothing may allow those.
 */
import type { VerificationCode } from './codes.ts';
import { ConfigurationError, refuse } from './errors.ts';
import { MalformedError, malformed } from './formats/bytes.ts';
import { parseUtcTime } from './formats/der.ts';
import {
  hexOfAnyCase,
  integer,
  list,
  nullable,
  object,
  oneOf,
  optional,
  type Parse,
  parseUniqueJson,
  text,
} from './formats/schema.ts';
import { TCB_STATUSES, type TcbStatus } from './tdx/tcb-status.ts';

/** One OS image in one VM shape, under TDX (RTMR0 changes with vCPU and RAM) or under SEV-SNP. 96 hex digits each. */
export type OsMeasurement =
  | { name: string; mrtd: string; rtmr0: string; rtmr1: string; rtmr2: string }
  | { name: string; launchMeasurement: string };

/** A dated exception: until then, a platform may have this status and these advisories besides the usual ones. */
export interface TcbGrace {
  status: TcbStatus;
  /** 2026-09-01T00:00:00Z */
  until: string;
  advisories: string[];
}

/**
 * Lowest security versions of AMD's firmware. AMD signs no list of what is current: the numbers come from its security
 * bulletins. `fmc` exists from Turin on.
 */
export interface SnpMinimumTcb {
  product: SnpProduct;
  fmc: number;
  bootLoader: number;
  tee: number;
  snp: number;
  microcode: number;
}
export const SNP_PRODUCTS = ['Milan', 'Genoa', 'Turin'] as const;
export type SnpProduct = (typeof SNP_PRODUCTS)[number];

export interface GpuPolicy {
  /** How many GPUs there must be; null: one at least. Switches are not counted. */
  count: number | null;
  architectures: GpuArchitecture[];
  /** Versions as NVIDIA writes them (580.159.03; 96.00.74.00.20). Null: whatever has reference measurements. */
  driverVersions: string[] | null;
  vbiosVersions: string[] | null;
  /** Device certificates never expire and are revoked by OCSP alone. `optional`: its absence is reported, and accepted. */
  ocsp: 'required' | 'optional';
}
export const GPU_ARCHITECTURES = ['HOPPER', 'BLACKWELL', 'LS10'] as const;
/** LS10 is the NVSwitch of Hopper systems. */
export type GpuArchitecture = (typeof GPU_ARCHITECTURES)[number];

export interface Policy {
  version: 1;
  /** Allowed code hashes: SHA-256 of the raw app_compose, `sha256:` and 64 hex digits. */
  codeHashes: string[];
  /** Allowed OS images. Empty: the check does not run, and what did not run is not a pass. */
  osMeasurements: OsMeasurement[];
  /** Allowed digests of abaton.yaml, of the access policy and of the model registry. Null: not pinned. */
  manifestSha256: string[] | null;
  policySha256: string[] | null;
  modelRegistrySha256: string[] | null;
  /** Who may hand the guest its keys, as dstack names them: `kms` with the key of the KMS root, `local-sgx` with the sealing enclave. */
  keyProviders: { name: string; id: string }[] | null;
  /** Allowed TCB statuses. Default: UpToDate alone. */
  tcbStatuses: string[];
  tcbGrace: TcbGrace[];
  /** Allowed advisories, e.g. INTEL-SA-01192. Default: none. */
  advisories: string[];
  /** Lowest tcbEvaluationDataNumber that is accepted. */
  minTcbEvaluationDataNumber: number;
  /** Oldest TCB info, QE identity and CRL of the PCK CA, counted from their issue. Null: until their signed next update. */
  maxCollateralAgeDays: number | null;
  /** The machines: PPID (32 hex digits) or chip id of SEV-SNP (128). Null: any machine of Intel or AMD. */
  platformIds: string[] | null;
  snpMinimumTcb: SnpMinimumTcb[];
  /**
   * Whether the chip must say that it looked for memory aliases at boot, by which a host could change a guest's memory
   * (BadRAM, CVE-2024-21944; AMD-SB-3015). Firmware from before does not say.
   */
  snpAliasCheck: 'required' | 'optional';
  /** Null: no GPU is required; what GPU evidence there is must hold all the same. */
  gpu: GpuPolicy | null;
}

const ENTRIES = 1000; // a list that a person keeps
const digests = optional(nullable(list(hexOfAnyCase(32), ENTRIES)), null);
const name = text(200);
const svn = integer(0, 255);

const time: Parse<string> = (value, path) => {
  const parsed = text(20, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/, 'a time like 2026-08-13T10:45:38Z')(value, path);
  parseUtcTime(parsed);
  return parsed;
};

const measurement = hexOfAnyCase(48);
const osMeasurement: Parse<OsMeasurement> = (value, path) =>
  typeof value === 'object' && value !== null && Object.hasOwn(value, 'launchMeasurement')
    ? object({ name, launchMeasurement: measurement })(value, path)
    : object({ name, mrtd: measurement, rtmr0: measurement, rtmr1: measurement, rtmr2: measurement })(value, path);

const ALLOWABLE = TCB_STATUSES.filter((status): status is Exclude<TcbStatus, 'Revoked'> => status !== 'Revoked');
const advisories = optional(list(text(40, /^INTEL-SA-\d{5}$/, 'an advisory such as INTEL-SA-01192'), ENTRIES), []);

const platformId: Parse<string> = (value, path) =>
  typeof value === 'string' && value.length === 128 ? hexOfAnyCase(64)(value, path) : hexOfAnyCase(16)(value, path);

const version = text(40, /^[0-9A-F]+(\.[0-9A-F]+)+$/, 'a version such as 580.159.03');
const gpuPolicy = object<GpuPolicy>({
  count: optional(nullable(integer(1, 64)), null),
  architectures: optional(list(oneOf(...GPU_ARCHITECTURES), GPU_ARCHITECTURES.length), [...GPU_ARCHITECTURES]),
  driverVersions: optional(nullable(list(version, ENTRIES)), null),
  vbiosVersions: optional(nullable(list(version, ENTRIES)), null),
  ocsp: optional(oneOf('required', 'optional'), 'required'),
});

const policy = object<Policy>({
  version: oneOf(1),
  codeHashes: optional(list(text(71, /^sha256:[0-9a-f]{64}$/, 'sha256: and 64 lower-case hex digits'), ENTRIES), []),
  osMeasurements: optional(list(osMeasurement, ENTRIES), []),
  manifestSha256: digests,
  policySha256: digests,
  modelRegistrySha256: digests,
  keyProviders: optional(nullable(list(object({ name: text(20), id: text(1024) }), ENTRIES)), null),
  tcbStatuses: optional(list(oneOf(...ALLOWABLE), ALLOWABLE.length), ['UpToDate']),
  tcbGrace: optional(list(object<TcbGrace>({ status: oneOf(...ALLOWABLE), until: time, advisories }), ENTRIES), []),
  advisories,
  minTcbEvaluationDataNumber: optional(integer(0, 2 ** 31), 0),
  maxCollateralAgeDays: optional(nullable(integer(1, 366)), null),
  platformIds: optional(nullable(list(platformId, ENTRIES)), null),
  snpMinimumTcb: optional(
    list(
      object<SnpMinimumTcb>({
        ...{ product: oneOf(...SNP_PRODUCTS), fmc: optional(svn, 0) },
        ...{ bootLoader: svn, tee: svn, snp: svn, microcode: svn },
      }),
      SNP_PRODUCTS.length,
    ),
    [],
  ),
  snpAliasCheck: optional(oneOf('required', 'optional'), 'optional'),
  gpu: optional(nullable(gpuPolicy), null),
});

/** Throws POLICY_INVALID, naming the member. `json` is the parsed document. */
export function parsePolicy(json: unknown): Policy {
  try {
    const parsed = policy(json, 'policy');
    const products = parsed.snpMinimumTcb.map(({ product }) => product);
    if (new Set(products).size < products.length) malformed('policy.snpMinimumTcb names a product twice');
    const excepted = parsed.tcbGrace.map(({ status }) => status);
    if (new Set(excepted).size < excepted.length) malformed('policy.tcbGrace names a status twice');
    return parsed;
  } catch (error) {
    if (error instanceof MalformedError) throw new ConfigurationError('POLICY_INVALID', `${error.message}.`);
    throw error;
  }
}

/** The same of text. A member that stands twice is refused: a person reads the first one, JSON.parse the last. */
export function parsePolicyText(text: string): Policy {
  try {
    return parsePolicy(parseUniqueJson(text));
  } catch (error) {
    if (error instanceof MalformedError) throw new ConfigurationError('POLICY_INVALID', `policy: ${error.message}.`);
    throw error;
  }
}

/** Returns what was seen. Throws `code` unless it is listed. */
export function verifyListed(code: VerificationCode, seen: string, allowed: readonly string[]): string {
  return allowed.includes(seen) ? seen : refuse(code, allowed.join(' or ') || 'none', seen);
}
