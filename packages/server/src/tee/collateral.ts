/**
 * The collateral that travels with our evidence (passport model, RFC 9334 section 5.1), one set per platform family,
 * kept for `maxAgeMs` (the server: one attestation interval) and never past its own next update. When the PCCS does not
 * answer, the last set is handed on: a verifier, ours included, refuses it once it has expired.
 */
import { fetchCollateral, type PlatformId } from '@abaton/client';
import { readQuotePlatform, type TdxCollateral } from '@abaton/verify';
import { errorOf } from '../errors.ts';

export interface CollateralSource {
  /**
   * For the platform that made this quote. Throws COLLATERAL_UNAVAILABLE only when there has never been any, and a
   * VerificationError when the quote cannot be read.
   */
  collateralFor(quote: Uint8Array): Promise<TdxCollateral>;
}

export interface CollateralOptions {
  pccsUrl: string;
  maxAgeMs?: number;
  nowMs?: () => number;
}

const MAX_AGE_MS = 6 * 3_600_000; // Intel publishes once a day at most; peers refresh every six hours

const RETRY_MS = 60_000; // or every evidence would wait for a PCCS that is down

interface Cached {
  collateral: TdxCollateral;
  /** When it must be fetched again. */
  staleAtMs: number;
}

export function createCollateralSource({
  pccsUrl,
  maxAgeMs = MAX_AGE_MS,
  nowMs = Date.now,
}: CollateralOptions): CollateralSource {
  const cache = new Map<string, Cached>(); // one entry per FMSPC, and a machine has one
  const running = new Map<string, Promise<TdxCollateral>>();

  const refresh = async (key: string, platform: PlatformId): Promise<TdxCollateral> => {
    try {
      const collateral = await fetchCollateral(pccsUrl, platform);
      cache.set(key, { collateral, staleAtMs: Math.min(nowMs() + maxAgeMs, nextUpdateMs(collateral)) });
      return collateral;
    } catch (cause) {
      const last = cache.get(key);
      if (last) {
        last.staleAtMs = nowMs() + RETRY_MS;
        return last.collateral;
      }
      throw errorOf('COLLATERAL_UNAVAILABLE', 'The PCCS did not hand out collateral for this platform.', { cause });
    } finally {
      running.delete(key);
    }
  };

  return {
    async collateralFor(quote) {
      const platform = readQuotePlatform(quote);
      const key = `${platform.fmspc} ${platform.ca}`;
      const cached = cache.get(key);
      if (cached && nowMs() < cached.staleAtMs) return cached.collateral;
      const fetching = running.get(key) ?? refresh(key, platform);
      if (!running.has(key)) running.set(key, fetching);
      return fetching;
    },
  };
}

/** The earlier of the two signed texts' `nextUpdate`. */
function nextUpdateMs({ tcb_info, qe_identity }: TdxCollateral): number {
  const times = [tcb_info, qe_identity].map((text) => Date.parse(/"nextUpdate"\s*:\s*"([^"]+)"/.exec(text)?.[1] ?? ''));
  return Math.min(...times.map((time) => (Number.isNaN(time) ? 0 : time)));
}
