/** A real TLS door with evidence of a software TEE and `/sealed`, in front of the routes of a test. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { KeyConfig, VerifyOptions } from '@abaton/client';
import { startSoftTee } from '@abaton/soft-tee';
import { Hono } from 'hono';
import { chooseKeyConfig, parseKeyConfigs } from '../../../../client/src/sealed/key-config.ts';
import { createLogKeys } from '../../../src/audit/log-keys.ts';
import { directoryOfLogs } from '../../../src/audit/log-place.ts';
import { openYearlyLog } from '../../../src/audit/yearly-log.ts';
import type { DoorEnv } from '../../../src/http/door-env.ts';
import { errorResponse } from '../../../src/http/errors.ts';
import { createSealedKeys, type SealedKeys } from '../../../src/http/sealed/sealed-keys.ts';
import { sealedRoutes } from '../../../src/http/sealed/sealed-route.ts';
import { openDoor, tlsSpkiSha256 } from '../../../src/http/server.ts';
import { openGuestAgent, type TlsKey } from '../../../src/tee/agent-client.ts';
import { createCollateralSource } from '../../../src/tee/collateral.ts';
import { createEvidenceSource, type EvidenceBinding } from '../../../src/tee/evidence.ts';
import { selfPolicy } from '../../../src/tee/self-attestation.ts';
import { THIS_YEAR } from '../../audit/support.ts';

export interface SealedHouse {
  port: number;
  keys: SealedKeys;
  /** Of the keys alone. */
  clock: { ms: number };
  /** What a client must believe in to take this house for genuine. */
  trust: Pick<VerifyOptions, 'policy' | 'acceptedRootsSha256'>;
  /** What the newest evidence names. */
  keyConfig(): Promise<KeyConfig>;
  /** Another key with a certificate of the same authority, as the guest agent gives to every caller. */
  anotherTlsKey(): Promise<TlsKey>;
  close(): Promise<void>;
}

export const GRACE_MS = 300_000;
const DIGEST = '11'.repeat(32);

/** `/sealed` leads to all routes. */
export async function openSealedHouse(addRoutes: (app: Hono<DoorEnv>) => void): Promise<SealedHouse> {
  const dir = mkdtempSync(join(tmpdir(), 'abaton-sealed-'));
  const socket = join(dir, 'agent.sock');
  const tee = await startSoftTee({ state: join(dir, 'tee'), socket, compose: '{"name":"sealed"}' });
  const agent = openGuestAgent(socket);
  const tlsKey = () => agent.getTlsKey({ subject: 'localhost', altNames: ['localhost'] });
  const key = await tlsKey();
  const log = await openYearlyLog({
    place: directoryOfLogs(join(dir, 'log')),
    keys: createLogKeys('abaton.test/audit', randomBytes(32)),
    firstYear: THIS_YEAR,
  });
  const binding: EvidenceBinding = {
    tlsSpkiSha256: tlsSpkiSha256(key),
    manifestSha256: DIGEST,
    policySha256: DIGEST,
    modelRegistrySha256: DIGEST,
    requested: { hipaa: false, baaSigned: false, attestationPublic: true },
  };
  const clock = { ms: 0 };
  const keys = createSealedKeys({ graceMs: GRACE_MS, nowMs: () => clock.ms });
  let named = '';
  const evidence = createEvidenceSource({
    ...{ agent, log, binding },
    hpkePublicKey: async () => named,
    collateral: createCollateralSource({
      ...{ pccsUrls: [tee.pccsUrl], directory: null, maxAgeMs: 60_000 },
      nowMs: Date.now,
    }),
  });

  const app = new Hono<DoorEnv>();
  app.use(async (c, next) => {
    c.set('requestId', 'test');
    await next();
  });
  app.onError((error, c) => errorResponse(c, error, 'test'));
  app.get('/attestation', async (c) => {
    named = await keys.hpkePublicKey();
    return c.json(await evidence.evidenceFor(c.req.query('nonce') ?? ''));
  });
  app.route('/', sealedRoutes({ keys, handler: (request, env) => app.fetch(request, env) }));
  addRoutes(app);
  const door = await openDoor({
    ...{ key, host: '127.0.0.1', port: 0 },
    handler: (request, env) => app.fetch(request, env),
  });
  return {
    port: door.port,
    keys,
    clock,
    trust: { policy: selfPolicy(await agent.info(), binding), acceptedRootsSha256: [tee.rootSha256] },
    keyConfig: async () => chooseKeyConfig(parseKeyConfigs(Buffer.from(await keys.hpkePublicKey(), 'base64')))!,
    anotherTlsKey: tlsKey,
    async close() {
      await door.close(0);
      await log.close();
      await tee.close();
      rmSync(dir, { recursive: true });
    },
  };
}
