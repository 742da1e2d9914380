/**
 * The collateral that travels with our evidence (passport model, RFC 9334 section 5.1): used for `maxAgeMs` (the server:
 * one attestation interval) before a service is asked again, and kept by the client's store, also over a restart.
 */
import { type CollateralStore, type CollateralTrouble, openCollateralStore } from '@abaton/client';
import { authenticateCollateral, readQuotePlatform, type TdxCollateral, UnavailableError } from '@abaton/verify';
import { errorOf } from '../errors.ts';

export interface CollateralSource {
  /**
   * For the platform that made this quote. `askAgain`: a service is asked even if the last answer is young. Throws COLLATERAL_UNAVAILABLE when no service answers and nothing is kept that
   * is still in date, and a VerificationError when the quote cannot be read.
   */
  collateralFor(quote: Uint8Array, askAgain?: boolean): Promise<TdxCollateral>;
}

export interface CollateralOptions {
  /** Asked in this order. */
  pccsUrls: readonly string[];
  /** Null: nothing outlives the process. */
  directory: string | null;
  maxAgeMs: number;
  nowMs?: () => number;
  onTrouble?: (trouble: CollateralTrouble) => void;
}

const RETRY_MS = 60_000; // or every evidence would wait for a PCCS that is down

export function createCollateralSource({
  maxAgeMs,
  nowMs = Date.now,
  ...options
}: CollateralOptions): CollateralSource {
  const store: CollateralStore = openCollateralStore({ ...options, nowMs });
  const current = new Map<string, { collateral: TdxCollateral; staleAtMs: number }>(); // a machine has one platform
  return {
    async collateralFor(quote, askAgain = false) {
      const platform = readQuotePlatform(quote);
      const key = `${platform.fmspc} ${platform.ca}`;
      const known = current.get(key);
      if (!askAgain && known && nowMs() < known.staleAtMs) return known.collateral;
      try {
        const { collateral, dates, fresh } = await store.collateralFor(platform, (given) =>
          authenticateCollateral(given, quote),
        );
        const againAtMs = nowMs() + (fresh ? maxAgeMs : Math.min(maxAgeMs, RETRY_MS));
        current.set(key, { collateral, staleAtMs: Math.min(againAtMs, dates.expiresMs) });
        return collateral;
      } catch (cause) {
        if (!(cause instanceof UnavailableError)) throw cause;
        throw errorOf('COLLATERAL_UNAVAILABLE', cause.message, { cause }); // it says what has expired, and no address
      }
    },
  };
}
