/**
 * The order in which the door opens (docs/decisions/0006-binding.md): a first quote shows that the platform answers; the boot
 * is written to the log, with the incidents that are still open; witnesses cosign it; a second quote binds a checkpoint that
 * contains the boot;
 * only then does the gate look at proofs. An incident that the first quote shows is written before the boot.
 */
import { recordBoot } from '../audit/boot-entry.ts';
import type { AuditTrail } from '../audit/events.ts';
import type { AuditLog } from '../audit/log.ts';
import type { Witnessing } from '../audit/witnessing/witnessing.ts';
import type { Mode } from './gate.ts';
import { openIncidentsFact } from './incident.ts';
import type { Latch } from './latch.ts';
import type { SelfAttestation, SelfAttestationMonitor } from './self-attestation.ts';

export interface BootFacts {
  /** Release of Abaton. */
  version: string;
  mode: Mode;
  manifestSha256: string;
  modelRegistrySha256: string;
}

/** Witnesses that are asked answer within a round trip; those that come, come once the door is open. */
const BOOT_WITNESSED_MS = 2_000;

/**
 * Returns the second proof. A proof that fails does not stop the start: the server then serves evidence that shows why,
 * with its gate closed, and goes on trying. Throws AUDIT_UNAVAILABLE when the boot cannot be recorded.
 */
export async function bootAttested(
  monitor: SelfAttestationMonitor,
  audit: { log: Pick<AuditLog, 'checkpoint' | 'size'>; trail: Pick<AuditTrail, 'record'> },
  facts: BootFacts,
  latch: Pick<Latch, 'open' | 'report'>,
  witnessing: Pick<Witnessing, 'start' | 'witnessed'>,
): Promise<SelfAttestation> {
  const first = await monitor.prove();
  if (first.state === 'failed') await latch.report({ codes: first.codes, evidenceId: first.id });
  const entry = await recordBoot({
    ...audit,
    quoteSha256: first.id,
    outcome: first.state === 'verified' ? 'success' : 'failure',
    facts: {
      ...facts,
      codeHash: first.codeHash,
      trust: first.trust,
      codes: first.codes.join(' '),
      ...openIncidentsFact(latch.open()),
    },
  });
  witnessing.start(entry);
  // A quorum that is late is waited for by the gate, not here: the door must open for those who look why.
  await witnessing.witnessed(entry, BOOT_WITNESSED_MS).catch(() => undefined);
  const second = await monitor.attest();
  monitor.start();
  return second;
}
