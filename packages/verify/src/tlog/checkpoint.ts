/** The text of C2SP checkpoints (c2sp.org/tlog-checkpoint): the head of a log. Its signatures: signed-checkpoint.ts. */
import { encodeBase64 } from '../formats/bytes.ts';
import { readBase64, refuseLog } from './codes.ts';
import { HASH_BYTES } from './merkle.ts';

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
export const formatCheckpoint = (
  origin: string,
  size: number,
  root: Uint8Array,
  extensions: readonly string[] = [],
): string => [origin, size, encodeBase64(root), ...extensions].map((line) => `${line}\n`).join('');

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
