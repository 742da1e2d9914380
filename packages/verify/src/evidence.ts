/** What an attested server hands out, and what a verifier reads. JSON, version 1. All hex is lower case: one form only. */

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
  gpuEvidenceSha256: string | null;
  manifestSha256: string;
  policySha256: string;
  modelRegistrySha256: string;
  /** The signed checkpoint (C2SP signed note) that was committed before the quote was requested. */
  checkpoint: string;
}

export interface Evidence {
  version: 1;
  teeType: 'intel-tdx';
  /** hex */
  quote: string;
  eventLog: TdxEvent[];
  /** The raw app_compose text; its SHA-256 is the code hash. Never re-serialised. */
  appCompose: string;
  reportData: ReportDataPreimage;
  /** Passport model: attached by the server, authenticated by the verifier. */
  collateral: TdxCollateral | null;
  /** What the manifest asks for. Requests prove nothing. */
  requested: { hipaa: boolean; baaSigned: boolean; attestationPublic: boolean };
}
