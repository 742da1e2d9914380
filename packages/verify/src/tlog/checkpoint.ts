/** C2SP checkpoints (c2sp.org/tlog-checkpoint): the signed head of a log. */
import { encodeBase64 } from '../formats/bytes.ts';
import { refuseLog } from './codes.ts';
import { HASH_BYTES } from './merkle.ts';
import { parseVkey, readBase64, type Vkey, verifyNote } from './note.ts';

export interface Checkpoint {
  /** Names the log. */
  origin: string;
  size: number;
  /** 32 bytes. */
  root: Uint8Array;
  /** Opaque further lines; nobody audits them. */
  extensions: string[];
}

/** The text that a log signs. */
export const formatCheckpoint = (origin: string, size: number, root: Uint8Array): string =>
  `${origin}\n${size}\n${encodeBase64(root)}\n`;

/** Reads the text of a note (without signatures). Throws CHECKPOINT_MALFORMED. */
export function parseCheckpoint(text: string): Checkpoint {
  const malformed: (what: string) => never = (what) =>
    refuseLog('CHECKPOINT_MALFORMED', `the checkpoint has no valid ${what}`);
  if (!text.endsWith('\n')) return malformed('last line');
  const [origin, sizeText, rootText, ...extensions] = text.slice(0, -1).split('\n');
  if (!origin) return malformed('origin');
  const size = Number(sizeText);
  // No sign, no leading zero; beyond 2^53 a number would be rounded.
  if (!/^(0|[1-9]\d{0,15})$/.test(sizeText ?? '') || !Number.isSafeInteger(size)) return malformed('size');
  const root = readBase64(rootText ?? '', 'CHECKPOINT_MALFORMED', 'the root is not base64');
  if (root.length !== HASH_BYTES) return malformed('root');
  if (extensions.includes('')) return malformed('extension line');
  return { origin, size, root, extensions };
}

/**
 * Verifies a signed checkpoint under C2SP verifier keys. The log signs under its own name, so a key counts only for the
 * origin that it is named after; for a log whose key has another name (e.g. Go's), `origin` says which log it must be.
 * Throws what verifyNote throws, VKEY_INVALID, CHECKPOINT_MALFORMED, and CHECKPOINT_UNSIGNED for another log's head.
 */
export function verifyCheckpoint(
  note: string,
  vkeys: readonly string[],
  origin?: string,
): Checkpoint & { signedBy: Vkey[] } {
  const { text, signedBy } = verifyNote(note, vkeys.map(parseVkey));
  const checkpoint = parseCheckpoint(text);
  const isOurs =
    origin === undefined ? signedBy.some((k) => k.name === checkpoint.origin) : checkpoint.origin === origin;
  if (!isOurs) return refuseLog('CHECKPOINT_UNSIGNED', 'the checkpoint is of a log that the keys do not stand for');
  return { ...checkpoint, signedBy };
}
