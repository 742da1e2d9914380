/**
 * The routes that any client may call, and what holds for every route: a request id of our own, errors from one table,
 * nothing served that was not declared, and a log that knows route templates but no addresses. main.ts mounts the other
 * doors with `app.route(…)`.
 */
import { randomUUID } from 'node:crypto';
import { Hono } from 'hono';
import { routePath } from 'hono/route';
import type { Denials } from '../audit/denials.ts';
import { errorOf } from '../errors.ts';
import { type Logger, placeOf } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import { type AttestationDeps, attestationRoutes } from './attestation-routes.ts';
import { denialOf } from './denied.ts';
import type { DoorEnv } from './door-env.ts';
import { errorResponse, failureOf } from './errors.ts';
import { type LogDeps, logRoutes } from './log-routes.ts';
import { type OperationsDeps, operationsRoutes } from './operations-routes.ts';

export interface AppDeps extends AttestationDeps, LogDeps, OperationsDeps {
  logger: Logger;
  metrics: Metrics;
  /** Records refusals of patient data. */
  denials?: Pick<Denials, 'record'>;
}

const SECURITY_HEADERS = {
  'strict-transport-security': 'max-age=63072000', // two years, as hstspreload.org asks
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-store',
} as const;

const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);
const SECONDS = [0.005, 0.025, 0.1, 0.5, 2.5, 10, 60]; // from a cached read to the upload of a large study

export function createApp(deps: AppDeps): Hono<DoorEnv> {
  const { logger, metrics } = deps;
  const requests = metrics.counter('abaton_http_requests_total', 'Requests by route template, method and status.');
  const seconds = metrics.histogram('abaton_http_request_seconds', 'Time until the response begins.', SECONDS);
  const app = new Hono<DoorEnv>();

  app.use(async (c, next) => {
    const began = performance.now();
    const requestId = randomUUID(); // never the client's: it could hold anything, and it goes into the log
    c.set('requestId', requestId);
    await next();
    for (const [name, value] of Object.entries(SECURITY_HEADERS)) {
      if (!c.res.headers.has(name)) c.res.headers.set(name, value);
    }
    c.res.headers.set('x-request-id', requestId);
    const denial = deps.denials && denialOf(c, deps.gate);
    if (denial) deps.denials?.record(denial);
    const route = routePath(c, -1);
    const facts = {
      route: route === '/*' ? 'none' : route,
      method: METHODS.has(c.req.method) ? c.req.method : 'other',
    };
    const durationMs = Math.round(performance.now() - began);
    requests.add({ ...facts, status: String(c.res.status) });
    seconds.observe(durationMs / 1000);
    if (!QUIET.has(route)) logger.info('request', { requestId, ...facts, status: c.res.status, durationMs });
  });

  app.notFound((c) => errorResponse(c, errorOf('NOT_FOUND', 'There is no such resource.'), c.get('requestId')));
  app.onError((error, c) => {
    const { code } = failureOf(error);
    const requestId = c.get('requestId');
    if (code === 'INTERNAL') logger.error('defect', { requestId, at: placeOf(error) });
    return errorResponse(c, error, requestId);
  });

  app.route('/', attestationRoutes(deps));
  app.route('/', logRoutes(deps));
  app.route('/', operationsRoutes(deps));
  return app;
}

/** Not logged: evidence for a stranger's nonce leaves no trace, and probes and the parts of a page would drown the rest. */
const QUIET = new Set(['/attestation', '/healthz', '/metrics', '/trust/modules/*']);
