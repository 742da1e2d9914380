/** The hospital's end of the proof: the link, the queue and the LAN-side door, put together. */
import { join } from 'node:path';
import type { ClientCode, VerifyOptions } from '@abaton/client';
import { ConfigurationError } from '@abaton/verify';
import { createHandler } from './http/handler.ts';
import { listen } from './http/listen.ts';
import { startKeyholder } from './keyholder/keyholder.ts';
import { openShares, type SharesOptions } from './keyholder/shares.ts';
import { openLink } from './link.ts';
import { createLogger } from './log.ts';
import { startDrain } from './queue/drain.ts';
import { makeDirectory } from './queue/durable.ts';
import { openQueue } from './queue/queue.ts';
import { openRefusals, type Refusal } from './refusals.ts';
import type { VerdictSummary } from './verdict-summary.ts';
import { type LinkWitness, startLinkWitness } from './witness/link-witness.ts';
import type { VisitsState } from './witness/witness-visits.ts';

export interface GatewayOptions {
  /** Address of the service and the pinned policy. */
  trust: VerifyOptions;
  /** IP address to listen on; without `tls` only 127.0.0.0/8 and ::1. */
  host: string;
  /** 0 takes a free port. */
  port: number;
  /** PEM. */
  tls?: { cert: string; key: string };
  /** Holds the queue and its key. One gateway uses it at a time. */
  dataDir: string;
  /** Also cosigns the log of the service, with this key file. `isNew`: this witness has never cosigned. */
  witness?: { keyFile: string; isNew: boolean };
  /** The role of the keyholder, over the same link. `trust.policy` has then to be one that officers have signed. */
  keyholder?: SharesOptions;
  /** At most, and by default, five minutes. */
  intervalMs?: number;
  /** How much older than the interval evidence may get. At most, and by default, a minute. */
  graceMs?: number;
  /** Of the queue, and of one upload. Default: 20 GiB. */
  maxQueueBytes?: number;
  /** Of a LAN-side program that stands still. Default: 60 s. */
  patienceMs?: number;
  /** Takes one line. Default: standard error. */
  log?: (line: string) => void;
}

export interface GatewayState {
  state: 'open' | 'closed';
  /** Codes; empty while open. */
  reasons: string[];
  verdict: VerdictSummary | null;
  /** The newest refusal for another reason than a date; kept over restarts. */
  lastRefusal: Refusal | null;
  queue: { queued: number; refused: number; bytes: number };
  /** Only where the gateway is a witness. */
  witness?: VisitsState;
}

export interface Gateway {
  port: number;
  state(): GatewayState;
  /** Takes nothing new and cuts what runs; what is queued stays for the next start. */
  close(): Promise<void>;
}

export const INTERVAL_MS = 300_000; // as the service's self-attestation: a revoked platform is found within it (I1)
/** For one attempt that runs into all its limits (connect 10 s, evidence 30 s), and a second one that holds. */
export const GRACE_MS = 60_000;
const MAX_QUEUE_BYTES = 20 * 2 ** 30; // a day of a busy CT; the customer's disk decides

/**
 * Listens at once, closed; opens when the service is verified. Throws URL_INVALID when the address of the service is
 * no https: URL, LISTEN_REFUSED, QUEUE_IN_USE, QUEUE_KEY_INVALID, WITNESS_KEY_INVALID, WITNESS_STATE_INVALID, what
 * `openShares` throws, a RangeError for an interval or grace above its default, and what the disk says.
 */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const { trust, dataDir, maxQueueBytes = MAX_QUEUE_BYTES } = options;
  if (!URL.canParse(trust.url) || new URL(trust.url).protocol !== 'https:')
    throw new ConfigurationError<ClientCode>('URL_INVALID', 'The address of the service must be an https: URL.');
  const intervalMs = atMost(options.intervalMs, INTERVAL_MS);
  const graceMs = atMost(options.graceMs, GRACE_MS);
  const logger = createLogger(options.log ?? ((line) => process.stderr.write(line)));
  await makeDirectory(dataDir);
  const queue = await openQueue(dataDir, maxQueueBytes);
  const shares = options.keyholder
    ? await openShares(options.keyholder).catch((error) => {
        queue.close();
        throw error;
      })
    : null;
  const refusals = await openRefusals(dataDir);
  const link = openLink({ trust, intervalMs, graceMs, refusals, logger });
  const drain = startDrain(queue, link, logger);
  let witness: LinkWitness | null = null;
  const keyholder = shares && startKeyholder({ shares, link, trust, logger });
  const state = (): GatewayState => {
    const { open, ...rest } = link.state();
    const state = open ? 'open' : 'closed';
    const witnessed = witness ? { witness: witness.state() } : {};
    return { state, ...rest, lastRefusal: refusals.newest(), queue: queue.counts(), ...witnessed };
  };
  const stop = async () => {
    const ended = keyholder?.stop();
    link.close();
    await drain.stop();
    await witness?.stop();
    await ended;
    shares?.close();
    queue.close();
  };
  const { patienceMs } = options;
  const deps = {
    link,
    queue,
    logger,
    health: state,
    maxBodyBytes: maxQueueBytes,
    ...(patienceMs ? { patienceMs } : {}),
  };
  try {
    if (options.witness)
      witness = await startLinkWitness({ link, dir: join(dataDir, 'witness'), logger, ...options.witness });
    const listener = await listen({
      host: options.host,
      port: options.port,
      tls: options.tls ?? null,
      handler: (verifyCaller) => createHandler(deps, verifyCaller),
    });
    return {
      port: listener.port,
      state,
      async close() {
        await listener.close();
        await stop();
      },
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

const atMost = (value: number | undefined, limit: number): number => {
  if (value === undefined) return limit;
  if (!(value > 0 && value <= limit)) throw new RangeError(`must be above 0 and at most ${limit} ms`);
  return value;
};
