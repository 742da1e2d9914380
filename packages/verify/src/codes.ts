/** Why evidence was refused. `docs/reference/errors.md` is generated from this table. */
export const VERIFICATION_CODES = {
  EVIDENCE_MALFORMED: 'The evidence document does not follow its schema.',
  QUOTE_MALFORMED: 'The quote or report cannot be parsed, or bytes follow its end.',
  QUOTE_UNSUPPORTED:
    'The quote or report has a version, TEE type, key type or vendor that this verifier does not accept.',
  ROOT_UNTRUSTED: 'The certificate chain ends at a root that is not pinned.',
  CERTIFICATE_INVALID: 'A certificate of the chain is not valid: name, signature, dates or use.',
  CERTIFICATE_REVOKED: 'A certificate of the chain is on a revocation list, or its authority says that it is on hold.',
  PLATFORM_MISMATCH:
    'The platform certificate was issued for another chip, or for another firmware, than the report names.',
  CRL_INVALID: 'A revocation list is missing, malformed, not signed by its issuer, or from another issuer.',
  CRL_EXPIRED: 'A revocation list is past its next update.',
  COLLATERAL_MISSING: 'No collateral came with the evidence.',
  COLLATERAL_INVALID: 'TCB info or QE identity is malformed, not signed by its issuer, or for another platform.',
  COLLATERAL_EXPIRED: 'TCB info or QE identity is past its next update, or not yet issued.',
  COLLATERAL_TOO_OLD: 'TCB info or QE identity is older than the policy allows.',
  SIGNATURE_INVALID: 'A quote or report does not verify, or its QE report, or the binding of its key.',
  QE_IDENTITY_MISMATCH: 'The quoting enclave is not the one that Intel names.',
  TDX_MODULE_MISMATCH: 'The TDX module is not one that Intel names.',
  TCB_UNKNOWN: 'The platform is below every TCB level that its maker lists.',
  TCB_REVOKED: 'Intel has revoked this TCB level.',
  TCB_OUT_OF_DATE: 'The platform misses security updates.',
  TCB_STATUS_REFUSED: 'The TCB status is one that the policy does not allow.',
  ADVISORY_REFUSED: 'A security advisory applies that the policy does not allow.',
  TCB_EVALUATION_TOO_OLD: 'The TCB evaluation data number is below the floor of the policy.',
  PLATFORM_UNLISTED: 'The machine (PPID, or chip id) is not one that the policy lists.',
  TD_DEBUG: 'The guest can be debugged: its memory is readable from outside.',
  TD_ATTRIBUTES_REFUSED: 'Attributes or policy of the guest are not as required.',
  EVENT_LOG_MISMATCH:
    'The event log does not replay to the measured registers, or an identity event is doubled or missing.',
  OS_MEASUREMENT_UNLISTED: 'The OS image is not one that the policy lists.',
  MR_CONFIG_MISMATCH: 'What the host has configured (MRCONFIGID, HOST_DATA) is not what the evidence says.',
  APP_COMPOSE_MISMATCH: 'The app-compose is not the one that the guest has measured.',
  CODE_HASH_MISMATCH: 'The code is not the one that you expect.',
  KEY_PROVIDER_UNLISTED: 'The keys of the guest come from a provider that the policy does not list.',
  REPORT_DATA_MISMATCH: 'The quote was not made for these contents.',
  NONCE_MISMATCH: 'The quote or report was not made for your nonce: it may be a replay.',
  CHANNEL_MISMATCH: 'The quote belongs to another TLS key: somebody may stand between.',
  MANIFEST_MISMATCH: 'The deployment manifest is not one that the policy lists.',
  ACCESS_POLICY_MISMATCH: 'The access policy is not one that the policy lists.',
  MODEL_REGISTRY_MISMATCH: 'The model registry is not one that the policy lists.',
  GPU_EVIDENCE_MISSING: 'The policy requires an attested GPU and there is no GPU evidence.',
  GPU_EVIDENCE_MALFORMED: 'The GPU evidence, or a report in it, cannot be parsed.',
  GPU_EVIDENCE_UNSUPPORTED:
    'The GPU evidence is of an architecture or protocol version that this verifier does not accept.',
  GPU_FIRMWARE_MISMATCH: 'The key of the GPU was made for other firmware than the report names.',
  OCSP_INVALID: 'An OCSP response is malformed, not signed by its authority, or lacks a certificate of the chain.',
  OCSP_EXPIRED: 'An OCSP response is past its next update, or not yet valid.',
  RIM_MISSING: 'No reference measurements are given for this driver or VBIOS.',
  RIM_INVALID: 'Reference measurements are malformed, or not signed by NVIDIA.',
  RIM_EXPIRED: 'The certificate that signed the reference measurements is not in date.',
  GPU_MEASUREMENT_MISMATCH: 'The GPU does not run the reference firmware or driver.',
  GPU_DEVICES_REFUSED:
    'Number, architecture, driver or VBIOS of the GPUs are not as the policy demands, or one GPU is shown twice.',
  GPU_BOOT_REFUSED: 'The guest did not measure its GPUs at boot, or not in confidential mode.',
  GPU_BINDING_MISMATCH: 'The GPU evidence was not made for this quote.',
  TOKEN_INVALID: 'A token of an attestation service is malformed, not signed by a given key, or not for this nonce.',
  TOKEN_EXPIRED: 'A token of an attestation service is not valid at this time.',
} as const;

export type VerificationCode = keyof typeof VERIFICATION_CODES;

/** What the caller of this package has to fix. Part of the same page. */
export const CALLER_CODES = {
  POLICY_INVALID: 'The policy does not follow its schema; the message names the member.',
  POLICY_UNSIGNED: 'The policy does not carry the signatures of enough of the officers that you name.',
} as const;
