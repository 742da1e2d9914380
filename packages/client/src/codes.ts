/** What the client can fail with besides a refused verdict. `docs/reference/errors.md` is generated from this table. */
export const CLIENT_CODES = {
  URL_INVALID: 'The address is not an https: URL.',
  CONNECTION_FAILED: 'No TLS 1.3 connection with HTTP/2 could be made.',
  CONNECTION_LOST: 'The verified connection ended; a new one must be verified again.',
  EVIDENCE_UNAVAILABLE: 'The server did not hand out evidence.',
  COLLATERAL_UNAVAILABLE: 'The PCCS did not hand out collateral for this platform.',
  RIM_UNAVAILABLE: 'The RIM service did not hand out reference measurements of this driver or VBIOS.',
  OCSP_UNAVAILABLE: 'The OCSP service did not say whether a certificate of a GPU or of a RIM is revoked.',
  LOG_UNAVAILABLE: 'A transparency log cannot be read at its address.',
  SHARE_INVALID: 'A message of a keyholder does not follow its format.',
  FILE_UNREADABLE: 'A file that was to be sent cannot be read.',
  NOT_VERIFIED: 'The evidence was refused, so nothing was sent.',
  ANSWER_INVALID: 'The server answered with something that does not follow the protocol.',
  ANALYSIS_TIMEOUT: 'The study is stored, but its analysis did not end in the time that the caller gave.',
  SEALED_INVALID: 'A sealed message was changed, cut off, or does not follow its format.',
  SEALED_KEY_UNKNOWN: 'The server no longer has the key that the request was sealed to; verify again.',
  SEALED_REFUSED: 'A sealed request was refused outside its envelope, by the server or by something in between.',
  PROOF_INVALID: 'The audit log proof does not hold: the result may not be what was logged.',
} as const;

export type ClientCode = keyof typeof CLIENT_CODES;
