/**
 * Witnesses of the log (C2SP tlog-witness, tlog-cosignature). The host owns the disk and can put back yesterday's; a quorum
 * that has cosigned a tree will cosign no other history. So nothing is served before a quorum has cosigned a tree that holds
 * this start's own entry, whose nonce is new; and no longer than some seconds beyond what they have cosigned.
 *
 * A witness with a URL is asked; one without comes to us (http/witness-routes.ts). Both bring the same: a checkpoint of ours
 * with signatures under it. One that is signed under our key and is not in our history proves that the history here is not
 * the one that was shown before: it was rolled back, or somebody else writes under the same identity.
 */
import { parseNote, verifyCheckpoint, verifyNote } from '@abaton/verify';
import { errorOf } from '../../errors.ts';
import type { Logger } from '../../log.ts';
import { createSignal } from '../../signal.ts';
import type { LogPosition } from '../log.ts';
import type { TileLog } from '../tile-log.ts';
import type { YearlyLog } from '../yearly-log.ts';
import { Tail } from './tail.ts';
import { fetchWitnessed, submitCheckpoint } from './witness-client.ts';
import type { Witness, WitnessSet } from './witness-set.ts';

/** What the gate and people may know. */
export interface WitnessState {
  /** `unwitnessed`: none is configured. `pending`: the quorum has not cosigned this start's entry yet. `late`: the tail is too old. */
  label: 'unwitnessed' | 'pending' | 'witnessed' | 'late';
  quorum: number;
  witnesses: number;
  /** Entries of the current log that a quorum has cosigned. */
  cosignedSize: number;
  /** Age of the oldest entry that they have not, in ms; 0 when there is none. */
  tailAgeMs: number;
}

export interface Witnessing {
  state(): WitnessState;
  /**
   * Resolves when a quorum has cosigned a tree that holds the entry; at once when no witness is configured. Throws
   * WITNESS_UNAVAILABLE after `timeoutMs`.
   */
  witnessed(position: LogPosition, timeoutMs?: number): Promise<void>;
  /**
   * Takes a checkpoint of ours with cosignatures under it, from anybody. Returns how many witnesses of ours have signed it.
   * Throws COSIGNATURE_INVALID when it is not ours or a signature is wrong, and LOG_ROLLED_BACK, after an incident was opened,
   * when it is ours and not in the history here.
   */
  accept(note: string): Promise<{ witnesses: number }>;
  /** Asks witnesses from now on, and bounds the tail; `bootEntry`: the entry of this start. */
  start(bootEntry: LogPosition): void;
  stop(): void;
}

export interface WitnessingOptions {
  log: YearlyLog;
  set: WitnessSet;
  /** Called with LOG_ROLLED_BACK before `accept` throws it. */
  onRolledBack: () => Promise<void>;
  logger: Logger;
  nowMs: () => number;
}

export const MAX_TAIL_MS = 5_000; // audit-log rule 3: what is not cosigned can be lost unseen
const LOOK_MS = 250; // how late a new size is noticed; two a second are asked for at most, since an answer takes its time
const WITNESSED_TIMEOUT_MS = 10_000;
const MAX_AHEAD_MS = 5 * 60_000; // between two clocks, RFC 4120 section 7.5.8

/** What one witness has cosigned, by origin: the largest size. */
interface Seen {
  witness: Witness;
  sizes: Map<string, number>;
  asking: boolean;
}

