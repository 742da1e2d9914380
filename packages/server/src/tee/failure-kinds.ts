/**
 * What a failed proof means for the door: one row for every code that a verdict can carry (attestation-tdx.md section 17).
 *
 * - `integrity`: somebody may have changed platform, code, keys or history. The door closes at once and stays closed until
 *   an officer has said why (latch.ts), whatever later proofs say.
 * - `transient`: something that a proof needs is late. The last verified proof stands for one interval more; then the door
 *   closes, and opens by itself with the next proof that verifies.
 * - `configuration`: the platform is not as this deployment demands, or is of a kind that is not supported. The door closes
 *   at once, and opens by itself when that is mended.
 */
import type { VerificationCode } from '@abaton/verify';
import { ERRORS, type ErrorCode } from '../errors.ts';

export type FailureKind = 'integrity' | 'transient' | 'configuration';

/** Codes of our own errors that mean here something else than their class does (errors.ts). */
type OwnCode = Extract<ErrorCode, 'CLOCK_BEHIND_LOG' | 'INTERNAL'>;

export const FAILURE_KINDS: Readonly<Record<VerificationCode | OwnCode, FailureKind>> = {
  // what was signed, and by whom
  EVIDENCE_MALFORMED: 'integrity',
  QUOTE_MALFORMED: 'integrity',
  QUOTE_UNSUPPORTED: 'configuration',
  ROOT_UNTRUSTED: 'integrity',
  CERTIFICATE_INVALID: 'integrity',
  CERTIFICATE_REVOKED: 'integrity',
  PLATFORM_MISMATCH: 'integrity',
  SIGNATURE_INVALID: 'integrity',
  QE_IDENTITY_MISMATCH: 'integrity',
  TDX_MODULE_MISMATCH: 'integrity',
  // collateral comes from outside; forged collateral is refused before it reaches a proof (collateral.ts)
  CRL_INVALID: 'integrity',
  CRL_EXPIRED: 'transient',
  COLLATERAL_MISSING: 'transient',
  COLLATERAL_INVALID: 'integrity',
  COLLATERAL_EXPIRED: 'transient',
  COLLATERAL_TOO_OLD: 'transient',
  TCB_EVALUATION_TOO_OLD: 'transient',
  // the state of the platform: a level below every level that its maker lists is no update that is late
  TCB_UNKNOWN: 'integrity',
  TCB_REVOKED: 'integrity',
  TCB_OUT_OF_DATE: 'transient',
  TCB_STATUS_REFUSED: 'configuration',
  ADVISORY_REFUSED: 'configuration',
  PLATFORM_UNLISTED: 'integrity',
  TD_DEBUG: 'integrity',
  TD_ATTRIBUTES_REFUSED: 'integrity',
  // what runs there
  EVENT_LOG_MISMATCH: 'integrity',
  OS_MEASUREMENT_UNLISTED: 'integrity',
  MR_CONFIG_MISMATCH: 'integrity',
  APP_COMPOSE_MISMATCH: 'integrity',
  CODE_HASH_MISMATCH: 'integrity',
  KEY_PROVIDER_UNLISTED: 'integrity',
  // what it is bound to: the policy of the server pins what it saw at its boot
  REPORT_DATA_MISMATCH: 'integrity',
  NONCE_MISMATCH: 'integrity',
  CHANNEL_MISMATCH: 'integrity',
  MANIFEST_MISMATCH: 'integrity',
  ACCESS_POLICY_MISMATCH: 'integrity',
  MODEL_REGISTRY_MISMATCH: 'integrity',
  // GPUs
  GPU_EVIDENCE_MISSING: 'configuration',
  GPU_EVIDENCE_MALFORMED: 'integrity',
  GPU_EVIDENCE_UNSUPPORTED: 'configuration',
  GPU_FIRMWARE_MISMATCH: 'integrity',
  GPU_MEASUREMENT_MISMATCH: 'integrity',
  GPU_DEVICES_REFUSED: 'integrity',
  GPU_BOOT_REFUSED: 'integrity',
  GPU_BINDING_MISMATCH: 'integrity',
  OCSP_INVALID: 'integrity',
  OCSP_EXPIRED: 'transient',
  RIM_MISSING: 'transient',
  RIM_INVALID: 'integrity',
  RIM_EXPIRED: 'transient',
  TOKEN_INVALID: 'integrity',
  TOKEN_EXPIRED: 'transient',
  // no proof was made: once it can be, it says by itself whether anything was wrong
  CLOCK_BEHIND_LOG: 'configuration',
  INTERNAL: 'configuration',
};

/** No proof was made, or it could not be recorded: what is to be retried is late, what is to be mended is configuration. */
const KINDS_OF_CLASSES = { retry: 'transient', fix: 'configuration', stop: 'integrity' } as const;

/** A code that nothing names is not known to be harmless. `not-run:…`: nothing was refused, but something not looked at. */
export function kindOfCode(code: string): FailureKind {
  if (code.startsWith('not-run:')) return 'configuration';
  if (Object.hasOwn(FAILURE_KINDS, code)) return FAILURE_KINDS[code as keyof typeof FAILURE_KINDS];
  return Object.hasOwn(ERRORS, code) ? KINDS_OF_CLASSES[ERRORS[code as ErrorCode].class] : 'integrity';
}

export const isIntegrity = (code: string): boolean => kindOfCode(code) === 'integrity';

/** The gravest kind of a failed proof. */
export function kindOfFailure(codes: readonly string[]): FailureKind {
  const kinds = codes.map(kindOfCode);
  if (kinds.length === 0 || kinds.includes('integrity')) return 'integrity';
  return kinds.includes('configuration') ? 'configuration' : 'transient';
}
