/**
 * Token buckets against strangers. One holds for the whole server: it protects the quoting enclave and the processor. Of it
 * one address gets a share, so that a single machine cannot keep everybody else out. An address proves nothing (behind a
 * hospital's gateway everybody has the same, and a botnet has many): it decides who waits, never who may.
 */
import type { Context, Env } from 'hono';
import { errorOf } from '../errors.ts';
import type { DoorBindings } from './bridge.ts';

export interface RateLimit {
  /** Takes one token. Throws OVERLOADED when there is none, in all or for this address. */
  take(address?: string): void;
}

export interface RateLimitOptions {
  perSecond: number;
  burst: number;
  /** Of both, for one address; default: half. */
  share?: number;
  nowMs?: () => number;
}

interface Bucket {
  tokens: number;
  atMs: number;
}

/** Addresses that are remembered: 200 bytes each. Whoever is forgotten begins with a full bucket, and meets the common one. */
const MAX_ADDRESSES = 10_000;

export function createRateLimit({
  perSecond,
  burst,
  share = 0.5,
  nowMs = () => performance.now(),
}: RateLimitOptions): RateLimit {
  const common: Bucket = { tokens: burst, atMs: nowMs() };
  /** In order of last use. */
  const addresses = new Map<string, Bucket>();
  const refill = (bucket: Bucket, now: number, part: number): Bucket => {
    bucket.tokens = Math.min(burst * part, bucket.tokens + ((now - bucket.atMs) / 1000) * perSecond * part);
    bucket.atMs = now;
    return bucket;
  };
  return {
    take(address = '') {
      const now = nowMs();
      const own = refill(addresses.get(address) ?? { tokens: burst * share, atMs: now }, now, share);
      addresses.delete(address);
      addresses.set(address, own);
      const [oldest] = addresses.keys();
      if (addresses.size > MAX_ADDRESSES && oldest !== undefined) addresses.delete(oldest);
      if (own.tokens < 1) throw overloaded(perSecond * share, 'from one address');
      if (refill(common, now, 1).tokens < 1) throw overloaded(perSecond, 'in all');
      own.tokens--;
      common.tokens--;
    },
  };
}

const overloaded = (perSecond: number, of: string) =>
  errorOf('OVERLOADED', `At most ${perSecond} requests of this kind per second are served ${of}.`);

/** Whose tokens a request takes: the address of the other end; of IPv6 its network of 64 bits, which is one customer's. */
export function addressOf<E extends Env & { Bindings: DoorBindings }>(c: Context<E>): string {
  const address = c.env?.incoming?.socket?.remoteAddress ?? '';
  if (!address.includes(':') || address.startsWith('::ffff:')) return address; // IPv4, also as a dual socket writes it
  const [left = [], right = []] = address.split('::').map((part) => part.split(':').filter(Boolean));
  return [...left, ...Array(8 - left.length - right.length).fill('0'), ...right].slice(0, 4).join(':');
}
