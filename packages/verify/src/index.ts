export { VERIFICATION_CODES, type VerificationCode } from './codes.ts';
export { AbatonError, ConfigurationError, RejectedError, UnavailableError } from './errors.ts';
export type { Evidence, ReportDataPreimage, TdxCollateral, TdxEvent } from './evidence.ts';
export type { OsMeasurement, Policy } from './policy.ts';
export type { Check, CheckId, TrustLabel, Verdict } from './verdict.ts';
