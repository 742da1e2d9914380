/** What a link does when a connection is lost at once, and when it fails by itself. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ConfigurationError } from '@abaton/verify';
import type { HostileDoor } from '../../client/test/hostile-door.ts';
import type { GatewayOptions } from '../src/index.ts';
import { openLink } from '../src/link.ts';
import { createLogger } from '../src/log.ts';
import { openRefusals } from '../src/refusals.ts';
import { GUARD_MS, type Service, startService } from './harness.ts';

let service: Service;
let answer: HostileDoor['answer'];
before(async () => {
  service = await startService();
  answer = service.door.answer;
});
after(() => service.close());

/** A link of its own, whose pauses are written down and are short. */
async function openBare(t: TestContext, trust: GatewayOptions['trust'], intervalMs: number) {
  const dir = mkdtempSync(join(tmpdir(), 'abaton-link-'));
  const [lines, pauses]: [string[], { failures: number; open: boolean }[]] = [[], []];
  const link = openLink({
    trust,
    intervalMs,
    graceMs: 60_000,
    refusals: await openRefusals(dir),
    logger: createLogger((line) => lines.push(line)),
    pauseMs(failures) {
      pauses.push({ failures, open: link.state().open });
      return 10;
    },
  });
  t.after(() => {
    link.close();
    service.door.answer = answer;
    rmSync(dir, { recursive: true });
  });
  return { link, lines: () => lines.map((line) => JSON.parse(line)), pauses };
}

async function reached(wanted: () => boolean): Promise<void> {
  for (const deadline = Date.now() + GUARD_MS; !wanted(); await sleep(5)) assert.ok(Date.now() < deadline);
}

test('a new connection that is lost at once is not taken for one: the old one stays, and it is tried again soon', async (t) => {
  const { link, pauses } = await openBare(t, service.trust(), 500);
  await reached(() => link.state().open);
  const old = [...service.sessions];
  service.door.answer = (stream, headers, socket) =>
    headers[':path'] === '/healthz' && !old.includes(stream.session!)
      ? stream.session!.destroy()
      : answer(stream, headers, socket);
  await reached(() => pauses.length > 1);
  assert.deepEqual(pauses.slice(0, 2), [
    { failures: 1, open: true },
    { failures: 2, open: true },
  ]);
  service.door.answer = answer;
  await reached(() => !old.some((session) => service.sessions.has(session)) && link.state().open);
});

test('lost at once, and there is no other: the reason says so', async (t) => {
  service.door.answer = (stream, headers, socket) =>
    headers[':path'] === '/healthz' ? stream.session!.destroy() : answer(stream, headers, socket);
  const { link, pauses } = await openBare(t, service.trust(), 500);
  await reached(() => pauses.length > 0);
  assert.deepEqual(link.state().reasons, ['connection-lost']);
});

test('a defect in a verification closes, is logged with its place, and the next one may open', async (t) => {
  const { url, policy, acceptedRootsSha256 } = service.trust();
  let broken = false;
  const trust = {
    url,
    acceptedRootsSha256: acceptedRootsSha256!,
    get policy() {
      if (broken) throw new ConfigurationError('POLICY_INVALID', 'DOE^JOHN');
      return policy;
    },
  };
  const { link, lines, pauses } = await openBare(t, trust, 300);
  await reached(() => link.state().open);
  const cut = link.run(async (_, signal) => void (await once(signal, 'abort')));
  broken = true;
  await cut;
  assert.deepEqual([link.state().open, link.state().reasons], [false, ['defect']]);
  const { level, code, at } = lines().find(({ event }) => event === 'defect');
  assert.deepEqual([level, code], ['error', 'POLICY_INVALID']);
  assert.match(at, /^packages\/gateway\/test\/link-failures\.test\.ts:\d+:\d+$/);
  assert.ok(!JSON.stringify(lines()).includes('DOE'));
  await reached(() => pauses.length > 0);
  broken = false;
  await reached(() => link.state().open);
});

test('a defect in the renewal of an old connection closes, too', async (t) => {
  const { url, policy, acceptedRootsSha256 } = service.trust();
  let isNew = false;
  const trust = {
    url,
    acceptedRootsSha256: acceptedRootsSha256!,
    onEvidence() {
      isNew = true; // of a new connection; a renewal reads the policy without it
    },
    get policy() {
      if (!isNew) throw new ConfigurationError('POLICY_INVALID', 'a defect');
      isNew = false;
      return policy;
    },
  };
  const { link, lines } = await openBare(t, trust, 300);
  await reached(() => link.state().open);
  await link.run(async (_, signal) => void (await once(signal, 'abort')));
  assert.equal(lines().find(({ event }) => event === 'defect').code, 'POLICY_INVALID');
  await reached(() => link.state().open);
});
