/**
 * The one way out: a verified connection, and never anything else. It is verified anew every interval, on a new
 * connection; new requests then go over the new one, running ones end on the old one. What has been verified ages: no
 * connection is used whose evidence is older than interval + grace, and whatever still runs over it then is cut.
 *
 * A refusal closes at once and cuts everything. Opening again needs no hand: each connection stands on fresh evidence
 * of its own, so a verification that holds is as good after a refusal as before it. What an integrity refusal needs
 * is a person who looks: it is logged as an error and stays in /healthz (refusals.ts).
 */
import type { VerifiedConnection, VerifyOptions } from '@abaton/client';
import { AbatonError } from '@abaton/verify';
import { backoffMs } from './backoff.ts';
import { errorOf } from './codes.ts';
import { type Logger, traceOf } from './log.ts';
import type { RefusalRecord } from './refusals.ts';
import { createSignal } from './signal.ts';
import { summarize, type VerdictSummary } from './verdict-summary.ts';
import { type Outcome, verifyAgain, verifyNew } from './verification.ts';

export interface LinkOptions {
  trust: VerifyOptions;
  intervalMs: number;
  graceMs: number;
  refusals: RefusalRecord;
  logger: Logger;
  /** How long to wait after so many failures in a row. */
  pauseMs?: (failures: number) => number;
}

export interface LinkState {
  open: boolean;
  /** Empty while open. */
  reasons: string[];
  /** The newest verdict, good or bad; null before the first. */
  verdict: VerdictSummary | null;
}

/** What is done over the connection. `cut` ends it when the connection may no longer be used. */
export type Use<T> = (connection: VerifiedConnection, cut: AbortSignal) => Promise<T>;

export interface Link {
  state(): LinkState;
  /** Runs `use` over the newest verified connection. Throws GATEWAY_CLOSED, before `use`, when there is none. */
  run<T>(use: Use<T>): Promise<T>;
  /** The same also while the service's own gate is closed: what its gate waits for must reach it. Nothing of patients. */
  runVerified<T>(use: Use<T>): Promise<T>;
  /** Resolves when the state may have changed, or after `timeoutMs`. */
  changed(timeoutMs: number): Promise<void>;
  /** Cuts everything. */
  close(): void;
}

/** A connection that is held. */
interface Held {
  connection: VerifiedConnection;
  /** When its evidence was asked for. */
  proven: Moment;
  cut: AbortController;
  running: number;
}

/** By two clocks: the one stands still while a machine sleeps, the other can be set back. The older age counts. */
interface Moment {
  steadyMs: number;
  wallMs: number;
}
const now = (): Moment => ({ steadyMs: performance.now(), wallMs: Date.now() });
const ageMs = (moment: Moment): number => Math.max(performance.now() - moment.steadyMs, Date.now() - moment.wallMs);

const TICK_MS = 250; // how late a connection may be cut that nobody uses
/** How late a lost connection, or the service's own gate, is noticed; and no connection is ever idle. */
const BEAT_MS = 2_000;
const BEAT_TIMEOUT_MS = 10_000; // as a TCP connection: longer means that nobody answers

const closed = (reasons: readonly string[]) => errorOf('GATEWAY_CLOSED', `Nothing is sent now: ${reasons.join(', ')}.`);

