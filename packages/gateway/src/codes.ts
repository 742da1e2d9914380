/** What the gateway itself answers or fails with; everything else is the service's own answer, passed on as it is. */
import { type AbatonError, ConfigurationError, UnavailableError } from '@abaton/verify';

interface Row {
  class: 'fix' | 'retry';
  /** Of the LAN-side answer. */
  status: number;
  meaning: string;
  remedy: string;
}

export const GATEWAY_CODES = {
  // start
  LISTEN_REFUSED: {
    class: 'fix',
    status: 500,
    meaning: 'The address cannot be listened on: it is no IP address, is in use, or leaves this machine without TLS.',
    remedy: 'Listen on 127.0.0.1 or ::1, or give --tls-cert and --tls-key.',
  },
  QUEUE_KEY_INVALID: {
    class: 'fix',
    status: 500,
    meaning: "The queue's key file is damaged, missing or not the one that sealed the queue, or others can read it.",
    remedy: 'Restore the key file from where it was, mode 0600. Without it the queue cannot be read.',
  },
  QUEUE_IN_USE: {
    class: 'fix',
    status: 500,
    meaning: 'Another gateway uses this data directory.',
    remedy: 'Stop it, or give this one its own --data-dir.',
  },
  WITNESS_KEY_INVALID: {
    class: 'fix',
    status: 500,
    meaning: "The witness's key file is damaged, missing, not the one that signed its state, or others can read it.",
    remedy: 'Restore the key file from where it was, mode 0600; a new one is made by `abaton witness key`.',
  },
  WITNESS_STATE_INVALID: {
    class: 'fix',
    status: 500,
    meaning:
      'What the witness remembers of the logs is missing or damaged, so it could cosign what it has refused before.',
    remedy: 'Restore its directory. Only a witness that has never cosigned begins without: --new, the first time.',
  },
  WITNESS_IN_USE: {
    class: 'fix',
    status: 500,
    meaning: 'Another witness uses this data directory.',
    remedy: 'Stop it, or give this one its own --data-dir and its own key.',
  },
  // keyholder
  KEYHOLDER_KEY_INVALID: {
    class: 'fix',
    status: 500,
    meaning: "The keyholder's key file is missing, damaged, of another keyholder, or others can read it.",
    remedy: 'Restore the newest key file, mode 0600; if it is lost, import an escrow copy (docs/guide/keyholder.md).',
  },
  KEYHOLDER_STATE_INVALID: {
    class: 'fix',
    status: 500,
    meaning:
      "A file of the keyholder's folder is missing, changed, or older than the key file says. Nothing was touched.",
    remedy: 'Restore the newest folder, or import an escrow copy (docs/guide/keyholder.md).',
  },
  KEYHOLDER_IN_USE: {
    class: 'fix',
    status: 500,
    meaning: 'Another keyholder uses this folder or this key file.',
    remedy: 'Stop it, or give this one a folder and a key file of its own.',
  },
  SUBJECT_OTHER: {
    class: 'fix',
    status: 500,
    meaning: 'The server names another subject than the one whose shares are kept here, or none that can be kept.',
    remedy: 'Find out which server it is. Each subject has a folder and a key file of its own.',
  },
  EPOCH_UNEXPECTED: {
    class: 'fix',
    status: 500,
    meaning: 'The server asks for the share of an epoch that is not the next one, or retires one that never was.',
    remedy: 'Find out what state the server runs on. Nothing was made, given or destroyed.',
  },
  EPOCH_DESTROYED: {
    class: 'fix',
    status: 500,
    meaning:
      'The server asks for a share that was destroyed: it runs on old state (rolled back, or a backup from before an erasure).',
    remedy: 'Restore a backup of after the erasure. Nothing was given.',
  },
  EPOCH_NEEDED: {
    class: 'fix',
    status: 500,
    meaning: 'The server retires the newest epoch, so that nothing could be read any more.',
    remedy: 'Find out why. Nothing was destroyed.',
  },
  ESCROW_INVALID: {
    class: 'fix',
    status: 500,
    meaning: 'The escrow copy does not open: another passphrase, or it was changed or cut.',
    remedy: 'Try the passphrase of that copy, or another copy.',
  },
  // requests
  GATEWAY_CLOSED: {
    class: 'retry',
    status: 503,
    meaning: 'The service is not verified now, so nothing goes to it; `reasons` says why.',
    remedy: 'Read /healthz of the gateway. Uploads are queued meanwhile; repeat other requests later.',
  },
  CONNECTION_CUT: {
    class: 'retry',
    status: 502,
    meaning: 'A connection ended before the service had answered. What arrived of an upload is not acknowledged.',
    remedy: 'Send it again.',
  },
  QUEUE_FULL: {
    class: 'retry',
    status: 507,
    meaning: 'The queue or its disk has no room for this upload, and nothing of it was kept.',
    remedy: 'Free the disk, raise --max-queue-bytes, or wait until the service is verified again.',
  },
  STORE_UNAVAILABLE: {
    class: 'retry',
    status: 503,
    meaning: 'The disk of the queue cannot be read or written.',
    remedy: 'Repair or free the disk, then send again. The log names the place.',
  },
  INTERNAL: {
    class: 'fix',
    status: 500,
    meaning: 'The gateway itself has failed.',
    remedy: 'Report the place in our code that the log names with `defect`; it holds no patient data.',
  },
  TOO_LARGE: {
    class: 'fix',
    status: 413,
    meaning: 'The upload is larger than the whole queue may be.',
    remedy: 'Split it, or raise --max-queue-bytes.',
  },
  NOT_FOUND: {
    class: 'fix',
    status: 404,
    meaning: 'The gateway does not forward this path, or knows no upload of this id.',
    remedy: 'See docs/reference/http.md, "Gateway".',
  },
  METHOD_NOT_ALLOWED: {
    class: 'fix',
    status: 405,
    meaning: 'The gateway does not forward this method.',
    remedy: 'Use a method that the header Allow names.',
  },
  MEDIA_TYPE_UNSUPPORTED: {
    class: 'fix',
    status: 415,
    meaning: 'An upload must be multipart/related or application/dicom.',
    remedy: 'Send one of these.',
  },
  REQUEST_INVALID: {
    class: 'fix',
    status: 400,
    meaning: 'The request is not one that the gateway forwards: its path, or a body where none belongs.',
    remedy: 'Correct it.',
  },
  HOST_REFUSED: {
    class: 'fix',
    status: 421,
    meaning: 'The header Host does not name this gateway: a web page may have been pointed at it.',
    remedy: 'Call it by the address that it listens on, or by a name in its certificate.',
  },
  ORIGIN_REFUSED: {
    class: 'fix',
    status: 403,
    meaning: 'The request comes from a page of another origin.',
    remedy: 'The gateway serves programs on the LAN, not pages.',
  },
  NOT_SETTLED: {
    class: 'fix',
    status: 409,
    meaning: 'The upload waits to be forwarded, and is not deleted.',
    remedy: 'Wait until it is forwarded or refused.',
  },
  OBJECT_DAMAGED: {
    class: 'fix',
    status: 500,
    meaning: 'A queued upload does not open: its file was changed or cut.',
    remedy: 'Send the study again from where it came, then delete the entry.',
  },
} as const satisfies Record<string, Row>;

export type GatewayCode = keyof typeof GATEWAY_CODES;

const CLASSES = { fix: ConfigurationError, retry: UnavailableError } as const;

/** The error of that code. `message` carries ids and sizes only, never patient data. */
export const errorOf = (code: GatewayCode, message: string, options?: ErrorOptions): AbatonError<GatewayCode> =>
  new CLASSES[GATEWAY_CODES[code].class](code, message, options);
