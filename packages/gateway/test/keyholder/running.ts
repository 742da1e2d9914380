/** A keyholder that runs in this process, with short pauses. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { VerifyOptions } from '@abaton/client';
import { startKeyholder } from '../../src/keyholder/keyholder.ts';
import { openShares, type SharesOptions } from '../../src/keyholder/shares.ts';
import { openLink } from '../../src/link.ts';
import { createLogger } from '../../src/log.ts';
import { GUARD_MS } from '../harness.ts';

export interface RunningKeyholder {
  /** The log. */
  lines: string[];
  /** The same, parsed. */
  events(name: string): Record<string, unknown>[];
  stop(): Promise<void>;
}

export async function run(where: SharesOptions, trust: VerifyOptions): Promise<RunningKeyholder> {
  const lines: string[] = [];
  const logger = createLogger((line) => lines.push(line));
  const shares = await openShares(where);
  const refusals = { newest: () => null, keep: async () => {} };
  const pauseMs = () => 30;
  const link = openLink({ trust, intervalMs: 60_000, graceMs: 60_000, refusals, logger, pauseMs });
  const keyholder = startKeyholder({ shares, link, trust, logger, pollMs: { busy: 10, idle: 30 }, pauseMs });
  return {
    lines,
    events: (name) => lines.map((line) => JSON.parse(line)).filter(({ event }) => event === name),
    async stop() {
      const ended = keyholder.stop();
      link.close();
      await ended;
      shares.close();
    },
  };
}

/** Throws after GUARD_MS. */
export async function waitFor(what: string, reached: () => boolean): Promise<void> {
  for (const deadline = Date.now() + GUARD_MS; !reached(); await sleep(5))
    if (Date.now() > deadline) throw new Error(`not reached: ${what}`);
}
