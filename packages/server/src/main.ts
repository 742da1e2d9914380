/**
 * The server: reads the settings, picks the drivers, wires the rooms, opens the door. Start it as
 * `node packages/server/src/main.ts`; when it listens it prints one line of JSON on stdout, `{ url, … }`, and nothing
 * more. SIGTERM or SIGINT ends it: no new work, running work to its end, then the log and the stores.
 */
import { randomUUID } from 'node:crypto';
import { accessSync, constants, mkdirSync, readFileSync, unwatchFile, watchFile } from 'node:fs';
import { join } from 'node:path';
import { AbatonError } from '@abaton/verify';
import { ACCESS_POLICY_SHA256 } from './access-policy.ts';
import { openAuditIndex } from './audit/audit-index.ts';
import { AuditKeys } from './audit/audit-keys.ts';
import { createAuditReader } from './audit/audit-reader.ts';
import { createAuditTrail } from './audit/audit-trail.ts';
import { createDenials } from './audit/denials.ts';
import { createLogKeys } from './audit/log-keys.ts';
import { bucketOfLogs, directoryOfLogs } from './audit/log-place.ts';
import { openS3LogStore } from './audit/s3-log-store.ts';
import { openYearlyLog } from './audit/yearly-log.ts';
import { type Config, loadConfig } from './config.ts';
import { setKillPoint } from './durable-step.ts';
import { errorOf } from './errors.ts';
import { analysisRoutes } from './http/analysis-routes.ts';
import { createApp } from './http/app.ts';
import type { FetchHandler } from './http/bridge.ts';
import { dicomwebRoutes } from './http/dicomweb/routes.ts';
import { openDomainCertificate } from './http/domain-certificate.ts';
import { domainRoutes } from './http/domain-routes.ts';
import { fhirRoutes } from './http/fhir-routes.ts';
import { incidentRoutes } from './http/incident-routes.ts';
import { keyholderRoutes } from './http/keyholder-routes.ts';
import { orderRoutes } from './http/order-routes.ts';
import { createSealedKeys } from './http/sealed/sealed-keys.ts';
import { sealedRoutes } from './http/sealed/sealed-route.ts';
import { openDoor, tlsSpkiSha256 } from './http/server.ts';
import { trustRoutes } from './http/trust-routes.ts';
import { witnessRoutes } from './http/witness-routes.ts';
import { startAnalysisWorker } from './imaging/analysis-worker.ts';
import { type AnalysisStep, analyzeStudy } from './imaging/analyze-study.ts';
import type { StudyArchive } from './imaging/archive.ts';
import { later } from './later.ts';
import { createLogger, placeOf } from './log.ts';
import { parseManifest } from './manifest.ts';
import { createMetrics } from './metrics.ts';
import { detectIsolation, requireIsolation } from './models/isolation.ts';
import { loadRegistry } from './models/registry.ts';
import { createRouter } from './models/router.ts';
import { createModelRuntime } from './models/runtime.ts';
import { accountOrder, exportOrder } from './officers/audit-orders.ts';
import { createOrderDesk } from './officers/order-desk.ts';
import { openAttestation } from './open-attestation.ts';
import { openBucket, openDatabase, openSharedVault, openVault, type State, verifyLogPresent } from './open-state.ts';
import { openGuestAgent } from './tee/agent-client.ts';
import { createClock } from './tee/clock.ts';
import { readLogTail } from './tee/log-tail.ts';
import { deriveTeeKeys } from './tee/tee-keys.ts';
import { createKeyholderDesk } from './vault/keyholder-desk.ts';
import { keepLogHead, verifyLogHeads } from './vault/log-head.ts';
import type { Vault } from './vault/vault.ts';

const STEP_SECONDS = [0.001, 0.005, 0.025, 0.1, 0.5, 2.5]; // from one fsync to a slow model
/** Studies under way beside those in a model process: read, reported, logged. With fewer the model waits for the disk. */
const STORING = 3;
const CERTIFICATE_LOOK_MS = 60_000; // certificates are renewed weeks before they end
const CLOSE_GRACE_MS = 10_000; // orchestrators kill after 10 to 30 s; an upload that takes longer is sent again

const logger = createLogger();
const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

process.umask(0o077); // state is for this user alone

