/**
 * What a failed check means for whoever relies on the evidence: one row for every code of a verdict (attestation-tdx.md
 * section 17).
 *
 * - `integrity`: somebody may have changed platform, code, keys or history. A person has to look.
 * - `transient`: something that evidence needs is late, and so far accuses nobody.
 * - `configuration`: the platform is not as it is demanded, or is of a kind that is not supported.
 */
import type { VerificationCode } from './codes.ts';

export type FailureKind = 'integrity' | 'transient' | 'configuration';

const FAILURE_KINDS: Readonly<Record<VerificationCode, FailureKind>> = {
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
  // collateral: late is not forged
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
  // what it is bound to
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
};

/** Null for what is no code of a verdict. */
export const kindOfFailedCheck = (code: string): FailureKind | null =>
  Object.hasOwn(FAILURE_KINDS, code) ? FAILURE_KINDS[code as VerificationCode] : null;
