/**
 * A witness for a server that cannot reach the hospital: it goes there. It fetches the newest checkpoint of the server's log,
 * proves from the tiles that it continues what was cosigned, lets the witness judge (witness.ts) and brings the cosigned note.
 * When the server shows less, or something else, it brings the note that it holds instead: that proves to the server, and to
 * whoever reads it, that a longer or another history was signed under its key.
 */
import {
  type Checkpoint,
  HASH_BYTES,
  parseCheckpoint,
  parseNote,
  TILE_WIDTH,
  TileTree,
  tilePath,
  UnavailableError,
} from '@abaton/verify';
import { backoffMs } from '../backoff.ts';
import { type LogFields, type Logger, traceOf } from '../log.ts';
import { createSignal } from '../signal.ts';
import type { Head } from './heads.ts';
import type { LogServer } from './log-server.ts';
import { formatAddCheckpoint, MAX_BODY_BYTES } from './request.ts';
import { parseYearly } from './trusted-logs.ts';
import type { Witness } from './witness.ts';

export interface VisitsOptions {
  witness: Witness;
  server: LogServer;
  logger: Logger;
  /** How long to wait after so many failures in a row. */
  pauseMs?: (failures: number) => number;
}

export interface VisitsState {
  /** Of the newest note that the server has taken; null before. */
  delivered: { origin: string; size: number; at: string } | null;
  /** Null: in order. */
  trouble: Trouble | null;
}

export interface Visits {
  state(): VisitsState;
  /** Ends with the visit that is under way. */
  stop(): Promise<void>;
}

const LOOK_MS = 1_000;
/** After something new: the log of a busy server has grown meanwhile, and what it answers may wait for a cosignature. */
const SOON_MS = 100;
const MAX_PAUSE_MS = 30_000;
const COSIGNATURES_PATH = 'api/v1/cosignatures';
const TILE_BYTES = TILE_WIDTH * HASH_BYTES;

/**
 * `unreachable`: no answer, or tiles are missing. `refused`: no checkpoint, of no known log, or not signed by it.
 * `inconsistent`: less than was cosigned, or something else. `undelivered`: the server did not take the note. `unstored`: our
 * own disk.
 */
export type Trouble = 'unreachable' | 'refused' | 'inconsistent' | 'undelivered' | 'unstored';
type Outcome = 'nothing-new' | 'delivered' | Trouble;

export function startVisits(options: VisitsOptions): Visits {
  const { witness, server, logger, pauseMs = (failures) => backoffMs(failures, MAX_PAUSE_MS) } = options;
  const stopping = createSignal();
  const visitor = createVisitor(witness, server, logger);
  let stopped = false;
  let trouble: Trouble | null = null;

  const visit = async (): Promise<Outcome> => {
    try {
      return await visitor.visit();
    } catch (error) {
      if (trouble !== 'unreachable') logger.warn('log-unreachable', traceOf(error));
      return 'unreachable';
    }
  };

  const loop = async (): Promise<void> => {
    let failures = 0;
    while (!stopped) {
      const outcome = await visit();
      const failed = outcome !== 'nothing-new' && outcome !== 'delivered';
      if (!failed && trouble !== null) logger.info('log-in-order');
      trouble = failed ? outcome : null;
      failures = failed ? failures + 1 : 0;
      if (stopped) return;
      if (failed) {
        const waitMs = pauseMs(failures);
        await Promise.race([stopping.wait(waitMs), server.changed(waitMs)]);
      } else await stopping.wait(outcome === 'delivered' ? SOON_MS : LOOK_MS);
    }
  };
  const running = loop();
  return {
    state: () => ({ delivered: visitor.delivered(), trouble }),
    async stop() {
      stopped = true;
      stopping.notify();
      server.close();
      await running;
    },
  };
}

