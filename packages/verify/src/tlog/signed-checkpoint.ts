/** Whose checkpoint is it? C2SP signed notes over checkpoints, by logs and by witnesses. */
import { type Checkpoint, parseCheckpoint } from './checkpoint.ts';
import { refuseLog } from './codes.ts';
import { parseVkey, type VerifiedNote, verifyNote } from './note.ts';

/**
 * Verifies a signed checkpoint under C2SP verifier keys. The log signs under its own name, so a key counts only for the
 * origin that it is named after; for a log whose key has another name (e.g. Go's), `origin` says which log it must be.
 * Throws what verifyNote throws, VKEY_INVALID, CHECKPOINT_MALFORMED, and CHECKPOINT_UNSIGNED for another log's head.
 */
export function verifyCheckpoint(
  note: string,
  vkeys: readonly string[],
  origin?: string,
): Checkpoint & Omit<VerifiedNote, 'text'> {
  const { text, signedBy, timesS } = verifyNote(note, vkeys.map(parseVkey));
  const checkpoint = parseCheckpoint(text);
  const isOurs =
    origin === undefined ? signedBy.some((k) => k.name === checkpoint.origin) : checkpoint.origin === origin;
  if (!isOurs) return refuseLog('CHECKPOINT_UNSIGNED', 'the checkpoint is of a log that the keys do not stand for');
  return { ...checkpoint, signedBy, timesS };
}
