/** The real door in front of an attested server, with its incidents, as main.ts mounts it. */
import { createApp } from '../../src/http/app.ts';
import { incidentRoutes } from '../../src/http/incident-routes.ts';
import { type Door, openDoor } from '../../src/http/server.ts';
import { createLogger } from '../../src/log.ts';
import { createMetrics } from '../../src/metrics.ts';
import type { Officer } from '../../src/officers/officer-note.ts';
import { createIncidentDesk, type IncidentDesk } from '../../src/tee/resolution.ts';
import { NO_KEYHOLDER } from './absent.ts';
import type { AttestedServer } from './attested-server.ts';

export const openDesk = ({ latch, monitor, log, time }: AttestedServer, officers: readonly Officer[]): IncidentDesk =>
  createIncidentDesk({ latch, monitor, officers, logVkeys: () => log.vkeys(), nowMs: time.nowMs });

export function openIncidentDoor(server: AttestedServer, desk: IncidentDesk): Promise<Door> {
  const { evidence, monitor, gate, log, key } = server;
  const app = createApp({
    evidence,
    monitor,
    gate,
    log,
    witnesses: () => server.witnessing.state(),
    keyholder: NO_KEYHOLDER,
    metrics: createMetrics(),
    logger: createLogger(() => {}),
    version: '0.0.0',
  });
  app.route('/', incidentRoutes({ desk, gate }));
  return openDoor({ key, host: '127.0.0.1', port: 0, handler: (request, env) => app.fetch(request, env) });
}