function createVisitor(witness: Witness, server: LogServer, logger: Logger) {
  /** By origin: what the server has taken since it was last out of reach. */
  const taken = new Map<string, string>();
  /** The newest note that was answered with ours, so that it is not said every second. */
  let accused: string | null = null;
  /** The log that the server is at, once the end of the one before is cosigned. */
  let current = '';
  let delivered: VisitsState['delivered'] = null;

  const bring = async (head: Head): Promise<'delivered' | 'undelivered'> => {
    const status = await server.post(COSIGNATURES_PATH, head.note);
    if (status >= 200 && status < 300) return 'delivered';
    logger.warn('cosignature-undelivered', { origin: head.origin, size: head.size, status });
    return 'undelivered';
  };

  const refuse = (fields: LogFields): 'refused' => {
    logger.error('checkpoint-refused', fields);
    return 'refused';
  };

  /** Of what the log itself has signed; anybody can show anything else. */
  const accuse = async (shown: string, held: Head): Promise<Outcome> => {
    if (accused === shown) return 'inconsistent';
    if (!witness.isSigned(shown)) return refuse({ origin: held.origin });
    logger.error('log-rolled-back-or-forked', { origin: held.origin, heldSize: held.size, heldRoot: hexOf(held.root) });
    await bring(held);
    accused = shown;
    return 'inconsistent';
  };

  /** `held`: what was cosigned before `note` was asked for. */
  const cosign = async (note: string, shown: Shown, held: Head | null): Promise<Outcome> => {
    const oldSize = Math.min(held?.size ?? 0, shown.size); // where it shows less, the witness says 409
    if (held?.text !== shown.text) {
      const proof = shown.size < (held?.size ?? 0) ? [] : await proofOf(server, shown, oldSize);
      const { status } = await witness.addCheckpoint(formatAddCheckpoint(oldSize, proof, note));
      if (status === 503) return 'unstored';
      if (witness.head(shown.origin) !== held && status !== 200) return 'nothing-new'; // the log has come to us meanwhile
      if (held && (status === 409 || status === 422)) return accuse(note, held);
      if (status !== 200) return refuse({ origin: shown.origin, status });
    }
    const head = witness.head(shown.origin);
    if (!head || taken.get(head.origin) === head.text) return 'nothing-new';
    const outcome = await bring(head);
    if (outcome !== 'delivered') return outcome;
    taken.set(head.origin, head.text);
    delivered = { origin: head.origin, size: head.size, at: new Date().toISOString() };
    return 'delivered';
  };

  /** The end of the newest log that is held of an earlier year. */
  const finish = async (shown: Shown): Promise<Outcome> => {
    const held = newestOf(witness, shown.family, (year) => year < shown.year);
    if (!held) return 'nothing-new';
    const note = await fetchNote(server, `audit/${parseYearly(held.origin)?.year}/checkpoint`);
    const last = note === null ? null : parseShown(note);
    if (note === null || last?.origin !== held.origin) return refuse({ origin: held.origin });
    return cosign(note, last, held);
  };

  const visit = async (): Promise<Outcome> => {
    const before = new Map(witness.origins().map((origin) => [origin, witness.head(origin)]));
    const note = await fetchNote(server, 'checkpoint');
    const shown = note === null ? null : parseShown(note);
    if (note === null || shown === null) return refuse({ status: note === null ? 404 : 400 });
    const later = newestOf(witness, shown.family, (year) => year > shown.year);
    if (later && before.has(later.origin)) return accuse(note, later); // a year of it is gone
    if (current !== shown.origin) {
      const outcome = await finish(shown);
      if (outcome !== 'nothing-new' && outcome !== 'delivered') return outcome;
      current = shown.origin;
    }
    return cosign(note, shown, before.get(shown.origin) ?? null);
  };

  return {
    delivered: () => delivered,
    async visit(): Promise<Outcome> {
      try {
        return await visit();
      } catch (error) {
        taken.clear(); // whoever answers next may have forgotten
        throw error;
      }
    },
  };
}

const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** A checkpoint of a yearly log, as it was served: nothing of it is believed yet. */
interface Shown extends Checkpoint {
  text: string;
  family: string;
  year: number;
}

function parseShown(note: string): Shown | null {
  try {
    const { text } = parseNote(note);
    const checkpoint = parseCheckpoint(text);
    const yearly = parseYearly(checkpoint.origin);
    return yearly && { ...checkpoint, ...yearly, text };
  } catch {
    return null;
  }
}

/** Null: there is none. */
async function fetchNote(server: LogServer, path: string): Promise<string | null> {
  const { status, bytes } = await server.get(path, MAX_BODY_BYTES);
  if (status === 404 || status === 410) return null;
  if (status !== 200) throw new UnavailableError('LOG_UNAVAILABLE', `The server answered ${status}.`);
  return Buffer.from(bytes).toString('utf8'); // what is not UTF-8 verifies under no key
}

/** Bounded by the depth of the tree, whatever its size claims. Throws when a tile is not to be had. */
function proofOf(server: LogServer, { year, size }: Shown, oldSize: number): Promise<Uint8Array[]> {
  const read = async (level: number, n: number, width: number): Promise<Uint8Array | null> => {
    const { status, bytes } = await server.get(`audit/${year}/${tilePath({ level, n, width })}`, TILE_BYTES);
    if (status === 200) return bytes;
    // a partial tile may be gone once the full one is there (tlog-tiles, "Partial tiles")
    return width < TILE_WIDTH ? read(level, n, TILE_WIDTH) : null;
  };
  return new TileTree(size, read).consistencyProof(oldSize);
}

function newestOf(witness: Witness, family: string, isMeant: (year: number) => boolean): Head | null {
  const years = witness.origins().flatMap((origin) => {
    const yearly = parseYearly(origin);
    return yearly?.family === family && isMeant(yearly.year) ? [{ origin, year: yearly.year }] : [];
  });
  const newest = years.sort((a, b) => b.year - a.year)[0];
  return newest ? witness.head(newest.origin) : null;
}
