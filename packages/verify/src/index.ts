export { CALLER_CODES, VERIFICATION_CODES, type VerificationCode } from './codes.ts';
export { checkRaTlsCertificate, type RaTlsCertificate } from './dstack/ra-tls.ts';
export { AbatonError, ConfigurationError, RejectedError, UnavailableError, VerificationError } from './errors.ts';
export type { Evidence, ReportDataPreimage, TdxCollateral, TdxEvent } from './evidence.ts';
export { parseEventLog, parseEvidence } from './evidence-format.ts';
export { canonicalize } from './formats/jcs.ts';
export type { OsMeasurement, Policy } from './policy.ts';
export { parsePolicy } from './policy-format.ts';
export { computeRaTlsReportData, computeReportData } from './report-data.ts';
export { INTEL_SGX_ROOT_CA_SHA256 } from './roots.ts';
export { CollateralCache } from './tdx/collateral-cache.ts';
export { readQuotePlatform } from './tdx/pck-extension.ts';
export { parseTdxQuote, type TdReport, type TdxQuote } from './tdx/tdx-quote.ts';
export { type Checkpoint, formatCheckpoint, parseCheckpoint, verifyCheckpoint } from './tlog/checkpoint.ts';
export { LOG_CODES, type LogCode } from './tlog/codes.ts';
export {
  EMPTY_ROOT,
  HASH_BYTES,
  leafHash,
  nodeHash,
  rootOf,
  verifyConsistency,
  verifyInclusion,
} from './tlog/merkle.ts';
export {
  ED25519_TYPE,
  formatSignatureLine,
  formatVkey,
  type Note,
  type NoteSignature,
  parseNote,
  parseVkey,
  type Vkey,
  verifyNote,
} from './tlog/note.ts';
export { type LogProof, verifyLogProof } from './tlog/proof.ts';
export {
  parseBundle,
  parseTilePath,
  TILE_HEIGHT,
  TILE_WIDTH,
  type TileAddress,
  tilePath,
  tileWidth,
} from './tlog/tile-path.ts';
export { type ReadTile, TileTree } from './tlog/tile-proof.ts';
export {
  CHECKS,
  type Check,
  type CheckId,
  summarizeVerdict,
  type TrustLabel,
  type Verdict,
} from './verdict.ts';
export { type VerifyEvidenceInput, verifyEvidence } from './verify-evidence.ts';
