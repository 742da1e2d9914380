/** Proofs as the monitor hands them over, and ledgers in directories of their own. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { createNoteSigner } from '@abaton/client';
import { ED25519_TYPE } from '@abaton/verify';
import { createLogger } from '../../src/log.ts';
import type { SelfAttestation } from '../../src/tee/self-attestation.ts';
import { type LedgerOptions, openReportLedger, type ReportLedger } from '../../src/trust/report-ledger.ts';

export const ORIGIN = 'abaton.test/audit';
export const SEED = new Uint8Array(32).fill(42);
export const START_MS = Date.parse('2026-11-24T08:00:00.000Z');

export async function scratch(t: TestContext): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'abaton-reports-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

export const signerOf = (seed: Uint8Array) => createNoteSigner({ name: ORIGIN, type: ED25519_TYPE, seed });

/** `lines`: the operator's log. */
export function openLedger(
  dir: string,
  options: Partial<LedgerOptions> = {},
  lines: string[] = [],
): Promise<ReportLedger> {
  const logger = createLogger((line) => lines.push(line));
  const signer = signerOf(options.summarySeed ?? SEED);
  return openReportLedger({
    ...{ dir, signer, vkeys: () => [signer.vkey], summarySeed: SEED, logger, nowMs: () => START_MS },
    ...options,
  });
}

/** A proof without evidence, under an id as a quote would give it. */
export const proofAt = (ms: number, change: Partial<SelfAttestation> = {}): SelfAttestation => ({
  id: randomBytes(32).toString('hex'),
  at: new Date(ms).toISOString(),
  state: 'verified',
  codes: [],
  trust: 'simulated',
  codeHash: `sha256:${'ab'.repeat(32)}`,
  verdict: null,
  evidence: null,
  ...change,
});