export function createWitnessing({ log, set, onRolledBack, logger, nowMs }: WitnessingOptions): Witnessing {
  const seen: Seen[] = set.witnesses.map((witness) => ({ witness, sizes: new Map(), asking: false }));
  const progress = createSignal();
  const tail = new Tail();
  let bootEntry: LogPosition | null = null;
  let begun = false;
  let timer: NodeJS.Timeout | null = null;

  /** Size of the largest tree of that log that a quorum has cosigned, each in its own. */
  const cosignedSize = (origin: string): number => {
    const sizes = seen.map(({ sizes }) => sizes.get(origin) ?? 0).sort((a, b) => b - a);
    return sizes[set.quorum - 1] ?? 0;
  };
  const holds = ({ origin, index }: LogPosition): boolean => cosignedSize(origin) > index;

  const accept: Witnessing['accept'] = async (note) => {
    const checkpoint = readOurs(note, log);
    const tree = log.tree(checkpoint.origin);
    const isHere =
      tree !== null &&
      checkpoint.size <= tree.size() &&
      Buffer.from(checkpoint.root).equals(await tree.rootAt(checkpoint.size));
    if (!isHere) {
      logger.error('log-rolled-back', { count: checkpoint.size, code: 'LOG_ROLLED_BACK' });
      await onRolledBack();
      throw errorOf('LOG_ROLLED_BACK', `A checkpoint of size ${checkpoint.size} was signed for another history.`);
    }
    const signers = readCosignatures(note, set, nowMs());
    for (const { witness, sizes } of seen)
      if (signers.has(witness)) sizes.set(tree.origin, Math.max(sizes.get(tree.origin) ?? 0, checkpoint.size));
    if (signers.size >= set.quorum && signers.size > 0) tree.keepCosigned(note);
    if (bootEntry && holds(bootEntry)) begun = true;
    tail.look(log.size(), cosignedSize(log.current().origin));
    progress.notify();
    return { witnesses: signers.size };
  };

  /** Trees of which a witness has not seen the newest: first the end of last year's log, which this year's names. */
  const unseenOf = ({ sizes }: Seen): TileLog[] =>
    log
      .trees()
      .slice(0, 2)
      .filter((tree) => (sizes.get(tree.origin) ?? -1) < tree.size())
      .reverse();

  /** One round with one witness about one tree; false when it has not cosigned. */
  const ask = async ({ witness: { url, vkey }, sizes }: Seen, tree: TileLog): Promise<boolean> => {
    if (url === null) return false;
    const trouble = (status: number): false => {
      logger.warn('witness-trouble', { status, index: set.witnesses.findIndex((each) => each.vkey === vkey) });
      return false;
    };
    let oldSize = sizes.get(tree.origin) ?? 0;
    for (let round = 0; round < 2; round++) {
      const { checkpoint: note, hashes } = await tree.consistencyProof(oldSize);
      const answer = await submitCheckpoint(url, { oldSize, hashes, note });
      if (answer.kind === 'trouble') return trouble(answer.status);
      if (answer.kind === 'cosigned') {
        const { witnesses } = await accept(`${note}${answer.lines}`);
        return witnesses > 0 || trouble(200);
      }
      if (answer.kind === 'conflict' && answer.size <= tree.size()) oldSize = answer.size;
      else {
        // a size and a status prove nothing: what it holds does, if it holds it
        const held = await fetchWitnessed(url, tree.origin);
        if (held !== null) await accept(held);
        return trouble(answer.kind === 'conflict' ? 409 : 422);
      }
    }
    return trouble(409); // it names another size each time
  };

  const look = (): void => {
    tail.look(log.size(), cosignedSize(log.current().origin));
    for (const each of seen) {
      const unseen = unseenOf(each);
      if (each.asking || unseen.length === 0) continue;
      each.asking = true;
      void Promise.resolve()
        .then(async () => {
          for (const tree of unseen) if (!(await ask(each, tree))) return; // the order of the years counts
        })
        .catch(({ code = 'INTERNAL' }) => logger.warn('witness-trouble', { code }))
        .finally(() => {
          each.asking = false;
        });
    }
  };

  return {
    accept,
    state() {
      const late = tail.ageMs() > MAX_TAIL_MS;
      const label = set.quorum === 0 ? 'unwitnessed' : begun ? (late ? 'late' : 'witnessed') : 'pending';
      const cosigned = cosignedSize(log.current().origin);
      const tailAgeMs = set.quorum === 0 ? 0 : Math.round(tail.ageMs());
      return { label, quorum: set.quorum, witnesses: set.witnesses.length, cosignedSize: cosigned, tailAgeMs };
    },
    async witnessed(position, timeoutMs = WITNESSED_TIMEOUT_MS) {
      if (set.quorum === 0) return;
      look();
      for (const until = performance.now() + timeoutMs; !holds(position); ) {
        const leftMs = until - performance.now();
        if (leftMs <= 0) throw errorOf('WITNESS_UNAVAILABLE', `No quorum of ${set.quorum} has cosigned the entry.`);
        await progress.wait(leftMs);
      }
    },
    start(position) {
      bootEntry = position;
      if (holds(position)) begun = true;
      if (set.quorum > 0) timer ??= setInterval(look, LOOK_MS).unref();
      look();
    },
    stop() {
      if (timer) clearInterval(timer);
      timer = null;
    },
  };
}

/** The checkpoint, signed under a key that this server has or had. Throws COSIGNATURE_INVALID. */
function readOurs(note: string, log: YearlyLog): ReturnType<typeof verifyCheckpoint> {
  try {
    const [origin = ''] = parseNote(note).text.split('\n');
    return verifyCheckpoint(note, log.vkeysOf(origin));
  } catch (cause) {
    throw errorOf('COSIGNATURE_INVALID', 'That is no checkpoint of this log.', { cause });
  }
}

/** The witnesses that have signed it. Throws COSIGNATURE_INVALID when one of their signatures is wrong, or dated ahead. */
function readCosignatures(note: string, { witnesses }: WitnessSet, nowMs: number): Set<Witness> {
  const invalid = (why: string, cause?: unknown) => errorOf('COSIGNATURE_INVALID', `${why}.`, { cause });
  const vkeys = witnesses.map(({ vkey }) => vkey);
  const names = new Set(parseNote(note).signatures.map(({ name, id }) => `${name} ${id}`));
  if (!vkeys.some(({ name, id }) => names.has(`${name} ${id}`))) return new Set();
  let verified: ReturnType<typeof verifyNote>;
  try {
    verified = verifyNote(note, vkeys);
  } catch (cause) {
    throw invalid('A cosignature does not verify', cause);
  }
  for (const vkey of verified.signedBy) {
    const timeS = verified.timesS.get(vkey);
    // without a time it does not say that this is the largest tree that the witness has seen (tlog-cosignature)
    if (timeS === undefined) throw invalid('A cosignature has no time');
    if (timeS * 1000 - nowMs > MAX_AHEAD_MS) throw invalid('A cosignature is dated more than five minutes ahead');
  }
  return new Set(witnesses.filter(({ vkey }) => verified.signedBy.includes(vkey)));
}
