/** What operators and strangers may know: public facts, health, counts. */
import { Hono } from 'hono';
import type { WitnessState } from '../audit/witnessing/witnessing.ts';
import type { Metrics } from '../metrics.ts';
import type { Gate } from '../tee/gate.ts';
import type { SelfAttestationMonitor } from '../tee/self-attestation.ts';
import type { DoorEnv } from './door-env.ts';
import type { LogDeps } from './log-routes.ts';
import { publicRead } from './public-read.ts';

export interface OperationsDeps extends Pick<LogDeps, 'log'> {
  gate: Gate;
  monitor: Pick<SelfAttestationMonitor, 'newest'>;
  metrics: Metrics;
  /** Whether somebody else holds a share of the keys. */
  keyholder: () => 'none' | 'pending' | 'held';
  /** How far the log is cosigned. */
  witnesses: () => WitnessState;
  /** Of this deployment, beside those that every one has. */
  residualRisks?: readonly string[];
  /** Release of Abaton. */
  version: string;
}

const UNWITNESSED =
  'No witness cosigns the audit log: whoever owns the disk can put back an older one, and only clients that kept a checkpoint notice.';
const NO_KEYHOLDER =
  'No keyholder holds a share of the keys: whoever may authorise new code for this app can open stored data with it, and whoever kept an old copy of the disk can open what was erased since.';

export function operationsRoutes({
  gate,
  monitor,
  log,
  metrics,
  version,
  keyholder,
  witnesses,
  residualRisks = [],
}: OperationsDeps): Hono<DoorEnv> {
  const app = new Hono<DoorEnv>();
  metrics.gauge('abaton_gate_open', '1 while patient data may pass.', () => Number(gate.state().open));
  metrics.gauge('abaton_audit_entries', 'Entries of the audit log.', () => log.size());
  metrics.gauge(
    'abaton_audit_cosigned_entries',
    'Entries that a quorum of witnesses has cosigned.',
    () => witnesses().cosignedSize,
  );
  metrics.gauge('abaton_resident_bytes', 'Resident memory of the server process.', () => process.memoryUsage.rss());

  /** The newest proof without its evidence. */
  const attestation = () => {
    const newest = monitor.newest();
    if (!newest) return { state: 'pending' as const };
    const { id, at, state, codes, trust } = newest;
    return { state, id, at, codes, trust };
  };

  publicRead(app, '/.well-known/abaton', (c) => {
    const { open, mode, reasons, codeHash } = gate.state();
    return c.json({
      name: 'abaton',
      version,
      note: 'Everything here is a claim of this server. Verify /attestation with a fresh nonce before you send anything.',
      mode,
      gate: { open, reasons },
      codeHash,
      attestation: attestation(),
      auditLogVkeys: log.vkeys(),
      links: {
        attestation: '/attestation?nonce={64 hex digits}',
        reports: '/attestations',
        report: '/attestations/{id}',
        trust: '/trust',
        badge: '/badge.svg',
        checkpoint: '/checkpoint',
        tiles: '/tile/',
        health: '/healthz',
        incidents: '/api/v1/incidents',
        dicomweb: '/dicom-web',
      },
    });
  });

  publicRead(app, '/healthz', (c) => {
    const { open, ...state } = gate.state();
    const body = {
      status: open ? 'open' : 'closed',
      ...state,
      attestation: attestation(),
      audit: { healthy: log.healthy(), entries: log.size() },
      witnesses: witnesses(),
      keyholder: keyholder(),
      residualRisks: [
        ...(keyholder() === 'none' ? [NO_KEYHOLDER] : []),
        ...(witnesses().label === 'unwitnessed' ? [UNWITNESSED] : []),
        ...residualRisks,
      ],
    };
    return c.json(body, open ? 200 : 503);
  });

  publicRead(app, '/metrics', (c) =>
    c.body(metrics.text(), 200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' }),
  );

  return app;
}
