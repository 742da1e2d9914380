/**
 * The collateral that travels with our evidence (passport model, RFC 9334 section 5.1), one set per platform family,
 * kept for six hours and never past its own next update. When the PCCS does not answer, the last set is handed on: a
 * verifier, ours included, refuses it once it has expired.
 */
import { X509Certificate } from 'node:crypto';
import { fetchCollateral, type PlatformId } from '@abaton/client';
import type { TdxCollateral } from '@abaton/verify';
import { errorOf } from '../errors.ts';

export interface CollateralSource {
  /** For the platform that made this quote. Throws COLLATERAL_UNAVAILABLE only when there has never been any. */
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
      const platform = platformOf(quote);
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

/** id-ce-sgx FMSPC, 1.2.840.113741.1.13.1.4, followed by OCTET STRING of 6 bytes (Intel SGX PCK Certificate specification, 1.3.5). */
const FMSPC_OID = Buffer.from('060a2a864886f84d010d01040406', 'hex');

/**
 * Which collateral to ask for, from the PCK certificate inside the quote. Nothing is trusted here: a wrong answer
 * selects collateral that no verifier accepts for this quote.
 */
export function platformOf(quote: Uint8Array): PlatformId {
  const pem = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/.exec(Buffer.from(quote).toString('latin1'));
  if (!pem) throw errorOf('ATTESTATION_FAILED', 'The quote carries no PCK certificate.');
  const pck = new X509Certificate(pem[0]);
  const at = pck.raw.indexOf(FMSPC_OID);
  if (at < 0) throw errorOf('ATTESTATION_FAILED', 'The PCK certificate names no platform.');
  const from = at + FMSPC_OID.length;
  return {
    fmspc: pck.raw
      .subarray(from, from + 6)
      .toString('hex')
      .toUpperCase(),
    ca: /Platform CA/.test(pck.issuer) ? 'platform' : 'processor',
  };
}
