/** The codes under which a log, a checkpoint or a proof is refused. */
import { RejectedError } from '../errors.ts';
import { decodeBase64 } from '../formats/bytes.ts';

/** Why a log, a checkpoint or a proof was refused. `docs/reference/errors.md` is generated from this table. */
export const LOG_CODES = {
  VKEY_INVALID: 'A verifier key is malformed, of another kind, of small order, or ambiguous.',
  CHECKPOINT_MALFORMED: 'The checkpoint does not follow the format of C2SP signed notes and checkpoints.',
  CHECKPOINT_UNSIGNED: 'The checkpoint carries no signature of a key that is trusted for this log.',
  CHECKPOINT_SIGNATURE_INVALID: 'A signature by a trusted key does not verify: the checkpoint was changed.',
  INCLUSION_INVALID: 'The entry is not in the log that the checkpoint names.',
  CONSISTENCY_INVALID: 'One tree is not a prefix of the other: history was changed, or forked.',
  TILES_INVALID: 'The files of the log do not lead to its checkpoint: something was changed, moved or taken away.',
} as const;

export type LogCode = keyof typeof LOG_CODES;

export function refuseLog(code: LogCode, message: string): never {
  throw new RejectedError<LogCode>(code, message);
}

/** Canonical base64, or that refusal. */
export function readBase64(text: string, code: LogCode, message: string): Uint8Array {
  try {
    return decodeBase64(text);
  } catch (cause) {
    throw new RejectedError<LogCode>(code, message, { cause });
  }
}
