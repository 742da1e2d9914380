/** Is this entry in the log? Everything that a stranger needs, offline. */
import { encodeBase64, utf8ToBytes } from '../formats/bytes.ts';
import { readBase64, refuseLog } from './codes.ts';
import { leafHash, verifyInclusion } from './merkle.ts';
import { parseVkey } from './note.ts';
import { verifyCheckpoint } from './signed-checkpoint.ts';

export interface LogProof {
  index: number;
  /** The exact entry text; its leaf hash is SHA-256(0x00 ‖ UTF-8(entry)). */
  entry: string;
  /** Signed note of a tree that contains the entry. */
  checkpoint: string;
  /** Inclusion proof, base64, from the leaf's sibling up (as in c2sp.org/tlog-proof). */
  hashes: readonly string[];
}

/**
 * Verifies that the checkpoint is signed under every one of the C2SP `vkeys` that is named after its log (so that a broken
 * scheme alone forges nothing), and that the entry is in its tree.
 * Returns that tree; `root` in base64, as the checkpoint spells it. Throws RejectedError with a LogCode, whatever the
 * proof holds: it may be JSON from anybody.
 */
export function verifyLogProof(
  { index, entry, checkpoint, hashes }: LogProof,
  vkeys: readonly string[],
): { origin: string; size: number; root: string } {
  // An entry with a lone surrogate has no UTF-8; its replacement would be the text of another entry.
  if (typeof entry !== 'string' || !entry.isWellFormed() || typeof checkpoint !== 'string' || !Array.isArray(hashes))
    return refuseLog('INCLUSION_INVALID', 'the proof is not { index, entry, checkpoint, hashes }');
  const { origin, size, root, signedBy } = verifyCheckpoint(checkpoint, vkeys);
  const own = vkeys.map(parseVkey).filter(({ name }) => name === origin);
  if (!own.every(({ id }) => signedBy.some((key) => key.name === origin && key.id === id)))
    return refuseLog('CHECKPOINT_UNSIGNED', 'one of the keys that are named after the log has not signed');
  const proof = hashes.map((hash: string) =>
    readBase64(hash, 'INCLUSION_INVALID', 'a hash of the proof is not base64'),
  );
  verifyInclusion(index, size, leafHash(utf8ToBytes(entry)), root, proof);
  return { origin, size, root: encodeBase64(root) };
}
