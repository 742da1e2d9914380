/**
 * What an attested server hands out, and what a verifier reads. JSON, version 1, strict: no member missing, none unknown,
 * every size bounded, hex in lower case: one form only.
 */
import { reading } from './errors.ts';
import { boolean, hex, integer, list, nullable, object, oneOf, optional, type Parse, text } from './formats/schema.ts';
import { XML_CHARS } from './gpu/xml.ts';

/** dstack event, as its guest agent lists it. `event_payload` of RTMR0-2 events is stripped by dstack. */
export interface TdxEvent {
  imr: number;
  event_type: number;
  /** 48 bytes, hex. For the runtime events of RTMR3 it may be empty: it is recomputed from the payload, and must equal it. */
  digest: string;
  event: string;
  /** hex */
  event_payload: string;
  version?: number;
}

/** Intel DCAP collateral: PCCS API v4 answers, in the field names that DCAP verifiers share. CRLs are hex DER. */
export interface TdxCollateral {
  pck_crl_issuer_chain: string;
  root_ca_crl: string;
  pck_crl: string;
  tcb_info_issuer_chain: string;
  /** The exact signed text. */
  tcb_info: string;
  /** hex, r‖s */
  tcb_info_signature: string;
  qe_identity_issuer_chain: string;
  qe_identity: string;
  qe_identity_signature: string;
}

/**
 * The preimage of report_data (docs/decisions/0006-binding.md):
 * `report_data = SHA-512("abaton-attest-v1:" ‖ JCS(preimage))`. All digests are 64 hex digits.
 */
export interface ReportDataPreimage {
  /** 32 bytes that the verifier chose, hex. */
  nonce: string;
  tlsSpkiSha256: string;
  tlsExporterSha256: string | null;
  hpkePublicKey: string | null;
  /** C2SP vkeys of the audit log, newest first. */
  auditLogVkeys: string[];
  /** Of the list of GPU reports (gpu/gpu-evidence.ts). */
  gpuEvidenceSha256: string | null;
  manifestSha256: string;
  policySha256: string;
  modelRegistrySha256: string;
  /** The signed checkpoint (C2SP signed note) that was committed before the quote was requested. */
  checkpoint: string;
}

/** Reports of the GPUs, and, attached by the server and authenticated by the verifier, what NVIDIA says of them. */
export interface GpuBundle {
  /** NVIDIA's list, read by gpu/gpu-evidence.ts. */
  evidence: unknown;
  /** Reference measurements, XML. */
  rims: string[];
  /** DER in hex. */
  ocspResponses: string[];
}

interface AnyEvidence {
  version: 1;
  /** The raw app_compose text; its SHA-256 is the code hash. Never re-serialised. */
  appCompose: string;
  reportData: ReportDataPreimage;
  /** Null: the guest uses no GPU. */
  gpu: GpuBundle | null;
  /** What the manifest asks for. Requests prove nothing. */
  requested: { hipaa: boolean; baaSigned: boolean; attestationPublic: boolean };
}

export interface TdxEvidence extends AnyEvidence {
  teeType: 'intel-tdx';
  /** hex */
  quote: string;
  eventLog: TdxEvent[];
  /** Passport model: attached by the server, authenticated by the verifier. */
  collateral: TdxCollateral | null;
}

export interface SnpEvidence extends AnyEvidence {
  teeType: 'amd-sev-snp';
  /** hex */
  report: string;
  /** PEM: VCEK, ASK, ARK; or VLEK, ASVK, ARK. */
  certificates: string;
  /** AMD's revocation list for this product, DER in hex; null when the server has none. */
  crl: string | null;
  /** The MrConfigV3 document behind HOST_DATA, exactly as text. */
  mrConfig: string;
}

export type Evidence = TdxEvidence | SnpEvidence;

