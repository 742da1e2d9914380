/** The customer's end of the proof: what forwards to a service only while its evidence holds. */
export { GATEWAY_CODES } from './codes.ts';
export { type Gateway, type GatewayOptions, type GatewayState, INTERVAL_MS, startGateway } from './gateway.ts';
export { parseListen } from './http/listen.ts';
export { type KeyholderOptions, startKeyholderAlone } from './keyholder/alone.ts';
export { exportEscrow, importEscrow, MIN_PASSPHRASE_CHARS } from './keyholder/escrow.ts';
export { createKeyFile, newKeyMaterial, signerOf } from './keyholder/key-file.ts';
export { listEpochs } from './keyholder/share-folder.ts';
export type { SharesOptions } from './keyholder/shares.ts';
export { makeWitnessKey } from './witness/key-file.ts';
export { type RunningWitness, startWitness, type WitnessOptions } from './witness/start-witness.ts';
