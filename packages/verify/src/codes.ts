/** Why evidence was refused. `docs/reference/errors.md` is generated from this table. */
export const VERIFICATION_CODES = {
  EVIDENCE_MALFORMED: 'The evidence document does not follow its schema.',
  QUOTE_MALFORMED: 'The quote cannot be parsed, or bytes follow its end.',
  QUOTE_UNSUPPORTED: 'The quote has a version, TEE type, key type or vendor that this verifier does not accept.',
  ROOT_UNTRUSTED: 'The certificate chain ends at a root that is not pinned.',
  CERTIFICATE_INVALID: 'A certificate of the chain is not valid: name, signature, dates or use.',
  CERTIFICATE_REVOKED: 'A certificate of the chain is on a revocation list.',
  CRL_INVALID: 'A revocation list is missing, malformed, not signed by its issuer, or from another issuer.',
  CRL_EXPIRED: 'A revocation list is past its next update.',
  COLLATERAL_MISSING: 'No collateral came with the evidence.',
  COLLATERAL_INVALID: 'TCB info or QE identity is malformed, not signed by its issuer, or for another platform.',
  COLLATERAL_EXPIRED: 'TCB info or QE identity is past its next update, or not yet issued.',
  SIGNATURE_INVALID: 'The quote, its QE report or the binding of its key does not verify.',
  QE_IDENTITY_MISMATCH: 'The quoting enclave is not the one that Intel names.',
  TDX_MODULE_MISMATCH: 'The TDX module is not one that Intel names.',
  TCB_UNKNOWN: 'The platform is below every TCB level that Intel lists.',
  TCB_REVOKED: 'Intel has revoked this TCB level.',
  TCB_OUT_OF_DATE: 'The platform misses security updates.',
  TCB_STATUS_REFUSED: 'The TCB status is one that the policy does not allow.',
  ADVISORY_REFUSED: 'A security advisory applies that the policy does not allow.',
  TCB_EVALUATION_TOO_OLD: 'The TCB evaluation data number is below the floor of the policy.',
  TD_DEBUG: 'The trust domain can be debugged: its memory is readable from outside.',
  TD_ATTRIBUTES_REFUSED: 'Attributes of the trust domain are not as required.',
  EVENT_LOG_MISMATCH:
    'The event log does not replay to the measured registers, or an identity event is doubled or missing.',
  OS_MEASUREMENT_UNLISTED: 'The OS image is not one that the policy lists.',
  CODE_HASH_MISMATCH: 'The code is not the one that you expect.',
  REPORT_DATA_MISMATCH: 'The quote was not made for these contents.',
  NONCE_MISMATCH: 'The quote was not made for your nonce: it may be a replay.',
  CHANNEL_MISMATCH: 'The quote belongs to another TLS key: somebody may stand between.',
  MANIFEST_MISMATCH: 'The deployment manifest is not one that the policy lists.',
  ACCESS_POLICY_MISMATCH: 'The access policy is not one that the policy lists.',
  MODEL_REGISTRY_MISMATCH: 'The model registry is not one that the policy lists.',
  GPU_EVIDENCE_MISSING: 'The policy requires an attested GPU and there is no GPU evidence.',
} as const;

export type VerificationCode = keyof typeof VERIFICATION_CODES;

/** What the caller of this package has to fix. Part of the same page. */
export const CALLER_CODES = {
  POLICY_INVALID: 'The policy does not follow its schema; the message names the member.',
} as const;
