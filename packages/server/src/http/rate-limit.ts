/**
 * A token bucket for the whole server. It protects the platform's quoting enclave, not one client from another: behind
 * a hospital's gateway everybody has the same address, and an address proves nothing.
 */
import { errorOf } from '../errors.ts';

export interface RateLimit {
  /** Takes one token. Throws OVERLOADED when there is none. */
  take(): void;
}

export function createRateLimit(
  perSecond: number,
  burst: number,
  nowMs: () => number = () => performance.now(),
): RateLimit {
  let tokens = burst;
  let at = nowMs();
  return {
    take() {
      const now = nowMs();
      tokens = Math.min(burst, tokens + ((now - at) / 1000) * perSecond);
      at = now;
      if (tokens < 1) throw errorOf('OVERLOADED', `At most ${perSecond} requests of this kind per second are served.`);
      tokens--;
    },
  };
}
