/**
 * A house with every real part between the door and the disk: TLS listener, application, gate keeper, vault, archive,
 * queue, audit log. Only the monitor's verdict is set by hand, so that a test can close the gate.
 */
import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startSoftTee } from '@abaton/soft-tee';
import { openAuditIndex } from '../../src/audit/audit-index.ts';
import { AuditKeys } from '../../src/audit/audit-keys.ts';
import { createAuditReader } from '../../src/audit/audit-reader.ts';
import { createAuditTrail } from '../../src/audit/audit-trail.ts';
import { createDenials } from '../../src/audit/denials.ts';
import { type LogDisk, openDisk } from '../../src/audit/disk.ts';
import type { AuditEvent, AuditTrail } from '../../src/audit/events.ts';
import { createLogKeys } from '../../src/audit/log-keys.ts';
import { directoryOfLogs } from '../../src/audit/log-place.ts';
import { openYearlyLog } from '../../src/audit/yearly-log.ts';
import { errorOf } from '../../src/errors.ts';
import { analysisRoutes } from '../../src/http/analysis-routes.ts';
import { createApp } from '../../src/http/app.ts';
import type { DicomwebDeps } from '../../src/http/dicomweb/deps.ts';
import { dicomwebRoutes } from '../../src/http/dicomweb/routes.ts';
import { fhirRoutes } from '../../src/http/fhir-routes.ts';
import { orderRoutes } from '../../src/http/order-routes.ts';
import { openDoor } from '../../src/http/server.ts';
import { createLogger } from '../../src/log.ts';
import { createMetrics } from '../../src/metrics.ts';
import { accountOrder, exportOrder } from '../../src/officers/audit-orders.ts';
import { createOrderDesk } from '../../src/officers/order-desk.ts';
import { openState } from '../../src/open-state.ts';
import { openGuestAgent } from '../../src/tee/agent-client.ts';
import { createGateKeeper } from '../../src/tee/gate-keeper.ts';
import type { SelfAttestation } from '../../src/tee/self-attestation.ts';
import { THIS_YEAR } from '../audit/support.ts';
import { createOfficer } from '../officers/support.ts';
import { HOST_CLOCK, NO_KEYHOLDER, NO_LATCH, NO_WITNESSES } from '../tee/absent.ts';

export type House = Awaited<ReturnType<typeof openHouse>>;

