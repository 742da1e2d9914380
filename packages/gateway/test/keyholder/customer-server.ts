/**
 * An attested server with the three routes of a keyholder, over its real door. What it wants is what a test says; a share must be
 * signed by the key that its manifest would pin.
 */
import { parseKeyShare } from '@abaton/client';
import { parseVkey, verifyNote } from '@abaton/verify';
import { trustIn } from '../../../client/test/hostile-door.ts';
import { createApp } from '../../../server/src/http/app.ts';
import { openDoor } from '../../../server/src/http/server.ts';
import { createLogger } from '../../../server/src/log.ts';
import { createMetrics } from '../../../server/src/metrics.ts';
import { NO_KEYHOLDER, NO_WITNESSES } from '../../../server/test/tee/absent.ts';
import { type AttestedServer, startAttested } from '../../../server/test/tee/attested-server.ts';
import type { GatewayOptions } from '../../src/index.ts';
import { SUBJECT } from './support.ts';

export interface CustomerServer {
  attested: AttestedServer;
  port: number;
  /** Of the keyholder. Others' notes are refused. */
  vkey: string;
  /** What it says when it is asked. */
  wishes: { subject: unknown; wanted: unknown; retired: unknown };
  /** What it was told, in order: a share in hex, or null. */
  told: { epoch: number; share: string | null }[];
  /** Before it answers that it was told; what it throws is answered 500. */
  beforeAnswer: () => void;
  questions: number;
  /** `METHOD path` of every request, decrypted, without the query. */
  requests: string[];
  trust(url?: string): GatewayOptions['trust'];
  close(): Promise<void>;
}

export async function startCustomerServer(): Promise<CustomerServer> {
  const attested = await startAttested();
  await attested.boot();
  const { evidence, monitor, gate, log } = attested;
  const logger = createLogger(() => {});
  const app = createApp({
    ...{ evidence, monitor, gate, log, metrics: createMetrics(), logger, version: '0.0.0' },
    witnesses: NO_WITNESSES,
    keyholder: NO_KEYHOLDER,
  });
  app.get('/api/v1/keyholder', (c) => {
    server.questions++;
    return c.json(server.wishes);
  });
  const listen = async (note: string, given: boolean): Promise<void> => {
    const { subject, epoch, share } = parseKeyShare(verifyNote(note, [parseVkey(server.vkey)]).text);
    if (subject !== server.wishes.subject || (share !== null) !== given) throw new Error('another message');
    server.told.push({ epoch, share: share && Buffer.from(share).toString('hex') });
    server.beforeAnswer();
    const { wanted, retired } = server.wishes;
    if (given && wanted === epoch) server.wishes.wanted = null;
    if (!given && Array.isArray(retired)) server.wishes.retired = retired.filter((each) => each !== epoch);
  };
  app.post('/api/v1/keyholder/share', async (c) => {
    await listen(await c.req.text(), true);
    return c.json({ accepted: true });
  });
  app.post('/api/v1/keyholder/destroyed', async (c) => {
    await listen(await c.req.text(), false);
    return c.json({ accepted: true });
  });
  const door = await openDoor({
    key: attested.key,
    host: '127.0.0.1',
    port: 0,
    handler: (request, env) => {
      server.requests.push(`${request.method} ${new URL(request.url).pathname}`);
      return app.fetch(request, env);
    },
  });
  const server: CustomerServer = {
    attested,
    port: door.port,
    vkey: '',
    wishes: { subject: SUBJECT, wanted: null, retired: [] },
    told: [],
    beforeAnswer: () => {},
    questions: 0,
    requests: [],
    trust: (url = `https://127.0.0.1:${door.port}`) => trustIn(attested, url),
    async close() {
      await door.close(0);
      await attested.close();
    },
  };
  return server;
}
