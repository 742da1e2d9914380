/**
 * Puts together what proves this server and what closes its door: evidence, self-attestation, latch, gate, reports, alerts.
 * Each part may rely on those above it; `boot` starts them in the order of tee/boot.ts.
 */
import { join } from 'node:path';
import { gpuNeeds } from '@abaton/verify';
import { type Alerts, createAlerts } from './alerts/alerts.ts';
import type { AuditTrail } from './audit/events.ts';
import type { LogKeys } from './audit/log-keys.ts';
import { keepReserve } from './audit/reserve.ts';
import { parseWitnesses } from './audit/witnessing/witness-set.ts';
import { createWitnessing, type Witnessing } from './audit/witnessing/witnessing.ts';
import type { YearlyLog } from './audit/yearly-log.ts';
import type { Config } from './config.ts';
import { errorOf } from './errors.ts';
import type { Logger } from './log.ts';
import type { Manifest } from './manifest.ts';
import type { AgentInfo, GuestAgent } from './tee/agent-client.ts';
import { bootAttested } from './tee/boot.ts';
import type { Clock } from './tee/clock.ts';
import { createCollateralSource } from './tee/collateral.ts';
import { createEvidenceSource, type EvidenceBinding, type EvidenceSource } from './tee/evidence.ts';
import type { Gate } from './tee/gate.ts';
import { createGateKeeper, type GateWatch, watchGate } from './tee/gate-keeper.ts';
import { createGpuReferences } from './tee/gpu-references.ts';
import { createGpuSource } from './tee/gpu-source.ts';
import type { Incident } from './tee/incident.ts';
import { createLatch } from './tee/latch.ts';
import { createIncidentDesk, type IncidentDesk } from './tee/resolution.ts';
import {
  createSelfAttestation,
  type SelfAttestation,
  type SelfAttestationMonitor,
  selfPolicy,
} from './tee/self-attestation.ts';
import type { TeeKeys } from './tee/tee-keys.ts';
import { openReportLedger, type ReportLedger } from './trust/report-ledger.ts';
import type { KeyholderDesk } from './vault/keyholder-desk.ts';

export interface AttestationOptions {
  config: Config;
  manifest: Manifest;
  agent: GuestAgent;
  info: AgentInfo;
  keys: TeeKeys;
  logKeys: LogKeys;
  binding: EvidenceBinding;
  /** The keys to which requests may be sealed now. */
  hpkePublicKey: () => Promise<string | null>;
  log: YearlyLog;
  keyholder: Pick<KeyholderDesk, 'state'>;
  trail: AuditTrail;
  clock: Clock;
  /** As the log says (readLogTail). */
  openIncidents: readonly Incident[];
  /** Called with every recorded proof. */
  onProof: () => void;
  logger: Logger;
}

export interface Attestation {
  evidence: EvidenceSource;
  monitor: SelfAttestationMonitor;
  gate: Gate;
  desk: IncidentDesk;
  witnessing: Witnessing;
  /** What `/healthz` says for as long as it is so: who cannot be told. */
  residualRisks: string[];
  /** Null: the manifest does not ask for public reports. */
  reports: ReportLedger | null;
  /** Returns the proof that the door opens with, or stays closed. Throws AUDIT_UNAVAILABLE. */
  boot(version: string): Promise<SelfAttestation>;
  /** Records and alerts from now on; `cut` is called whenever no proof stands any more. */
  watch(cut: () => void): void;
  stop(): Promise<void>;
}