// Limits, several times what real evidence has (in brackets): they bound the work that hostile evidence can cause.
const QUOTE_BYTES = 16 * 1024; // [5 kB; a report of SEV-SNP 1184 bytes]
const EVENTS = 256; // [33]
const PAYLOAD_BYTES = 16 * 1024; // [300 bytes]
const COMPOSE_CHARS = 256 * 1024; // dstack's own limit [2 kB]
const CHAIN_CHARS = 16 * 1024; // [2 kB]
const CRL_BYTES = 512 * 1024; // [3 kB]
const SIGNED_JSON_CHARS = 256 * 1024; // [6 kB]
const MR_CONFIG_CHARS = 16 * 1024; // [400]
const RIMS = 32; // two kinds for each model of GPU or switch
const OCSP_RESPONSES = 64; // five for each chain, or one for many
const OCSP_BYTES = 16 * 1024; // [1 to 2 kB]
const CHECKPOINT_CHARS = 64 * 1024; // 3.3 kB for each signature of ML-DSA-44: a log's own and 16 cosignatures [4 kB]
const VKEYS = 16; // two a year, for the six years of 45 CFR 164.316(b)(2)(i), and the current one
const VKEY_CHARS = 2560; // ML-DSA-44: 1,752 of base64, and a name
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

const collateralMembers = {
  pck_crl_issuer_chain: text(CHAIN_CHARS),
  root_ca_crl: hex(0, CRL_BYTES),
  pck_crl: hex(0, CRL_BYTES),
  tcb_info_issuer_chain: text(CHAIN_CHARS),
  tcb_info: text(SIGNED_JSON_CHARS),
  tcb_info_signature: hex(64),
  qe_identity_issuer_chain: text(CHAIN_CHARS),
  qe_identity: text(SIGNED_JSON_CHARS),
  qe_identity_signature: hex(64),
};
const collateral = object<TdxCollateral>(collateralMembers);
const openCollateral = object<TdxCollateral>(collateralMembers, { open: true });

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

const gpu = object<GpuBundle>({
  evidence: (value) => value ?? null,
  rims: list(text(XML_CHARS), RIMS),
  ocspResponses: list(hex(1, OCSP_BYTES), OCSP_RESPONSES),
});

const common = {
  version: oneOf(1),
  appCompose: text(COMPOSE_CHARS),
  reportData,
  gpu: nullable(gpu),
  requested: object<Evidence['requested']>({ hipaa: boolean, baaSigned: boolean, attestationPublic: boolean }),
};

const tdxEvidence = object<TdxEvidence>({
  ...common,
  teeType: oneOf('intel-tdx'),
  quote: hex(1, QUOTE_BYTES),
  eventLog: list(event, EVENTS),
  collateral: nullable(collateral),
});

const snpEvidence = object<SnpEvidence>({
  ...common,
  teeType: oneOf('amd-sev-snp'),
  report: hex(1, QUOTE_BYTES),
  certificates: text(CHAIN_CHARS),
  crl: nullable(hex(1, CRL_BYTES)),
  mrConfig: text(MR_CONFIG_CHARS),
});

const evidence: Parse<Evidence> = (value, path) =>
  (value as SnpEvidence | null)?.teeType === 'amd-sev-snp' ? snpEvidence(value, path) : tdxEvidence(value, path);

/** Throws EVIDENCE_MALFORMED, naming the member. */
export const parseEvidence = (json: unknown): Evidence =>
  reading('EVIDENCE_MALFORMED', 'evidence document', () => evidence(json, 'evidence'));

/** Throws EVIDENCE_MALFORMED. `json` is a parsed array of dstack's event log. */
export const parseEventLog = (json: unknown): TdxEvent[] =>
  reading('EVIDENCE_MALFORMED', 'event log', () => list(event, EVENTS)(json, 'eventLog'));

/** Throws EVIDENCE_MALFORMED. Members that others add, such as the PCK chain that stands in the quote, are ignored. */
export const parseCollateral = (json: unknown): TdxCollateral =>
  reading('EVIDENCE_MALFORMED', 'collateral', () => openCollateral(json, 'collateral'));
