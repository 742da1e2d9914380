/** A keyholder without a gateway: its own link to the server. */
import type { VerifyOptions } from '@abaton/client';
import { GRACE_MS, INTERVAL_MS } from '../gateway.ts';
import { openLink } from '../link.ts';
import { createLogger } from '../log.ts';
import { openRefusals } from '../refusals.ts';
import { type Keyholder, startKeyholder } from './keyholder.ts';
import { openShares, type SharesOptions } from './shares.ts';

export interface KeyholderOptions extends SharesOptions {
  /** Address of the server and the policy that officers have signed. */
  trust: VerifyOptions;
  /** Takes one line. Default: standard error. */
  log?: (line: string) => void;
}

/** Verifies and asks until it is stopped. Throws what `openShares` does. */
export async function startKeyholderAlone(options: KeyholderOptions): Promise<Keyholder & { vkey: string }> {
  const { trust, log = (line) => process.stderr.write(line), ...where } = options;
  const logger = createLogger(log);
  const shares = await openShares(where);
  const refusals = await openRefusals(where.dir);
  const link = openLink({ trust, intervalMs: INTERVAL_MS, graceMs: GRACE_MS, refusals, logger });
  const keyholder = startKeyholder({ shares, link, trust, logger });
  return {
    vkey: shares.signer.vkey,
    async stop() {
      const ended = keyholder.stop();
      link.close();
      await ended;
      shares.close();
    },
  };
}
