/** Reads the evidence document. Strict: no member missing, none unknown, every size bounded. */
import { reading } from './errors.ts';
import type { Evidence, ReportDataPreimage, TdxCollateral, TdxEvent } from './evidence.ts';
import { boolean, hex, integer, list, nullable, object, oneOf, optional, type Parse, text } from './formats/schema.ts';

// Limits, several times what real evidence has (in brackets): they bound the work that hostile evidence can cause.
const QUOTE_BYTES = 16 * 1024; // [5 kB]
const EVENTS = 256; // [33]
const PAYLOAD_BYTES = 16 * 1024; // [300 bytes]
const COMPOSE_CHARS = 256 * 1024; // dstack's own limit [2 kB]
const CHAIN_CHARS = 16 * 1024; // [2 kB]
const CRL_BYTES = 512 * 1024; // [3 kB]
const SIGNED_JSON_CHARS = 256 * 1024; // [6 kB]
const CHECKPOINT_CHARS = 16 * 1024; // signed note with a few cosignatures [600 bytes]
const VKEYS = 16;
const VKEY_CHARS = 512;
const RTMRS = 4;

const sha256Hex = hex(32);
const SHA384_BYTES = 48;

const digest: Parse<string> = (value, path) => (value === '' ? '' : hex(SHA384_BYTES)(value, path));

const event: Parse<TdxEvent> = (value, path) => {
  const parsed = object<TdxEvent>({
    imr: integer(0, RTMRS - 1),
    event_type: integer(0, 2 ** 32 - 1),
    digest,
    event: text(256),
    event_payload: hex(0, PAYLOAD_BYTES),
    version: optional(integer(1, 2), 1),
  })(value, path);
  // Stripped logs leave out the digests that are recomputed, those of RTMR3.
  if (parsed.imr !== 3) hex(SHA384_BYTES)(parsed.digest, `${path}.digest`);
  return parsed;
};

const collateral = object<TdxCollateral>({
  pck_crl_issuer_chain: text(CHAIN_CHARS),
  root_ca_crl: hex(0, CRL_BYTES),
  pck_crl: hex(0, CRL_BYTES),
  tcb_info_issuer_chain: text(CHAIN_CHARS),
  tcb_info: text(SIGNED_JSON_CHARS),
  tcb_info_signature: hex(64),
  qe_identity_issuer_chain: text(CHAIN_CHARS),
  qe_identity: text(SIGNED_JSON_CHARS),
  qe_identity_signature: hex(64),
});

const reportData = object<ReportDataPreimage>({
  nonce: sha256Hex,
  tlsSpkiSha256: sha256Hex,
  tlsExporterSha256: nullable(sha256Hex),
  hpkePublicKey: nullable(text(4096)),
  auditLogVkeys: list(text(VKEY_CHARS), VKEYS),
  gpuEvidenceSha256: nullable(sha256Hex),
  manifestSha256: sha256Hex,
  policySha256: sha256Hex,
  modelRegistrySha256: sha256Hex,
  checkpoint: text(CHECKPOINT_CHARS),
});

const evidence = object<Evidence>({
  version: oneOf(1),
  teeType: oneOf('intel-tdx'),
  quote: hex(1, QUOTE_BYTES),
  eventLog: list(event, EVENTS),
  appCompose: text(COMPOSE_CHARS),
  reportData,
  collateral: nullable(collateral),
  requested: object<Evidence['requested']>({ hipaa: boolean, baaSigned: boolean, attestationPublic: boolean }),
});

/** Throws EVIDENCE_MALFORMED, naming the member. */
export const parseEvidence = (json: unknown): Evidence =>
  reading('EVIDENCE_MALFORMED', 'evidence document', () => evidence(json, 'evidence'));

/** Throws EVIDENCE_MALFORMED. `json` is a parsed array of dstack's event log. */
export const parseEventLog = (json: unknown): TdxEvent[] =>
  reading('EVIDENCE_MALFORMED', 'event log', () => list(event, EVENTS)(json, 'eventLog'));
