/** The attested half of the server, composed as main.ts does it, against a software TEE and a log on disk. */
import { createHash, randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type SoftTee, startSoftTee } from '@abaton/soft-tee';
import { createAuditTrail } from '../../src/audit/audit-trail.ts';
import type { AuditEvent, AuditTrail } from '../../src/audit/events.ts';
import { openTileLog, type TileLog } from '../../src/audit/tile-log.ts';
import { tlsSpkiSha256 } from '../../src/http/server.ts';
import { createLogger } from '../../src/log.ts';
import { type GuestAgent, openGuestAgent, type TlsKey } from '../../src/tee/agent-client.ts';
import { bootAttested } from '../../src/tee/boot.ts';
import { type CollateralSource, createCollateralSource } from '../../src/tee/collateral.ts';
import { createEvidenceSource, type EvidenceBinding, type EvidenceSource } from '../../src/tee/evidence.ts';
import type { Gate } from '../../src/tee/gate.ts';
import { createGateKeeper } from '../../src/tee/gate-keeper.ts';
import { createSelfAttestation, type SelfAttestationMonitor, selfPolicy } from '../../src/tee/self-attestation.ts';
import { deriveTeeKeys } from '../../src/tee/tee-keys.ts';

export const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

export interface AttestedServer {
  tee: SoftTee;
  agent: GuestAgent;
  key: TlsKey;
  log: TileLog;
  trail: AuditTrail;
  /** What was recorded, in order. */
  events: AuditEvent[];
  /** The operator's log. */
  lines: string[];
  binding: EvidenceBinding;
  evidence: EvidenceSource;
  monitor: SelfAttestationMonitor;
  gate: Gate;
  /** How far the wall clock runs ahead. */
  clock: { aheadMs: number };
  /** As a machine that has never had any. */
  forgetCollateral(): void;
  boot(): Promise<void>;
  close(): Promise<void>;
}

export const INTERVAL_MS = 300_000;

export async function startAttested(pinRoot = true): Promise<AttestedServer> {
  const dir = mkdtempSync(join(tmpdir(), 'abaton-tee-'));
  const socket = join(dir, 'agent.sock');
  const tee = await startSoftTee({ state: join(dir, 'tee'), socket, compose: '{"name":"abaton"}' });
  const agent = openGuestAgent(socket);
  const keys = await deriveTeeKeys(agent);
  const key = await agent.getTlsKey({ subject: 'localhost', altNames: ['localhost'] });
  const log = await openTileLog({ dir: join(dir, 'audit'), origin: 'abaton.test/audit', seed: keys.auditLog });
  const clock = { aheadMs: 0 };
  const nowMs = () => Date.now() + clock.aheadMs;
  const durable = await createAuditTrail({
    log,
    auditKey: keys.auditEvents,
    tenant: 'test',
    bootId: randomUUID(),
    nowMs,
  });
  const events: AuditEvent[] = [];
  const trail: AuditTrail = {
    async record(event) {
      const entry = await durable.record(event);
      events.push(event);
      return entry;
    },
    recordAll: (all) => durable.recordAll(all),
  };
  const lines: string[] = [];
  const logger = createLogger((line) => lines.push(line));
  const binding: EvidenceBinding = {
    tlsSpkiSha256: tlsSpkiSha256(key),
    manifestSha256: sha256('manifest'),
    policySha256: sha256('policy'),
    modelRegistrySha256: sha256('models'),
    requested: { hipaa: true, baaSigned: false, attestationPublic: true },
  };
  // collateral is fetched for each proof, so that a fault of the platform shows at once
  const openSource = () => createCollateralSource({ pccsUrls: [tee.pccsUrl], directory: null, maxAgeMs: 0, nowMs });
  let source = openSource();
  const collateral: CollateralSource = { collateralFor: (quote) => source.collateralFor(quote) };
  const evidence = createEvidenceSource({ agent, collateral, log, binding });
  const monitor = createSelfAttestation({
    evidence,
    policy: selfPolicy(await agent.info(), binding),
    tlsSpkiSha256: binding.tlsSpkiSha256,
    simulatedRootSha256: pinRoot ? tee.rootSha256 : null,
    intervalMs: INTERVAL_MS,
    audit: trail,
    logger,
    nowMs,
  });
  const gate = createGateKeeper({
    requested: 'synthetic',
    monitor,
    auditHealthy: () => log.healthy(),
    attestationIntervalMs: INTERVAL_MS,
  });
  return {
    tee,
    agent,
    key,
    log,
    trail,
    events,
    lines,
    binding,
    evidence,
    monitor,
    gate,
    clock,
    forgetCollateral() {
      source = openSource();
    },
    async boot() {
      await bootAttested(
        monitor,
        { log, trail },
        {
          version: '0.0.0',
          mode: 'synthetic',
          manifestSha256: binding.manifestSha256,
          modelRegistrySha256: binding.modelRegistrySha256,
        },
      );
    },
    async close() {
      monitor.stop();
      await log.close();
      await tee.close();
      rmSync(dir, { recursive: true });
    },
  };
}
