/** Raises one alert for a webhook whose authority this process does not know, says so, and waits to be killed. */

import { createAlerts } from '../../src/alerts/alerts.ts';
import { createLogger } from '../../src/log.ts';

const [outboxDir, contact] = process.argv.slice(2) as [string, string];
const alerts = await createAlerts({
  app: 'hospital-ai',
  contacts: [contact],
  found: [],
  smtp: null,
  outboxDir,
  record: async () => {},
  logger: createLogger(() => {}),
  nowMs: Date.now,
});
await alerts.raise({ kind: 'incident', incidentId: 'ab'.repeat(8), codes: ['TD_DEBUG'], at: new Date().toISOString() });
process.stdout.write('raised\n');
