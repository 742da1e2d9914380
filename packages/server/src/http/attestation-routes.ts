/** Fresh evidence for whoever asks. The reports of our own proofs are in trust-routes.ts. */
import { Hono } from 'hono';
import { errorOf } from '../errors.ts';
import type { Metrics } from '../metrics.ts';
import type { EvidenceSource } from '../tee/evidence.ts';
import type { DoorEnv } from './door-env.ts';
import { publicRead } from './public-read.ts';
import { addressOf, createRateLimit } from './rate-limit.ts';
import { tlsExporterSha256 } from './tls-exporter.ts';

export interface AttestationDeps {
  evidence: EvidenceSource;
  metrics: Metrics;
}

// a quoting enclave makes tens of quotes a second, and our own proofs need it too; a verifier asks once per connection
const QUOTES_PER_SECOND = 20;
const QUOTE_BURST = 40;

export function attestationRoutes({ evidence, metrics }: AttestationDeps): Hono<DoorEnv> {
  const limit = createRateLimit({ perSecond: QUOTES_PER_SECOND, burst: QUOTE_BURST });
  const served = metrics.counter('abaton_evidence_served_total', 'Fresh evidence handed out.');
  const app = new Hono<DoorEnv>();

  publicRead(app, '/attestation', async (c) => {
    const nonce = c.req.query('nonce') ?? '';
    if (!/^[0-9a-f]{64}$/.test(nonce)) throw errorOf('NONCE_INVALID', 'nonce must be 64 lower-case hex digits.');
    limit.take(addressOf(c)); // after the look at the nonce: who asks for nothing takes no quote from others
    const fresh = await evidence.evidenceFor(nonce, { tlsExporterSha256: tlsExporterSha256(c.env.incoming, nonce) });
    served.add();
    return c.json(fresh);
  });

  return app;
}
