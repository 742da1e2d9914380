/** The attested half of the server, composed as main.ts does it, against a software TEE and a log on disk. */
import { createHash, randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type SoftTee, startSoftTee } from '@abaton/soft-tee';
import { createAuditTrail } from '../../src/audit/audit-trail.ts';
import { type LogDisk, openDisk } from '../../src/audit/disk.ts';
import type { AuditEvent, AuditTrail } from '../../src/audit/events.ts';
import { createLogKeys } from '../../src/audit/log-keys.ts';
import { directoryOfLogs } from '../../src/audit/log-place.ts';
import type { WitnessSet } from '../../src/audit/witnessing/witness-set.ts';
import { createWitnessing, type Witnessing } from '../../src/audit/witnessing/witnessing.ts';
import { openYearlyLog, type YearlyLog } from '../../src/audit/yearly-log.ts';
import { tlsSpkiSha256 } from '../../src/http/server.ts';
import { createLogger } from '../../src/log.ts';
import { type GuestAgent, openGuestAgent, type TlsKey } from '../../src/tee/agent-client.ts';
import { bootAttested } from '../../src/tee/boot.ts';
import { type Clock, createClock } from '../../src/tee/clock.ts';
import { type CollateralSource, createCollateralSource } from '../../src/tee/collateral.ts';
import { createEvidenceSource, type EvidenceBinding, type EvidenceSource } from '../../src/tee/evidence.ts';
import type { Gate } from '../../src/tee/gate.ts';
import { createGateKeeper } from '../../src/tee/gate-keeper.ts';
import { createLatch, type Latch } from '../../src/tee/latch.ts';
import { readLogTail } from '../../src/tee/log-tail.ts';
import { createSelfAttestation, type SelfAttestationMonitor, selfPolicy } from '../../src/tee/self-attestation.ts';
import { deriveTeeKeys } from '../../src/tee/tee-keys.ts';
import { THIS_YEAR } from '../audit/support.ts';
import { NO_KEYHOLDER, NO_LATCH } from './absent.ts';

export const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

export interface AttestedServer {
  tee: SoftTee;
  agent: GuestAgent;
  key: TlsKey;
  log: YearlyLog;
  trail: AuditTrail;
  latch: Latch;
  witnessing: Witnessing;
  /** What was recorded, in order. */
  events: AuditEvent[];
  /** The operator's log. */
  lines: string[];
  binding: EvidenceBinding;
  evidence: EvidenceSource;
  monitor: SelfAttestationMonitor;
  gate: Gate;
  /** How far the wall clock of the host runs ahead. */
  clock: { aheadMs: number };
  /** Ours. */
  time: Clock;
  /** As a machine that has never had any. */
  forgetCollateral(): void;
  boot(): Promise<void>;
  /** Ends this process, as far as one can, and starts the next on the same disk and platform; not yet booted. */
  restart(): Promise<AttestedServer>;
  close(): Promise<void>;
}

export interface AttestedOptions {
  /** Default: none. */
  witnessSet?: WitnessSet;
  /** Whether the software TEE's root may be used for synthetic data. */
  pinRoot?: boolean;
  /** Whether integrity failures latch. */
  latched?: boolean;
  /** Between the server and the guest agent. */
  agent?: (agent: GuestAgent) => GuestAgent;
  /** Of the log. */
  disk?: (disk: LogDisk) => LogDisk;
}

export const INTERVAL_MS = 300_000;

export async function startAttested(options: AttestedOptions = {}): Promise<AttestedServer> {
  const dir = mkdtempSync(join(tmpdir(), 'abaton-tee-'));
  const socket = join(dir, 'agent.sock');
  const tee = await startSoftTee({ state: join(dir, 'tee'), socket, compose: '{"name":"abaton"}' });
  return startProcess(dir, tee, { aheadMs: 0 }, options);
}

async function startProcess(
  dir: string,
  tee: SoftTee,
  clock: { aheadMs: number },
  options: AttestedOptions,
): Promise<AttestedServer> {
  const {
    pinRoot = true,
    latched = false,
    witnessSet = { witnesses: [], quorum: 0 },
    disk = (real) => real,
    agent: between = (real) => real,
  } = options;
  const agent = between(openGuestAgent(tee.socket));
  const keys = await deriveTeeKeys(agent);
  const key = await agent.getTlsKey({ subject: 'localhost', altNames: ['localhost'] });
  const log = await openYearlyLog({
    place: directoryOfLogs(join(dir, 'audit')),
    keys: createLogKeys('abaton.test/audit', keys.auditLog),
    firstYear: THIS_YEAR,
    tileLog: { disk: disk(await openDisk(join(dir, 'audit', String(THIS_YEAR)))) },
  });
  const { lastEntryMs, openIncidents } = await readLogTail(log);
  const time = createClock({ lastEntryMs, wallMs: () => Date.now() + clock.aheadMs });
  const { nowMs } = time;
  const durable = createAuditTrail({
    lastEntryMs,
    log,
    auditKey: keys.auditEvents,
    tenant: 'test',
    bootId: randomUUID(),
    nowMs,
  });
  const events: AuditEvent[] = [];
  const trail: AuditTrail = {
    async record(event, permit) {
      const entry = await durable.record(event, permit);
      events.push(event);
      return entry;
    },
    recordAll: (all, permit) => durable.recordAll(all, permit),
  };
  const lines: string[] = [];
  const logger = createLogger((line) => lines.push(line));
  const latch = createLatch({ open: openIncidents, audit: trail, logger, nowMs });
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
  const judging = latched ? latch : NO_LATCH;
  const monitor = createSelfAttestation({
    evidence,
    policy: selfPolicy(await agent.info(), binding),
    tlsSpkiSha256: binding.tlsSpkiSha256,
    simulatedRootSha256: pinRoot ? tee.rootSha256 : null,
    intervalMs: INTERVAL_MS,
    audit: trail,
    latch: judging,
    logger,
    nowMs,
    clockBehind: time.behind,
  });
  const witnessing = createWitnessing({
    log,
    set: witnessSet,
    onRolledBack: () => judging.report({ codes: ['LOG_ROLLED_BACK'], evidenceId: null }),
    logger,
    nowMs,
  });
  const gate = createGateKeeper({
    requested: 'synthetic',
    monitor,
    latch: judging,
    clockBehind: time.behind,
    auditHealthy: () => log.healthy(),
    witnesses: () => witnessing.state(),
    keyholder: NO_KEYHOLDER,
    attestationIntervalMs: INTERVAL_MS,
  });
  const end = async () => {
    monitor.stop();
    witnessing.stop();
    latch.stop();
    await log.close();
  };
  return {
    tee,
    agent,
    key,
    log,
    trail,
    latch,
    witnessing,
    events,
    lines,
    binding,
    evidence,
    monitor,
    gate,
    clock,
    time,
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
        judging,
        witnessing,
      );
    },
    async restart() {
      await end();
      return startProcess(dir, tee, clock, options);
    },
    async close() {
      await end();
      await tee.close();
      rmSync(dir, { recursive: true });
    },
  };
}
