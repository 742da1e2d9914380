/** The customer's end of the proof: what forwards to a service only while its evidence holds. */
export { GATEWAY_CODES } from './codes.ts';
export { type Gateway, type GatewayOptions, type GatewayState, INTERVAL_MS, startGateway } from './gateway.ts';
export { parseListen } from './http/listen.ts';
export { makeWitnessKey } from './witness/key-file.ts';
export { type RunningWitness, startWitness, type WitnessOptions } from './witness/start-witness.ts';
