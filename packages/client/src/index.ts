export type { AnalysisResult } from './analysis-result.ts';
export { type Analysis, awaitAnalysis, digestResult, type ProvenResult } from './await-analysis.ts';
export type { ChannelRequest, ChannelResponse } from './channel.ts';
export { CLIENT_CODES, type ClientCode } from './codes.ts';
export {
  type CollateralStore,
  type CollateralStoreOptions,
  CollateralTrouble,
  type KeptCollateral,
  openCollateralStore,
} from './collateral-store.ts';
export {
  connectVerified,
  NotVerifiedError,
  type VerifiedConnection,
  type VerifyOptions,
  verifyAttestation,
} from './connect-verified.ts';
export {
  formatKeyShare,
  type KeyholderWishes,
  type KeyShare,
  parseKeyholderWishes,
  parseKeyShare,
  SHARE_BYTES,
} from './key-share.ts';
export { openLogDirectory, openLogUrl, type ReadLogFile } from './log-files.ts';
export { createNoteSigner, type NoteSigner } from './note-signer.ts';
export { fetchOcsp, fetchRim } from './nvidia.ts';
export { fetchCollateral, type PlatformId } from './pccs.ts';
export { DHKEM_X25519, type KemId, X_WING } from './sealed/hpke-context.ts';
export { formatKeyConfigs, type KeyConfig } from './sealed/key-config.ts';
export { SEALED_REQUEST, SEALED_RESPONSE } from './sealed/ohttp-client.ts';
export {
  generateRecipientKey,
  type OpenedEnvelope,
  type OpeningKey,
  openEnvelope,
  type RecipientKey,
} from './sealed/ohttp-gateway.ts';
export { type StoreAnswer, sendFiles } from './send-study.ts';
