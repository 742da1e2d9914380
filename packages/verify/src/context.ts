/** What every verification needs besides the evidence. */
import type { Policy } from './policy.ts';
import type { VerifiedCache } from './verified-cache.ts';

export interface VerifyContext {
  policy: Policy;
  /** The time, in ms since 1970. */
  nowMs: number;
  /** SHA-256 of root certificates (DER) of simulations, hex. They never change the label `simulated`. */
  acceptedRootsSha256: readonly string[];
  cache: VerifiedCache;
}
