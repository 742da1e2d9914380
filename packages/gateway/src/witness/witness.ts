/**
 * A witness of logs (C2SP tlog-witness, tlog-cosignature), without transport: it cosigns a checkpoint only when that
 * continues what it cosigned before, and remembers it durably before it says so. `addCheckpoint` reads as the specification.
 */
import type { NoteSigner } from '@abaton/client';
import {
  type Checkpoint,
  EMPTY_ROOT,
  formatSignatureLine,
  type NoteSignature,
  type Vkey,
  verifyConsistency,
  verifyNote,
} from '@abaton/verify';
import { type Logger, traceOf } from '../log.ts';
import { isDiskError } from '../queue/durable.ts';
import { type Head, type Heads, openHeads } from './heads.ts';
import { type AddCheckpoint, formatAddCheckpoint, parseAddCheckpoint } from './request.ts';
import { parseYearly, type TrustedLogs } from './trusted-logs.ts';

/** An answer of HTTP, as tlog-witness has it. */
export interface WitnessAnswer {
  status: 200 | 400 | 403 | 404 | 409 | 422 | 503;
  contentType: 'text/plain; charset=utf-8' | 'text/x.tlog.size';
  body: string;
}

export interface Witness {
  /** Ed25519 and ML-DSA-44. */
  readonly vkeys: readonly string[];
  /**
   * Judges the body of a request, whatever it holds. With status 200 the checkpoint is durable on return and the body is the
   * cosignatures; with 503 the disk refused, and nothing is cosigned.
   */
  addCheckpoint(body: string): Promise<WitnessAnswer>;
  /** Whether a log that is trusted has signed this checkpoint. Says nothing about what it continues. */
  isSigned(note: string): boolean;
  /** The newest that was cosigned. */
  head(origin: string): Head | null;
  /** By the SHA-256 of the origin, hex. */
  headByHash(hash: string): Head | null;
  /** Of all logs that it cosigned. */
  origins(): string[];
  /** Ends what is under way, then lets the directory go. */
  close(): Promise<void>;
}

export interface WitnessOptions {
  signers: readonly NoteSigner[];
  /** Holds its state; one process uses it at a time. */
  dir: string;
  /** This witness has never cosigned, and begins here. */
  isNew: boolean;
  /** Asked at each request. */
  logs: () => TrustedLogs;
  logger: Logger;
  /** For tests. */
  nowMs?: () => number;
}

const text = (status: WitnessAnswer['status'], body: string): WitnessAnswer => ({
  status,
  contentType: 'text/plain; charset=utf-8',
  body,
});