/** Throws SETTING_INVALID, MANIFEST_INVALID, MODE_REFUSED, and what the disk says. */
export async function openAttestation(options: AttestationOptions): Promise<Attestation> {
  const { config, manifest, agent, info, binding, log, trail, clock, logger } = options;
  const { dataDir, attestationIntervalMs: intervalMs } = config;
  const { nowMs, behind: clockBehind } = clock;
  if (!config.pccsUrl)
    throw errorOf('SETTING_INVALID', 'PCCS_URL must be set: without collateral nobody can verify the evidence.');

  const wantsGpu = !['none', undefined].includes(manifest.content.tee.gpu);
  const references = createGpuReferences({
    needs: gpuNeeds,
    onTrouble: (kind) => logger.warn('gpu-references', { kind }),
    nowMs,
  });
  const evidence = createEvidenceSource({
    agent,
    collateral: createCollateralSource({
      pccsUrls: config.pccsUrl.split(','),
      directory: join(dataDir, 'collateral'),
      maxAgeMs: intervalMs,
      nowMs,
      onTrouble: ({ kind }) => logger.warn('collateral-trouble', { kind }), // its message may hold an address
    }),
    log,
    binding,
    gpus: wantsGpu ? createGpuSource({ agent, command: config.nvattest, references }) : null,
    hpkePublicKey: options.hpkePublicKey,
  });

  const reports = manifest.requested.attestationPublic
    ? await openReportLedger({
        dir: join(dataDir, 'attestations'),
        signer: options.logKeys.signersOf(log.year(), [])[0]!,
        vkeys: () => log.vkeys(),
        summarySeed: options.keys.auditLog,
        logger,
        nowMs,
      })
    : null;
  const alerts = await openAlerts(options);
  const reserve = await keepReserve(join(dataDir, 'reserve'));
  const makeRoom = () => reserve.release();
  const latch = createLatch({ open: options.openIncidents, audit: trail, logger, nowMs, makeRoom });
  latch.onOpen(({ id, at, codes }) => void alerts.raise({ kind: 'incident', incidentId: id, codes, at }));
  const witnessing = createWitnessing({
    log,
    set: parseWitnesses(manifest.content),
    onRolledBack: () => latch.report({ codes: ['LOG_ROLLED_BACK'], evidenceId: null }),
    logger,
    nowMs,
  });
  const monitor = createSelfAttestation({
    evidence,
    policy: selfPolicy(info, binding, { gpu: wantsGpu }),
    tlsSpkiSha256: binding.tlsSpkiSha256,
    simulatedRootSha256: config.simulatedRootSha256,
    intervalMs,
    audit: trail,
    latch,
    onProof(proof) {
      void reports?.record(proof);
      options.onProof();
    },
    logger,
    nowMs,
    clockBehind,
  });
  const gate = createGateKeeper({
    requested: config.mode,
    monitor,
    latch,
    auditHealthy: () => log.healthy(),
    clockBehind,
    attestationIntervalMs: intervalMs,
    witnesses: () => witnessing.state(),
    keyholder: () => options.keyholder.state(),
  });
  const officers = manifest.content.officers ?? [];
  const desk = createIncidentDesk({ latch, monitor, officers, logVkeys: () => log.vkeys(), nowMs });
  let watching: GateWatch | null = null;

  return {
    evidence,
    monitor,
    gate,
    desk,
    witnessing,
    residualRisks: unreachable(options),
    reports,
    boot: (version) =>
      bootAttested(
        monitor,
        { log, trail },
        {
          version,
          mode: config.mode,
          manifestSha256: binding.manifestSha256,
          modelRegistrySha256: binding.modelRegistrySha256,
        },
        latch,
        witnessing,
      ),
    watch(cut) {
      gate.onClose(cut);
      watching = watchGate(gate, trail, logger, {
        untrusted: cut,
        alarm: (kind, codes) =>
          void alerts.raise({ kind, incidentId: null, codes, at: new Date(nowMs()).toISOString() }),
      });
    },
    async stop() {
      await watching?.stop();
      monitor.stop();
      witnessing.stop();
      latch.stop();
      await alerts.stop();
      await reports?.close();
    },
  };
}

function unreachable({ config, manifest }: AttestationOptions): string[] {
  const { security_contacts: contacts = [] } = manifest.content;
  if (contacts.length === 0) return ['The manifest names no security contact: nobody is told of an incident.'];
  if (config.smtpUrl === null && contacts.some((contact) => contact.startsWith('mailto:')))
    return ['ABATON_SMTP_URL is not set: security contacts with an address of mail are not told of an incident.'];
  return [];
}

/** Each try is in the log: who was told, when, and who could not be. */
function openAlerts(options: AttestationOptions): Promise<Alerts> {
  const { config, manifest, trail, clock, logger, openIncidents: found } = options;
  const { app_name: app, security_contacts: contacts = [] } = manifest.content;
  const { smtpUrl: url, smtpFrom: from } = config;
  if (url !== null && from === null) throw errorOf('SETTING_INVALID', 'ABATON_SMTP_URL needs ABATON_SMTP_FROM.');
  return createAlerts({
    app,
    contacts,
    smtp: url !== null && from !== null ? { url, from } : null,
    outboxDir: join(config.dataDir, 'alerts'),
    found,
    record: ({ outcome, incidentId, kind, contact, index, reason, givenUp }) =>
      trail.record({
        action: 'alert',
        actor: 'abaton',
        patient: null,
        object: incidentId === null ? null : { kind: 'incident', ref: incidentId },
        outcome,
        facts: { kind, contact, index, reason, givenUp },
      }),
    logger,
    nowMs: clock.nowMs,
  });
}