async function start(config: Config): Promise<{ ready: Record<string, unknown>; stop(): Promise<void> }> {
  setKillPoint(config.killAt);
  prepareDataDir(config.dataDir);
  const manifest = parseManifest(readManifest(config.manifestFile), config.manifestFile);
  const registry = await loadRegistry(config.modelsDir, manifest.content.models);
  const isolation = await detectIsolation();

  const agent = openGuestAgent(config.agentSocket);
  const info = await agent.info();
  const keys = await deriveTeeKeys(agent);
  const { tenant, studyIdleMs, dataDir, databaseUrl, blobsUrl } = config;
  const stores = { dataDir, databaseUrl, teeKey: keys.vault };
  const db = await openDatabase(stores);
  const bucket = blobsUrl === null ? null : await openBucket(blobsUrl, db, keys.vault);
  const logKeys = createLogKeys(`abaton/${info.appId}/audit`, keys.auditLog);
  const firstYear = new Date().getUTCFullYear();
  const place = bucket
    ? bucketOfLogs(bucket.folder('audit'), firstYear, openS3LogStore)
    : directoryOfLogs(join(dataDir, 'audit'));
  await verifyLogPresent(db, await place.years());
  const log = await openYearlyLog({ place, keys: logKeys, firstYear });
  await verifyLogHeads(
    db,
    log.trees().map((tree) => ({ origin: tree.origin, size: tree.size() })),
  );
  const { lastEntryMs, openIncidents } = await readLogTail(log);
  const clock = createClock({ lastEntryMs }); // the host's own may be behind what is recorded (I11)
  const { nowMs } = clock;
  const trail = createAuditTrail({
    log,
    auditKey: keys.auditEvents,
    tenant,
    bootId: randomUUID(),
    lastEntryMs,
    nowMs,
  });
  const keyholder = createKeyholderDesk({
    db,
    vkey: manifest.content.keyholder?.vkey ?? null,
    subject: `abaton/${info.appId}`,
    record: (what, epoch) =>
      trail.record({
        ...{ action: 'keyholder', actor: 'keyholder', patient: null, object: null },
        outcome: what === 'share-refused' ? 'failure' : 'success',
        facts: { what, epoch },
      }),
  });
  const denials = createDenials(trail);

  const domain = config.domain
    ? await openDomainCertificate(keys.tlsDomain, config.domain, config.domainCertificate, nowMs)
    : null;
  const tlsKey =
    domain?.current() ?? (await agent.getTlsKey({ subject: 'abaton', altNames: ['localhost', config.host] }));
  const binding = {
    tlsSpkiSha256: tlsSpkiSha256(tlsKey),
    manifestSha256: manifest.sha256,
    policySha256: ACCESS_POLICY_SHA256,
    modelRegistrySha256: registry.digest,
    requested: manifest.requested,
  };
  const sealedKeys = createSealedKeys({ graceMs: config.attestationIntervalMs });
  const attestation = await openAttestation({
    ...{ config, manifest, agent, info, keys, logKeys, keyholder, binding, log, trail, clock, openIncidents, logger },
    onProof: () => void keepLogHead(db, log.current().origin, log.size()).catch(() => {}), // the next proof tries again
    hpkePublicKey: () => sealedKeys.hpkePublicKey(),
  });
  const { evidence, monitor, gate } = attestation;
  const proof = await attestation.boot(version);
  requireIsolation(isolation, proof.trust === 'simulated');
  if (isolation.level === 'none') logger.warn('models-not-isolated');

  const metrics = createMetrics();
  const vaultOptions = { ...stores, bucket, tenant, studyIdleMs };
  const alone = keyholder.state() === 'none';
  let state: State | null = alone ? await openVault(db, { ...vaultOptions, keyholderShare: null }) : null;
  const opened = (): State => {
    if (!state) throw errorOf('GATE_CLOSED', 'The gate is closed: keyholder-pending.');
    return state;
  };
  const vault = later<Vault>(() => opened().vault);
  const archive = later<StudyArchive>(() => opened().archive);
  const runtime = createModelRuntime({
    isolation,
    processes: config.modelProcesses,
    studiesPerProcess: config.modelStudiesPerProcess,
    timeMs: config.modelTimeMs,
    memoryBytes: config.modelMemoryBytes,
  });
  const steps = Object.fromEntries(
    (['infer', 'report', 'log', 'commit'] as const).map((step) => [
      step,
      metrics.histogram(`abaton_analysis_${step}_seconds`, `Time of the step '${step}' of an analysis.`, STEP_SECONDS),
    ]),
  );
  const observe = (step: AnalysisStep, seconds: number) => steps[step]?.observe(seconds);
  const analysis = { observe, archive, vault, gate, trail, route: createRouter(registry.models), runtime, nowMs };
  const startWorker = ({ queue, archive }: State) =>
    startAnalysisWorker({
      queue,
      maxAttempts: config.jobAttempts,
      concurrency: config.modelProcesses + STORING,
      changed: (timeoutMs) => archive.changed(timeoutMs),
      logger,
      ready: () => gate.state().open,
      run: (job, lastAttempt) => analyzeStudy(analysis, job, lastAttempt),
    });

  const app = createApp({
    evidence,
    monitor,
    gate,
    log,
    metrics,
    logger,
    denials,
    version,
    witnesses: () => attestation.witnessing.state(),
    keyholder: () => keyholder.state(),
    residualRisks: attestation.residualRisks,
  });
  const { maxInstanceBytes, maxHeaderBytes, maxConcurrentUploads } = config;
  app.route(
    '/',
    dicomwebRoutes({
      gate,
      vault,
      archive,
      trail,
      metrics,
      tenant,
      maxInstanceBytes,
      maxHeaderBytes,
      maxConcurrentUploads,
    }),
  );
  app.route('/', analysisRoutes({ gate, archive, trail, log }));
  app.route('/', fhirRoutes({ gate, archive, trail }));
  app.route('/', incidentRoutes({ desk: attestation.desk, gate }));
  app.route('/', witnessRoutes({ witnessing: attestation.witnessing }));
  app.route('/', keyholderRoutes({ desk: keyholder }));
  const auditKeys = new AuditKeys(keys.auditEvents, tenant);
  const index = openAuditIndex({ db, trees: () => log.trees() });
  const audit = {
    keys: auditKeys,
    index,
    reader: createAuditReader({
      trees: () => log.trees(),
      keys: auditKeys,
      accounting: later(() => opened().keys.accounting),
    }),
    requireOpen: () => void gate.requireOpen(),
    patientRef: (issuer: string, patientId: string) => vault.patientRef(tenant, issuer, patientId),
    nowMs,
  };
  const orders = createOrderDesk({
    officers: manifest.content.officers ?? [],
    handlers: { account: accountOrder(audit), 'audit-export': exportOrder(audit) },
    log,
    trail,
    denials,
    witnessed: (entry) => attestation.witnessing.witnessed(entry),
    nowMs,
  });
  app.route('/', orderRoutes({ desk: orders }));
  app.route(
    '/',
    trustRoutes({ reports: attestation.reports, monitor, gate, intervalMs: config.attestationIntervalMs, nowMs }),
  );
  if (domain) app.route('/', domainRoutes(domain));
  const handler: FetchHandler = (request, env) => app.fetch(request, env);
  app.route('/', sealedRoutes({ keys: sealedKeys, handler }));
  const door = await openDoor({
    key: tlsKey,
    host: config.host,
    port: config.port,
    handler,
  });
  attestation.watch(() => {
    door.cut();
    state?.keys.forget();
  });
  if (domain && config.domainCertificate)
    watchFile(config.domainCertificate, { interval: CERTIFICATE_LOOK_MS, persistent: false }, () => {
      try {
        if (domain.reload()) door.renew(domain.current());
      } catch {
        logger.warn('domain-certificate-unusable'); // the old one is served on
      }
    });
  if (state) trail.useAccountingKeys(state.keys.accounting);
  let worker = state && startWorker(state);
  if (!state)
    void openSharedVault(db, keyholder, vaultOptions).then(
      (unlocked) => {
        trail.useAccountingKeys(unlocked.keys.accounting);
        state = unlocked;
        worker = startWorker(unlocked);
      },
      (error) => logger.error('vault-not-opened', { at: placeOf(error) }),
    );
  // Warm models answer the first study as fast as the second; one that does not load shows at its first study as `failed`.
  for (const model of registry.models.slice(0, config.modelProcesses))
    void runtime.prepare(model).catch(() => logger.error('model-not-loaded', { digest: model.digest }));

  const host = config.host.includes(':') ? `[${config.host}]` : config.host;
  return {
    ready: {
      url: `https://${host}:${door.port}`,
      pid: process.pid,
      version,
      mode: gate.state().mode,
      trust: proof.trust,
      codeHash: proof.codeHash,
      isolation: isolation.level,
    },
    async stop() {
      if (config.domainCertificate) unwatchFile(config.domainCertificate);
      await Promise.all([attestation.stop(), door.close(CLOSE_GRACE_MS)]);
      await worker?.stop();
      await runtime.close();
      await denials.stop();
      await index.stop();
      await log.close();
      await state?.closeQueue();
      await db.close();
    },
  };
}