/** Throws WITNESS_IN_USE, WITNESS_STATE_INVALID, WITNESS_KEY_INVALID, and what the disk says. */
export async function openWitness(options: WitnessOptions): Promise<Witness> {
  const { signers, dir, isNew, logs, logger, nowMs = Date.now } = options;
  const vkeys = signers.map(({ vkey }) => vkey);
  const heads = await openHeads(dir, vkeys, isNew);
  let newestS = heads.newestS();
  /** The end of what is under way for a log: its requests come one after another. */
  const turns = new Map<string, Promise<unknown>>();

  const inTurn = (origin: string, work: () => Promise<WitnessAnswer>): Promise<WitnessAnswer> => {
    const turn = (turns.get(origin) ?? Promise.resolve()).then(work);
    const settled = turn.catch(() => {});
    turns.set(origin, settled);
    void settled.then(() => turns.get(origin) === settled && turns.delete(origin));
    return turn;
  };

  /** POSIX seconds. Where the clock was set back, the newest time that was signed. */
  const timestampS = (): number => {
    newestS = Math.max(newestS, Math.floor(nowMs() / 1000), 1); // zero would say nothing about time
    return newestS;
  };

  const cosign = async ({ text: signed, checkpoint }: AddCheckpoint, logLines: string): Promise<WitnessAnswer> => {
    const atS = timestampS();
    const cosignatures = signers.map((signer) => signer.sign(signed, atS)).join('');
    const note = `${signed}\n${logLines}${cosignatures}`;
    try {
      await heads.keep({ ...checkpoint, text: signed, note, timestampS: atS });
    } catch (error) {
      if (!isDiskError(error)) throw error;
      logger.error('store-unavailable', traceOf(error));
      return text(503, 'The witness cannot store the checkpoint now.\n');
    }
    logger.info('cosigned', { origin: checkpoint.origin, size: checkpoint.size });
    return text(200, cosignatures);
  };

  /**
   * A log of a year ends where that of a later year begins, and does not grow any more: else a host could go back behind New
   * Year, and on from there. tlog-witness knows each log alone.
   */
  const hasEnded = ({ oldSize, checkpoint }: AddCheckpoint): string | null => {
    const log = parseYearly(checkpoint.origin);
    const isLater = (origin: string): boolean => {
      const other = parseYearly(origin);
      return other !== null && other.family === log?.family && other.year > log.year;
    };
    const grows = oldSize > 0 && checkpoint.size > oldSize;
    return grows && heads.origins().some(isLater) ? 'A log of a later year has begun: this one has ended.' : null;
  };

  const judge = async (request: AddCheckpoint, logLines: string): Promise<WitnessAnswer> => {
    const { oldSize, checkpoint } = request;
    const held = heads.of(checkpoint.origin);
    if (oldSize !== (held?.size ?? 0))
      return { status: 409, contentType: 'text/x.tlog.size', body: `${held?.size ?? 0}\n` };
    const before = held ? null : newestBefore(heads, checkpoint.origin);
    const why = hasEnded(request) ?? inconsistencyOf(request, held) ?? (before && forgottenYearOf(checkpoint, before));
    if (why === null) return cosign(request, logLines);
    logger.error('checkpoint-inconsistent', {
      origin: checkpoint.origin,
      sizes: [String(oldSize), String(checkpoint.size)],
      roots: [held?.root ?? EMPTY_ROOT, checkpoint.root].map((root) => Buffer.from(root).toString('hex')),
    });
    return text(422, `${why}\n`);
  };

  return {
    vkeys,
    async addCheckpoint(body) {
      const request = parseAddCheckpoint(body);
      if (!request) return text(400, 'Not a request as in C2SP tlog-witness.\n');
      const { oldSize, checkpoint } = request;
      const keys = logs().keysOf(checkpoint.origin);
      if (keys.length === 0) return text(404, 'The log is not known here.\n');
      const logLines = verifiedLines(request, keys);
      if (logLines === null) return text(403, 'No valid signature by a key that is trusted for this log.\n');
      if (oldSize > checkpoint.size) return text(400, 'The old size is above that of the checkpoint.\n');
      return inTurn(checkpoint.origin, () => judge(request, logLines));
    },
    isSigned(note) {
      const request = parseAddCheckpoint(formatAddCheckpoint(0, [], note));
      return request !== null && verifiedLines(request, logs().keysOf(request.checkpoint.origin)) !== null;
    },
    head: heads.of,
    headByHash: heads.byHash,
    origins: heads.origins,
    async close() {
      await Promise.all(turns.values());
      heads.close();
    },
  };
}

/** The signature lines of those keys; null when there is none, or one of them does not verify. */
function verifiedLines({ text: signed, signatures }: AddCheckpoint, keys: readonly Vkey[]): string | null {
  const isTrusted = ({ name, id }: NoteSignature) => keys.some((key) => key.name === name && key.id === id);
  const lines = new Set(signatures.filter(isTrusted).map((of) => formatSignatureLine(of, of.signature)));
  try {
    // each alone: in one note a second line of a key would be ignored, and tlog-witness allows no wrong one
    for (const line of lines) verifyNote(`${signed}\n${line}`, keys);
  } catch {
    return null;
  }
  return lines.size > 0 ? [...lines].join('') : null;
}

/** Of the logs of earlier years of the same family, the newest that was cosigned. */
function newestBefore(heads: Heads, origin: string): Head | null {
  const log = parseYearly(origin);
  if (!log) return null;
  const earlier = heads.origins().filter((other) => {
    const of = parseYearly(other);
    return of?.family === log.family && of.year < log.year;
  });
  return heads.of(earlier.sort().at(-1) ?? '');
}

/**
 * The log of a new year says in each checkpoint what it continues (server, yearly-log.ts: `previous <origin> <size> <root>`).
 * Without that, a host that takes the log away at New Year would have one whose name nobody knows. Null: it is what is held.
 */
function forgottenYearOf({ extensions }: Checkpoint, { origin, size, root }: Head): string | null {
  const line = `previous ${origin} ${size} ${Buffer.from(root).toString('base64')}`;
  return extensions.includes(line) ? null : 'It does not continue the log of the year before, as that was cosigned.';
}

/** Null: the checkpoint continues what is held. */
function inconsistencyOf({ oldSize, proof, checkpoint }: AddCheckpoint, held: Checkpoint | null): string | null {
  try {
    if (checkpoint.size === 0 && !EMPTY_ROOT.every((byte, i) => byte === checkpoint.root[i]))
      return 'The empty tree has another root.';
    verifyConsistency(oldSize, checkpoint.size, held?.root ?? EMPTY_ROOT, checkpoint.root, proof);
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : 'The checkpoint is inconsistent.';
  }
}
