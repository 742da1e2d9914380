export { AbatonError, ConfigurationError, RejectedError, UnavailableError } from './errors.ts';
export type { Evidence, ReportDataPreimage, TdxCollateral, TdxEvent } from './evidence.ts';