function prepareDataDir(dataDir: string): void {
  try {
    mkdirSync(dataDir, { recursive: true });
    accessSync(dataDir, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (cause) {
    throw errorOf('SETTING_INVALID', 'ABATON_DATA_DIR must name a directory that can be made and written.', { cause });
  }
}

function readManifest(file: string): Uint8Array {
  try {
    return readFileSync(file);
  } catch (cause) {
    throw errorOf('SETTING_INVALID', 'The file that ABATON_MANIFEST names cannot be read.', { cause });
  }
}

/** Exit codes: 1 fix the configuration, 2 try again, 3 stop. */
function exitCodeOf(error: unknown): number {
  const kind = error instanceof AbatonError ? error.name : '';
  return { ConfigurationError: 1, UnavailableError: 2, RejectedError: 3 }[kind] ?? 2;
}

try {
  const { ready, stop } = await start(loadConfig());
  let stopping = false;
  const end = () => {
    if (stopping) return;
    stopping = true;
    void stop().then(
      () => process.exit(0),
      (error) => {
        logger.error('defect', { at: placeOf(error) });
        process.exit(2);
      },
    );
  };
  // `npm start` holds our stdin: when it is gone, so are we
  if (process.argv.includes('--end-with-stdin')) process.stdin.resume().on('end', end);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, end);
  process.stdout.write(`${JSON.stringify(ready)}\n`);
} catch (error) {
  // Our own messages hold ids and sizes only; of anything else only the place is written.
  process.stderr.write(
    error instanceof AbatonError ? `${error.code}: ${error.message}\n` : `INTERNAL at ${placeOf(error)}\n`,
  );
  process.exit(exitCodeOf(error));
}
