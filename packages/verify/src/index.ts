export { type ExpectedChannel, TLS_EXPORTER } from './channel.ts';
export { CALLER_CODES, VERIFICATION_CODES, type VerificationCode } from './codes.ts';
export { checkRaTlsCertificate } from './dstack/ra-tls.ts';
export { AbatonError, ConfigurationError, RejectedError, UnavailableError, VerificationError } from './errors.ts';
export type {
  Evidence,
  GpuBundle,
  ReportDataPreimage,
  SnpEvidence,
  TdxCollateral,
  TdxEvent,
  TdxEvidence,
} from './evidence.ts';
export { parseCollateral, parseEventLog, parseEvidence } from './evidence.ts';
export { type FailureKind, kindOfFailedCheck } from './failure-kinds.ts';
export { canonicalize } from './formats/jcs.ts';
export type { GpuDevice } from './gpu/gpu-devices.ts';
export { computeGpuEvidenceSha256, computeGpuNonce, type GpuEvidence, parseGpuEvidence } from './gpu/gpu-evidence.ts';
export { gpuNeeds } from './gpu/gpu-needs.ts';
export { type NrasClaims, verifyNrasToken } from './gpu/nras-token.ts';
export {
  formatIncidentResolution,
  type IncidentResolution,
  isCause,
  MAX_CAUSE_CHARS,
  parseIncidentResolution,
} from './incident-resolution.ts';
export {
  formatOfficerOrder,
  MAX_ORDER_CHARS,
  type OfficerOrder,
  type OrderBody,
  parseOfficerOrder,
} from './officer-order.ts';
export { type GpuArchitecture, type OsMeasurement, type Policy, parsePolicy, parsePolicyText } from './policy.ts';
export { computeReportData } from './report-data.ts';
export { INTEL_SGX_ROOT_CA_SHA256 } from './roots.ts';
export { verifySignedPolicy } from './signed-policy.ts';
export { authenticateCollateral } from './tdx/authentic-collateral.ts';
export { type CollateralDates, readCollateralDates } from './tdx/collateral-dates.ts';
export { readQuotePlatform } from './tdx/quote-platform.ts';
export { type Checkpoint, formatCheckpoint, parseCheckpoint } from './tlog/checkpoint.ts';
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
  formatSignatureLine,
  formatVkey,
  type Note,
  type NoteSignature,
  parseNote,
  parseOfficerVkey,
  parseVkey,
  type VerifiedNote,
  type Vkey,
  verifyNote,
} from './tlog/note.ts';
export { type LogProof, verifyLogProof } from './tlog/proof.ts';
export {
  ED25519_COSIGNATURE_TYPE,
  ED25519_TYPE,
  encodeSignature,
  ML_DSA_44_TYPE,
  signedMessage,
} from './tlog/signature-types.ts';
export { verifyCheckpoint } from './tlog/signed-checkpoint.ts';
export {
  parseBundle,
  parseTilePath,
  TILE_HEIGHT,
  TILE_WIDTH,
  type TileAddress,
  tilePath,
  tileWidth,
} from './tlog/tile-path.ts';
export { TileTree } from './tlog/tile-proof.ts';
export { type VerifiedLog, type VerifyLogInput, verifyLog } from './tlog/verify-log.ts';
export {
  CHECKS,
  type Check,
  type CheckId,
  summarizeVerdict,
  type TrustLabel,
  type Verdict,
} from './verdict.ts';
export { VerifiedCache } from './verified-cache.ts';
export { type VerifyEvidenceInput, verifyEvidence } from './verify-evidence.ts';
export { type EvidenceFiles, verifyFiles } from './verify-files.ts';