export async function openHouse(limits: Partial<Pick<DicomwebDeps, 'maxConcurrentUploads' | 'maxInstanceBytes'>> = {}) {
  const dir = await mkdtemp(join(tmpdir(), 'abaton-dicomweb-'));
  const nowMs = () => Date.now();
  const tenant = 'test';
  const teeKey = randomBytes(32);
  const lines: string[] = [];
  const events: AuditEvent[] = [];
  const report: SelfAttestation = {
    id: '00'.repeat(32),
    at: '2026-01-01T00:00:00Z',
    state: 'verified',
    codes: [],
    trust: 'simulated',
    codeHash: `sha256:${'00'.repeat(32)}`,
    verdict: null,
    evidence: null,
  };
  const world = { attested: true, diskFull: false };

  const state = await openState({
    dataDir: join(dir, 'data'),
    teeKey,
    keyholderShare: null,
    tenant,
    studyIdleMs: 0,
    nowMs,
  });
  const { vault, archive, queue } = state;
  const disk = await openDisk(join(dir, 'log', String(THIS_YEAR)));
  const failing: LogDisk = {
    ...disk,
    async open(path) {
      const file = await disk.open(path);
      return {
        ...file,
        sync: () => (world.diskFull ? Promise.reject(new Error('no space left on device')) : file.sync()),
      };
    },
  };
  const log = await openYearlyLog({
    place: directoryOfLogs(join(dir, 'log')),
    keys: createLogKeys('test/log', randomBytes(32)),
    firstYear: THIS_YEAR,
    tileLog: { disk: failing },
  });
  const auditKey = randomBytes(32);
  const sealed = createAuditTrail({ log, auditKey, tenant, bootId: 'test', lastEntryMs: 0, nowMs });
  sealed.useAccountingKeys(state.keys.accounting);
  const recordAll: AuditTrail['recordAll'] = async (batch, permit) => {
    const recorded = await sealed.recordAll(batch, permit);
    events.push(...batch);
    return recorded;
  };
  const trail: AuditTrail = { recordAll, record: async (event, permit) => (await recordAll([event], permit))[0]! };
  const monitor = {
    newest: () => (world.attested ? report : null),
    verified: () => (world.attested ? report : null),
    ageMs: () => 0,
  };
  const gate = createGateKeeper({
    requested: 'synthetic',
    monitor,
    latch: NO_LATCH,
    clockBehind: HOST_CLOCK.clockBehind,
    witnesses: NO_WITNESSES,
    keyholder: NO_KEYHOLDER,
    auditHealthy: () => log.healthy(),
    attestationIntervalMs: 1000,
  });
  const metrics = createMetrics();
  const logger = createLogger((line) => lines.push(line));
  const evidence = {
    evidenceFor: () => {
      throw errorOf('AGENT_UNAVAILABLE', 'not in this test');
    },
  };
  const denials = createDenials(sealed);
  const app = createApp({
    ...{ evidence, monitor, metrics, log, gate, version: 'test', logger, denials },
    witnesses: NO_WITNESSES,
    keyholder: NO_KEYHOLDER,
  });
  const deps: DicomwebDeps = {
    gate,
    vault,
    archive,
    trail,
    metrics,
    tenant,
    maxInstanceBytes: 64 * 2 ** 20,
    maxHeaderBytes: 16 * 2 ** 20,
    maxConcurrentUploads: 4,
    ...limits,
  };
  app.route('/', dicomwebRoutes(deps));
  app.route('/', analysisRoutes({ gate, archive, trail, log }));
  app.route('/', fhirRoutes({ gate, archive, trail }));

  const officer = createOfficer('hospital.example/officer');
  const keys = new AuditKeys(auditKey, tenant);
  const index = openAuditIndex({ db: state.db, trees: () => log.trees() });
  const reader = createAuditReader({ trees: () => log.trees(), keys, accounting: state.keys.accounting });
  const patientRef = (issuer: string, patientId: string) => vault.patientRef(tenant, issuer, patientId);
  const audit = { keys, index, reader, patientRef, nowMs, requireOpen: () => void gate.requireOpen() };
  const desk = createOrderDesk({
    officers: [{ name: 'Officer', role: 'privacy-officer', public_key: officer.vkey }],
    handlers: { account: accountOrder(audit), 'audit-export': exportOrder(audit) },
    ...{ log, trail, denials, nowMs },
  });
  app.route('/', orderRoutes({ desk }));

  const socket = join(dir, 'agent.sock');
  const tee = await startSoftTee({ state: join(dir, 'tee'), socket, compose: '{"name":"dicomweb"}' });
  const key = await openGuestAgent(socket).getTlsKey({ subject: 'localhost', altNames: ['localhost'] });
  await tee.close();
  const door = await openDoor({
    key,
    host: '127.0.0.1',
    port: 0,
    handler: (request, env) => app.fetch(request, env),
  });
  return {
    port: door.port,
    world,
    lines,
    events,
    archive,
    vault,
    queue,
    dir,
    app,
    keys: state.keys,
    db: state.db,
    trail,
    reader,
    officer,
    denials,
    log,
    deps,
    /** Names of the blobs, finished or not. */
    async blobNames(): Promise<string[]> {
      const entries = await readdir(join(dir, 'data', 'blobs'), { recursive: true, withFileTypes: true });
      return entries.filter((entry) => entry.isFile()).map(({ name }) => name);
    },
    async close() {
      await door.close(0);
      await denials.stop();
      await index.stop();
      await log.close();
      await state.close();
      await rm(dir, { recursive: true });
    },
  };
}
