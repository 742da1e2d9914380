/**
 * The customer's keyholder: it goes to the server, over the verified connection and nothing else, asks what is wanted of it, and
 * gives the share of an epoch, or destroys it. A server whose evidence the officers' policy does not admit gets nothing, so a new
 * build reads nothing before it is approved; a share that is destroyed makes every copy of its key table unreadable.
 */
import {
  type ClientCode,
  formatKeyShare,
  type KeyShare,
  parseKeyholderWishes,
  type VerifiedConnection,
  type VerifyOptions,
} from '@abaton/client';
import { AbatonError, UnavailableError } from '@abaton/verify';
import { backoffMs } from '../backoff.ts';
import type { GatewayCode } from '../codes.ts';
import type { Link } from '../link.ts';
import { type Logger, traceOf } from '../log.ts';
import { createSignal } from '../signal.ts';
import { verifyAgain } from '../verification.ts';
import type { Shares } from './shares.ts';

export interface KeyholderDeps {
  shares: Shares;
  link: Link;
  /** What the link was opened with: a share goes out on evidence of this moment. */
  trust: VerifyOptions;
  logger: Logger;
  /** Between two questions, while something is wanted and else. Default: 1 s and 5 s. */
  pollMs?: { busy: number; idle: number };
  /** How long to wait after so many failures in a row. */
  pauseMs?: (failures: number) => number;
}

export interface Keyholder {
  /**
   * Begins to end; resolves after the step that is under way, which ends when the link is closed. What is durable stays. The
   * shares are the caller's to close.
   */
  stop(): Promise<void>;
}

const POLL_MS = { busy: 1_000, idle: 5_000 };
const REQUEST_TIMEOUT_MS = 10_000; // as a connection's: the server answers from memory
const MAX_ANSWER_BYTES = 2 ** 16; // thousands of epochs
const PATHS = {
  wishes: '/api/v1/keyholder',
  share: '/api/v1/keyholder/share',
  destroyed: '/api/v1/keyholder/destroyed',
} as const;

/** What a server may not ask for; anything else that fails is the disk, the network, or a defect. */
const REFUSALS: readonly string[] = [
  'SUBJECT_OTHER',
  'EPOCH_UNEXPECTED',
  'EPOCH_DESTROYED',
  'EPOCH_NEEDED',
] satisfies GatewayCode[];

/** The server has answered, and not as it should. */
class AnsweredError extends UnavailableError<ClientCode> {
  readonly status: number;
  constructor(status: number) {
    super('ANSWER_INVALID', `The server answered ${status}.`);
    this.status = status;
  }
}

export function startKeyholder(deps: KeyholderDeps): Keyholder {
  const { shares, link, trust, logger, pollMs = POLL_MS, pauseMs = backoffMs } = deps;
  const stopping = createSignal();
  let stopped = false;
  /** What was logged last, so that a state that lasts is one line. */
  let away = '';
  let refused = new Set<string>();

  const request = async (
    { connection, cut }: Reached,
    method: 'GET' | 'POST',
    path: string,
    note?: string,
  ): Promise<unknown> => {
    const response = await connection.request({
      method,
      path,
      signal: AbortSignal.any([cut, AbortSignal.timeout(REQUEST_TIMEOUT_MS)]),
      ...(note !== undefined && { headers: { 'content-type': 'text/plain; charset=utf-8' }, body: bodyOf(note) }),
    });
    if (response.status === 200) return response.json(MAX_ANSWER_BYTES);
    await response.bytes(MAX_ANSWER_BYTES);
    throw new AnsweredError(response.status);
  };

  const post = async (reached: Reached, path: string, said: KeyShare): Promise<void> => {
    const text = formatKeyShare(said);
    await request(reached, 'POST', path, `${text}\n${shares.signer.sign(text)}`);
  };

  const give = async (reached: Reached, subject: string, epoch: number): Promise<void> => {
    const { share, made } = await shares.share(subject, epoch);
    try {
      // somebody should look: without a copy in escrow, the loss of this share is the loss of everything
      if (made) logger.warn('share-made', { subject, epoch });
      const outcome = await verifyAgain(reached.connection, trust);
      if (outcome.kind !== 'verified') {
        const codes = outcome.kind === 'refused' ? outcome.codes : [outcome.code];
        logger.error('share-withheld', { subject, epoch, codes });
        throw new UnavailableError<ClientCode>('NOT_VERIFIED', 'The newest evidence does not hold.');
      }
      if (reached.cut.aborted) throw new UnavailableError<ClientCode>('CONNECTION_LOST', 'The connection was cut.');
      await post(reached, PATHS.share, { subject, epoch, share });
      const { codeHash, evidenceId } = outcome.verdict;
      logger.info('share-given', { subject, epoch, codeHash, evidenceId });
    } finally {
      share.fill(0);
    }
  };

  const destroy = async (reached: Reached, subject: string, epoch: number): Promise<void> => {
    const before = shares.states()[epoch - 1]?.state;
    await shares.destroy(subject, epoch);
    if (before === 'held') logger.info('share-destroyed', { subject, epoch });
    await post(reached, PATHS.destroyed, { subject, epoch, share: null });
  };

  /** Whether something was done. */
  const serve = async (reached: Reached): Promise<boolean> => {
    const { subject, wanted, retired } = parseKeyholderWishes(await request(reached, 'GET', PATHS.wishes));
    if (away !== '') logger.info('keyholder-heard');
    away = '';
    const seen = new Set<string>();
    let done = false;
    const attempt = async (epoch: number, work: () => Promise<void>): Promise<void> => {
      try {
        await work();
        done = true;
      } catch (error) {
        const code = error instanceof AbatonError ? error.code : '';
        if (!REFUSALS.includes(code)) throw error;
        seen.add(`${code} ${epoch}`);
        if (!refused.has(`${code} ${epoch}`)) logger.error('share-refused', { subject, epoch, code });
      }
    };
    if (wanted !== null) await attempt(wanted, () => give(reached, subject, wanted));
    for (const each of new Set(retired)) await attempt(each, () => destroy(reached, subject, each));
    refused = seen;
    return done;
  };

  const round = async (failures: number): Promise<number> => {
    try {
      const done = await link.runVerified((connection, cut) => serve({ connection, cut }));
      if (!stopped) await stopping.wait(done ? pollMs.busy : pollMs.idle);
      return 0;
    } catch (error) {
      if (stopped) return failures; // the link was closed
      const pause = pauseMs(failures + 1);
      if (isClosed(error))
        await link.changed(pause); // the link has said so, and why
      else {
        report(error);
        await stopping.wait(pause);
      }
      return failures + 1;
    }
  };

  const report = (error: unknown): void => {
    const { code, at } = traceOf(error);
    const status = error instanceof AnsweredError ? error.status : null;
    const line = `${code} ${status}`;
    if (line === away) return;
    away = line;
    if (error instanceof AbatonError) logger.warn('keyholder-away', { code, status });
    else logger.error('keyholder-failed', { code, at });
  };

  const loop = async (): Promise<void> => {
    for (let failures = 0; !stopped; ) failures = await round(failures);
  };
  const ended = loop();
  return {
    async stop() {
      stopped = true;
      stopping.notify();
      await ended;
    },
  };
}

interface Reached {
  connection: VerifiedConnection;
  cut: AbortSignal;
}

const isClosed = (error: unknown): boolean => error instanceof AbatonError && error.code === 'GATEWAY_CLOSED';

async function* bodyOf(note: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(note);
}
