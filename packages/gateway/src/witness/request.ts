/**
 * The body of add-checkpoint (C2SP tlog-witness): `old <size>`, at most 63 lines of base64 hashes, an empty line, and a
 * checkpoint with its signatures. Each line ends with a newline.
 */
import { type Checkpoint, HASH_BYTES, type NoteSignature, parseCheckpoint, parseNote } from '@abaton/verify';

export interface AddCheckpoint {
  oldSize: number;
  proof: Uint8Array[];
  checkpoint: Checkpoint;
  /** What is signed. */
  text: string;
  signatures: readonly NoteSignature[];
}

/** Of tlog-witness: what a consistency proof in a tree of 2^64 can need. */
const MAX_HASHES = 63;
/** 64 lines of 45 bytes and 32 signatures of ML-DSA-44 (3.3 kB each) under long names. */
export const MAX_BODY_BYTES = 128 * 1024;
/** Of the 100 that parseNote reads, two are kept for ours: what was cosigned must be readable at the next start. */
const MAX_SIGNATURES = 98;
const SIZE = /^old (0|[1-9]\d{0,15})$/; // as parseCheckpoint: beyond 2^53 a number would be rounded

/** Null: it does not follow the format. `body` may be anything. */
export function parseAddCheckpoint(body: string): AddCheckpoint | null {
  if (body.length > MAX_BODY_BYTES) return null;
  const blank = body.indexOf('\n\n');
  if (blank < 0) return null;
  const [first = '', ...hashes] = body.slice(0, blank).split('\n');
  const oldSize = Number(SIZE.exec(first)?.[1] ?? Number.NaN);
  if (!Number.isSafeInteger(oldSize) || hashes.length > MAX_HASHES) return null;
  const proof = hashes.map(parseHash);
  if (!proof.every((hash) => hash !== null)) return null;
  try {
    const { text, signatures } = parseNote(body.slice(blank + 2));
    if (signatures.length > MAX_SIGNATURES) return null;
    return { oldSize, proof, checkpoint: parseCheckpoint(text), text, signatures };
  } catch {
    return null;
  }
}

/** The inverse: what a log, or a visit, asks a witness. `note`: the signed checkpoint. */
export const formatAddCheckpoint = (oldSize: number, proof: readonly Uint8Array[], note: string): string =>
  [`old ${oldSize}`, ...proof.map((hash) => Buffer.from(hash).toString('base64')), '', note].join('\n');

/** One spelling for each hash; null for any other. */
function parseHash(line: string): Uint8Array | null {
  const hash = Buffer.from(line, 'base64');
  return hash.length === HASH_BYTES && hash.toString('base64') === line ? hash : null;
}
