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
export { fetchOcsp, fetchRim } from './nvidia.ts';
export { fetchCollateral, type PlatformId } from './pccs.ts';
export { type StoreAnswer, sendFiles } from './send-study.ts';
