/**
 * Every error that the server answers with: one row each, the only place where a code meets its HTTP status and its
 * FHIR OperationOutcome issue type. `docs/reference/errors.md` is generated from this table.
 */
import { type AbatonError, ConfigurationError, RejectedError, UnavailableError } from '@abaton/verify';

interface Row {
  class: 'fix' | 'retry' | 'stop';
  status: number;
  /** http://hl7.org/fhir/issue-type */
  issue: string;
  meaning: string;
  remedy: string;
}

export const ERRORS = {
  // settings and start
  SETTING_INVALID: {
    class: 'fix',
    status: 500,
    issue: 'exception',
    meaning: 'A setting has a value that cannot be used.',
    remedy: 'Correct the setting that the message names; see docs/reference/config.md.',
  },
  MANIFEST_INVALID: {
    class: 'fix',
    status: 500,
    issue: 'exception',
    meaning: 'abaton.yaml does not follow its schema.',
    remedy: 'Correct the line that the message names.',
  },
  STATE_TOO_NEW: {
    class: 'fix',
    status: 500,
    issue: 'exception',
    meaning: 'The data directory was written by a newer release; it is left untouched.',
    remedy: 'Start the newer release, or restore the backup made before the upgrade.',
  },
  STATE_INCOMPLETE: {
    class: 'fix',
    status: 500,
    issue: 'exception',
    meaning: 'A part of the data directory is missing while the rest is there; nothing was touched.',
    remedy: 'Restore the whole directory from one backup, or start with an empty one.',
  },
  STATE_IN_USE: {
    class: 'fix',
    status: 500,
    issue: 'exception',
    meaning: 'Another process owns the data directory, the database or the log.',
    remedy: 'Stop that process, or give this one its own ABATON_DATA_DIR, DATABASE_URL and BLOBS_URL.',
  },
  ISOLATION_UNAVAILABLE: {
    class: 'fix',
    status: 500,
    issue: 'exception',
    meaning: 'This platform cannot shut the model process away from the network.',
    remedy: 'See docs/operations.md, "Model isolation".',
  },
  MODEL_INVALID: {
    class: 'fix',
    status: 500,
    issue: 'exception',
    meaning: 'A model package is incomplete or does not match its digest.',
    remedy: 'Restore the package, or remove it from the models directory.',
  },
  // gate and evidence
  GATE_CLOSED: {
    class: 'retry',
    status: 503,
    issue: 'transient',
    meaning: 'Patient data is neither taken nor given out now; `reason` says why.',
    remedy: 'Read /healthz, and retry when the gate is open.',
  },
  MODE_REFUSED: {
    class: 'fix',
    status: 403,
    issue: 'forbidden',
    meaning: 'The requested mode needs more than this deployment has proven.',
    remedy: 'Run in the mode that the message names.',
  },
  AGENT_UNAVAILABLE: {
    class: 'retry',
    status: 503,
    issue: 'transient',
    meaning: 'The guest agent does not answer.',
    remedy:
      'Mount the agent socket, or name it with DSTACK_SIMULATOR_ENDPOINT. A running server keeps retrying; one that starts ends.',
  },
  COLLATERAL_UNAVAILABLE: {
    class: 'retry',
    status: 503,
    issue: 'transient',
    meaning: 'The collateral that a verifier needs cannot be fetched.',
    remedy: 'Check PCCS_URL and the way to it; the server keeps retrying.',
  },
  GPU_EVIDENCE_UNAVAILABLE: {
    class: 'retry',
    status: 503,
    issue: 'transient',
    meaning:
      'The GPUs gave no evidence for this nonce: the tool that asks them failed, was late, or answered another question.',
    remedy: 'Run nvattest by hand in the guest; the server keeps retrying.',
  },
  ATTESTATION_FAILED: {
    class: 'stop',
    status: 503,
    issue: 'security',
    meaning: 'The server could not verify its own evidence.',
    remedy: 'Do not send data. The server log names the check.',
  },
  CLOCK_BEHIND_LOG: {
    class: 'retry',
    status: 503,
    issue: 'transient',
    meaning: 'The clock of the host is behind the newest entry of the audit log.',
    remedy: 'Set the clock of the host right; the server opens again by itself.',
  },
  INCIDENT_UNKNOWN: {
    class: 'fix',
    status: 404,
    issue: 'not-found',
    meaning: 'There is no such incident.',
    remedy: 'Ask for the list: abaton incident list.',
  },
  RESOLUTION_INVALID: {
    class: 'stop',
    status: 403,
    issue: 'security',
    meaning: 'The resolution of the incident does not hold: not signed by an officer, for another incident, or stale.',
    remedy: 'Let an officer of the manifest sign anew: abaton incident resolve.',
  },
  ORDER_INVALID: {
    class: 'stop',
    status: 403,
    issue: 'security',
    meaning:
      'An order does not hold: not signed by an officer who may give it, for another log, stale, or given before.',
    remedy: 'Let an officer of the manifest sign anew; each order is carried out once.',
  },
  NONCE_INVALID: {
    class: 'fix',
    status: 400,
    issue: 'invalid',
    meaning: 'nonce must be 32 bytes in hexadecimal.',
    remedy: 'Send 64 hex digits that you have just drawn at random.',
  },
  // requests
  NOT_FOUND: {
    class: 'fix',
    status: 404,
    issue: 'not-found',
    meaning: 'There is no such resource.',
    remedy: 'Check the path and the identifier.',
  },
  METHOD_NOT_ALLOWED: {
    class: 'fix',
    status: 405,
    issue: 'not-supported',
    meaning: 'The resource does not support this method.',
    remedy: 'See docs/reference/http.md.',
  },
  REQUEST_INVALID: {
    class: 'fix',
    status: 400,
    issue: 'invalid',
    meaning: 'The request does not follow the protocol.',
    remedy: 'Correct what the message names.',
  },
  MEDIA_TYPE_UNSUPPORTED: {
    class: 'fix',
    status: 415,
    issue: 'not-supported',
    meaning: 'The body has a media type that this resource does not take.',
    remedy: 'Send the media type that the message names.',
  },
  NOT_ACCEPTABLE: {
    class: 'fix',
    status: 406,
    issue: 'not-supported',
    meaning: 'None of the media types in Accept can be produced.',
    remedy: 'Ask for one of the media types that the message names.',
  },
  TOO_LARGE: {
    class: 'fix',
    status: 413,
    issue: 'too-long',
    meaning: 'The request is larger than the limit that the message names.',
    remedy: 'Split it, or raise the setting.',
  },
  OVERLOADED: {
    class: 'retry',
    status: 503,
    issue: 'throttled',
    meaning: 'Too much work is under way.',
    remedy: 'Retry after the time in Retry-After.',
  },
  // sealed requests
  SEALED_INVALID: {
    class: 'stop',
    status: 400,
    issue: 'security',
    meaning: 'A sealed request was changed, cut off, or does not follow its format.',
    remedy: 'Seal the request anew; if it stays, something between you and the server changes it.',
  },
  SEALED_REPLAYED: {
    class: 'stop',
    status: 409,
    issue: 'security',
    meaning: 'This very sealed request was taken before.',
    remedy: 'Seal the request anew: each sealing is accepted once.',
  },
  SEALED_KEY_UNKNOWN: {
    class: 'retry',
    status: 422,
    issue: 'security',
    meaning: 'The request is sealed to a key that this server does not have, or no longer.',
    remedy: 'Fetch and verify new evidence, and seal the request to the key that it names.',
  },
  // stores and log
  AUDIT_UNAVAILABLE: {
    class: 'retry',
    status: 503,
    issue: 'transient',
    meaning: 'The audit log cannot commit, so nothing is disclosed.',
    remedy: 'Free or repair the disk; the server opens again by itself.',
  },
  WITNESS_UNAVAILABLE: {
    class: 'retry',
    status: 503,
    issue: 'transient',
    meaning: 'Too few witnesses have cosigned the audit log, so that what needs them is not done.',
    remedy: 'Look at the witnesses; the server goes on asking.',
  },
  COSIGNATURE_INVALID: {
    class: 'fix',
    status: 400,
    issue: 'invalid',
    meaning: 'What was brought is no checkpoint of this log, or a cosignature under it does not verify.',
    remedy: 'Bring the note as the witness has signed it; compare its key with the manifest.',
  },
  LOG_ROLLED_BACK: {
    class: 'stop',
    status: 409,
    issue: 'security',
    meaning:
      'A checkpoint was signed under the key of this log that is not in its history here: old state, or a second writer.',
    remedy: 'Keep both histories, stop the second server, and start from the newest data directory.',
  },
  KEYHOLDER_UNAVAILABLE: {
    class: 'retry',
    status: 503,
    issue: 'transient',
    meaning: 'The keyholder has not brought, or not destroyed, a share of the keys.',
    remedy: 'Look at the keyholder: it may be away, or its policy may not admit this code.',
  },
  SHARE_REFUSED: {
    class: 'stop',
    status: 403,
    issue: 'security',
    meaning:
      'A message of the keyholder was not taken: not his, not for this app, not asked for, or not the right share.',
    remedy: 'Compare the key in the manifest with that of the keyholder, and its state with the data directory.',
  },
  STORE_UNAVAILABLE: {
    class: 'retry',
    status: 503,
    issue: 'transient',
    meaning: 'The store cannot be read or written.',
    remedy: 'Free or repair the disk, the database or the bucket, then retry.',
  },
  SEAL_BROKEN: {
    class: 'stop',
    status: 500,
    issue: 'security',
    meaning: 'Sealed data does not open: it was changed, or belongs to another key.',
    remedy: 'Restore the object from a backup and open an incident.',
  },
  LOG_CORRUPT: {
    class: 'stop',
    status: 500,
    issue: 'security',
    meaning: 'The audit log on disk contradicts itself.',
    remedy: 'Keep the directory as it is and open an incident.',
  },
  INTERNAL: {
    class: 'retry',
    status: 500,
    issue: 'exception',
    meaning: 'A defect in Abaton.',
    remedy: 'Retry; if it stays, report it with the request id.',
  },
} as const satisfies Record<string, Row>;

export type ErrorCode = keyof typeof ERRORS;

const CLASSES = { fix: ConfigurationError, retry: UnavailableError, stop: RejectedError } as const;

/** The error of that code, in the class that its row names. `message` carries ids and sizes only, never patient data. */
export function errorOf(code: ErrorCode, message: string, options?: ErrorOptions): AbatonError<ErrorCode> {
  return new CLASSES[ERRORS[code].class](code, message, options);
}
