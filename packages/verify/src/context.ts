/** What every verification needs besides the evidence. */
import type { Policy } from './policy.ts';
import { VerifiedCache } from './verified-cache.ts';

export interface VerifyContext {
  policy: Policy;
  /** The time, in ms since 1970. */
  nowMs: number;
  /** SHA-256 of root certificates (DER) of simulations, hex. They never change the label `simulated`. */
  acceptedRootsSha256: readonly string[];
  cache: VerifiedCache;
}

/** What callers may leave out. Throws RangeError for a clock that is no number: a programming error, and never a pass. */
export function openContext(options: {
  policy: Policy;
  nowMs: number;
  acceptedRootsSha256?: readonly string[];
  cache?: VerifiedCache;
}): VerifyContext {
  const { policy, nowMs, acceptedRootsSha256 = [], cache = new VerifiedCache() } = options;
  if (!Number.isFinite(nowMs)) throw new RangeError('nowMs must be a time in ms');
  return { policy, nowMs, acceptedRootsSha256, cache };
}