export function openLink(options: LinkOptions): Link {
  const { trust, intervalMs, graceMs, refusals, logger, pauseMs = backoffMs } = options;
  const held = new Set<Held>();
  let current: Held | null = null;
  let serviceOpen = false;
  let reasons: string[] = ['verification-pending'];
  let verdict: VerdictSummary | null = null;
  let stopped = false;
  let logged = '';
  const changes = createSignal();
  const lost = createSignal();
  const limitMs = intervalMs + graceMs;

  const state = (): LinkState => {
    if (current && ageMs(current.proven) > limitMs) drop(current, ['evidence-stale']);
    if (!current) return { open: false, reasons, verdict };
    return serviceOpen ? { open: true, reasons: [], verdict } : { open: false, reasons: ['service-closed'], verdict };
  };

  const announce = (): void => {
    const { open, reasons } = state();
    const line = `${open} ${reasons.join(' ')}`;
    if (line === logged) return;
    logged = line;
    logger[open ? 'info' : 'warn'](open ? 'door-open' : 'door-closed', { reasons });
    changes.notify();
  };

  /** Closes one connection and cuts what runs over it: the streams first, so that none looks as if it had ended. */
  const drop = (connection: Held, why: string[]): void => {
    if (!held.delete(connection)) return;
    connection.cut.abort();
    connection.connection.close();
    if (connection !== current) return;
    current = null;
    reasons = why;
    lost.notify();
    announce();
  };

  const closeAll = (why: string[]): void => {
    reasons = why;
    for (const each of [...held]) drop(each, why);
    announce();
  };

  const record = async ({ codes, integrity }: Extract<Outcome, { kind: 'refused' }>): Promise<void> => {
    logger.error('verification-refused', { codes, integrity });
    if (integrity) await refusals.keep({ at: new Date().toISOString(), codes });
  };

  /** Of ours: what was established by it cannot be relied on. The next attempt may open again. */
  const defect = (error: unknown): false => {
    logger.error('defect', traceOf(error));
    closeAll(['defect']);
    return false;
  };

  /** False: it was lost at once, and is not used. */
  const adopt = async (connection: VerifiedConnection, proven: Moment): Promise<boolean> => {
    const next: Held = { connection, proven, cut: new AbortController(), running: 0 };
    held.add(next);
    const answers = await beat(next);
    if (!answers || !held.has(next)) {
      drop(next, []);
      if (!current && !stopped) reasons = ['connection-lost'];
      return false;
    }
    const before = current;
    current = next;
    if (before?.running === 0) drop(before, []);
    for (const old of held) if (old !== next) void renew(old).catch(defect);
    return true;
  };

  /** For requests that outlive an interval: their connection has to prove itself again, or ends at its deadline. */
  const renew = async (old: Held): Promise<void> => {
    const proven = now();
    const outcome = await verifyAgain(old.connection, trust);
    if (outcome.kind === 'verified') old.proven = proven;
    else if (outcome.kind === 'refused' && held.has(old)) {
      drop(old, []);
      await record(outcome);
    }
  };

  /** Whether the other end is there; sets whether its own gate is open. */
  const beat = async (which: Held): Promise<boolean> => {
    try {
      const signal = AbortSignal.any([which.cut.signal, AbortSignal.timeout(BEAT_TIMEOUT_MS)]);
      const response = await which.connection.request({ method: 'GET', path: '/healthz', signal });
      await response.bytes(2 ** 20);
      serviceOpen = response.status === 200;
      return true;
    } catch {
      return false;
    }
  };

  const look = async (): Promise<void> => {
    const looked = current;
    if (!looked) return;
    if (!(await beat(looked))) drop(looked, ['connection-lost']);
    announce();
  };

  /** False: no new connection came of it. */
  const attempt = async (): Promise<boolean> => {
    const asked = now();
    const outcome = await verifyNew(trust);
    if (stopped) {
      if (outcome.kind === 'verified') outcome.connection.close();
      return false;
    }
    if (outcome.kind !== 'unavailable') verdict = summarize(outcome.verdict);
    let adopted = false;
    if (outcome.kind === 'verified') adopted = await adopt(outcome.connection, asked);
    else if (outcome.kind === 'refused') {
      closeAll(['verification-refused', ...outcome.codes]);
      await record(outcome);
    } else if (!current) reasons = ['verification-unavailable', outcome.code];
    announce();
    logger.info('verification', { outcome: outcome.kind, code: outcome.kind === 'unavailable' ? outcome.code : null });
    return adopted && current !== null;
  };

  const runOver = async <T>(used: Held | null, use: Use<T>): Promise<T> => {
    if (!used) throw closed(reasons);
    used.running++;
    try {
      return await use(used.connection, used.cut.signal);
    } catch (error) {
      if (error instanceof AbatonError && error.code === 'CONNECTION_LOST') void look(); // the stream, or all of it?
      throw error;
    } finally {
      used.running--;
      if (used !== current && used.running === 0) drop(used, []);
    }
  };

  const loop = async (): Promise<void> => {
    let failures = 0;
    while (!stopped) {
      const began = performance.now();
      if (await attempt().catch(defect)) {
        failures = 0;
        await lost.wait(Math.max(0, intervalMs - (performance.now() - began)));
        if (current || stopped) continue;
      }
      failures++; // also for a connection that was lost: a service that falls at once is not asked without pause
      await stopping.wait(pauseMs(failures));
    }
  };
  const stopping = createSignal();
  void loop(); // ends after the attempt that is under way, which cannot be called off

  const ticks = setInterval(() => {
    for (const each of [...held]) if (ageMs(each.proven) > limitMs) drop(each, ['evidence-stale']);
  }, TICK_MS);
  const beats = setInterval(() => void look(), BEAT_MS);

  return {
    state,
    async run(use) {
      const { open, reasons } = state();
      if (!open) throw closed(reasons);
      return runOver(current, use);
    },
    async runVerified(use) {
      state(); // drops what has aged
      return runOver(current, use);
    },
    changed: (timeoutMs) => changes.wait(timeoutMs),
    close() {
      stopped = true;
      clearInterval(ticks);
      clearInterval(beats);
      reasons = ['stopped'];
      for (const each of [...held]) drop(each, reasons);
      lost.notify();
      stopping.notify();
      changes.notify();
    },
  };
}
