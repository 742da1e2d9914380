/** Which keys open, and for how long; and that each sealing is taken once. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { DHKEM_X25519, X_WING } from '@abaton/client';
import { parseKeyConfigs } from '../../../../client/src/sealed/key-config.ts';
import { createReplayGuard } from '../../../src/http/sealed/replay-guard.ts';
import { createSealedKeys, type SealedKeys } from '../../../src/http/sealed/sealed-keys.ts';

const DAY_MS = 24 * 60 * 60_000;
const GRACE_MS = 300_000;

const idOf = async (keys: SealedKeys) => {
  const configs = parseKeyConfigs(Buffer.from(await keys.hpkePublicKey(), 'base64'));
  assert.deepEqual(
    configs.map(({ kemId }) => kemId),
    [X_WING, DHKEM_X25519],
  );
  return configs[0]!.keyId;
};

test('a key is named for a day, opens for one interval more, and is then gone', async () => {
  const clock = { ms: 0 };
  const keys = createSealedKeys({ graceMs: GRACE_MS, nowMs: () => clock.ms });
  const first = await idOf(keys);
  clock.ms = DAY_MS - 1;
  assert.equal(await idOf(keys), first);
  clock.ms = DAY_MS;
  assert.ok(keys.find(first, X_WING), 'due, but nobody has asked for evidence yet');
  const [second, again] = await Promise.all([idOf(keys), idOf(keys)]);
  assert.equal(second, (first + 1) % 256);
  assert.equal(again, second, 'one new generation, however many ask');
  assert.ok(keys.find(first, X_WING) && keys.find(first, DHKEM_X25519) && keys.find(second, X_WING));
  clock.ms = DAY_MS + GRACE_MS - 1;
  assert.ok(keys.find(first, X_WING));
  clock.ms = DAY_MS + GRACE_MS;
  assert.equal(keys.find(first, X_WING), null);
  assert.equal(keys.find(first, DHKEM_X25519), null);
  assert.ok(keys.find(second, X_WING));
  assert.equal(keys.find((second + 1) % 256, X_WING), null);
});

test('a key that nobody replaces ends by itself', async () => {
  const clock = { ms: 0 };
  const keys = createSealedKeys({ graceMs: GRACE_MS, nowMs: () => clock.ms });
  const id = await idOf(keys);
  clock.ms = DAY_MS + GRACE_MS;
  assert.equal(keys.find(id, X_WING), null);
});

test('a key takes so many requests and no more; the next evidence names another', async () => {
  const keys = createSealedKeys({ graceMs: GRACE_MS, maxRequests: 3 });
  const first = await idOf(keys);
  const early = keys.find(first, DHKEM_X25519)!;
  for (let i = 0; i < 3; i++) keys.find(first, DHKEM_X25519)!.admit(randomBytes(32));
  assert.equal(keys.find(first, DHKEM_X25519), null);
  assert.throws(() => early.admit(randomBytes(32)), { code: 'SEALED_KEY_UNKNOWN' });
  assert.notEqual(await idOf(keys), first);
});

test('what was taken is refused, by the same KEM and across a rotation', async () => {
  const clock = { ms: 0 };
  const keys = createSealedKeys({ graceMs: GRACE_MS, nowMs: () => clock.ms });
  const id = await idOf(keys);
  const enc = randomBytes(1120);
  keys.find(id, X_WING)!.admit(enc);
  const replayed = { code: 'SEALED_REPLAYED' };
  assert.throws(() => keys.find(id, X_WING)!.admit(enc), replayed);
  clock.ms = DAY_MS;
  await idOf(keys);
  assert.throws(() => keys.find(id, X_WING)!.admit(enc), replayed);
  keys.find(id, X_WING)!.admit(randomBytes(1120));
});

test('the guard remembers all of 20,000, and nothing else, in 8 bytes each at half load', () => {
  const guard = createReplayGuard(20_000);
  const seen = (i: number) => Buffer.from(`key ${i}`);
  for (let i = 0; i < 20_000; i++) assert.equal(guard.isFull() || !guard.add(seen(i)), false);
  assert.equal(guard.isFull(), true);
  for (let i = 0; i < 20_000; i++) assert.equal(guard.add(seen(i)), false);
});
