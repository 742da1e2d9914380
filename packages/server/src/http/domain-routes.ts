/** The signing request for the key of this server's domain: public, and the first step to a certificate. */
import { Hono } from 'hono';
import type { DomainCertificate } from './domain-certificate.ts';
import type { DoorEnv } from './door-env.ts';
import { publicRead } from './public-read.ts';

export function domainRoutes({ requestPem }: Pick<DomainCertificate, 'requestPem'>): Hono<DoorEnv> {
  const app = new Hono<DoorEnv>();
  publicRead(app, '/.well-known/abaton/domain.csr', (c) =>
    c.body(requestPem, 200, { 'content-type': 'application/pkcs10' }),
  );
  return app;
}
