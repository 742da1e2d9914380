/**
 * The customer holds half of the keys: the server reads nothing before he has brought it, loses nothing while he is away, and
 * a new build reads nothing until the policy that his officer has signed admits it.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { awaitAnalysis, connectVerified } from '@abaton/client';
import { drawPhantom } from '../../packages/server/src/imaging/phantom.ts';
import { careless, until } from './careless.ts';
import { abaton, startCommand } from './command.ts';
import { root, type Stack, startStack } from './stack.ts';

const OFFICER = 'hospital.example/anna';
const GUARD_MS = 60_000; // against hanging; nothing here is about speed
const STUDY = '2.25.7701';

/** The policy of the platform as it is now, and of the builds before, signed by the officer. */
function signPolicy({ dir, softTee }: Stack, codeHashes: readonly string[]): string {
  const file = join(dir, 'policy.json');
  writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(softTee.policyFile, 'utf8')), codeHashes }));
  abaton('policy', 'sign', file, '--key', join(dir, 'anna.pem'), '--name', OFFICER);
  return file;
}

async function startKeyholder(t: TestContext, stack: Stack, officer: string, policy: string) {
  const args = ['--url', stack.trust().url, '--policy', policy, '--officer', officer];
  const place = ['--key', join(stack.dir, 'keyholder.key'), '--dir', join(stack.dir, 'shares')];
  const { kill } = await startCommand(t, [
    ...['keyholder', ...args, ...place],
    ...['--accept-simulated', stack.softTee.rootSha256],
  ]);
  return kill;
}

test('no share, no data: at a start, and for a new build until it is admitted', {
  timeout: 5 * GUARD_MS,
}, async (t) => {
  const stack = await startStack();
  t.after(() => stack.close());
  const { dir } = stack;
  const { url } = stack.trust();
  const officer = abaton('policy', 'key', join(dir, 'anna.pem'), '--name', OFFICER);
  const vkey = abaton('keyholder', 'key', join(dir, 'keyholder.key'), '--name', 'hospital.example/keyholder');
  const manifest = join(dir, 'abaton.yaml');
  writeFileSync(manifest, `${readFileSync(join(root, 'abaton.yaml'), 'utf8')}\nkeyholder: { vkey: "${vkey}" }\n`);
  const env = { ABATON_MANIFEST: manifest };
  const health = async () => JSON.parse((await careless(url, 'GET', '/healthz')).text);
  const isOpen = async () => (await health().catch(() => null))?.status === 'open';
  const send = async () =>
    (
      await careless(
        url,
        'POST',
        '/dicom-web/studies',
        drawPhantom({ studyInstanceUid: STUDY, ageYears: 3, now: new Date() }),
      )
    ).status;
  const assertPending = async () => {
    const { status, reasons, keyholder } = await health();
    assert.deepEqual([status, reasons, keyholder], ['closed', ['keyholder-pending'], 'pending']);
    assert.equal(await send(), 503);
    assert.equal((await careless(url, 'GET', '/dicom-web/studies')).status, 503);
  };
  const [oldBuild] = stack.softTee.policy.codeHashes;

  let server = await stack.startServer(env);
  await assertPending();
  let stopKeyholder = await startKeyholder(t, stack, officer, signPolicy(stack, [oldBuild!]));
  await until('the share is there', isOpen);
  assert.equal(await send(), 200);
  await stopKeyholder();
  const read = async () => {
    const connection = await connectVerified(stack.trust());
    try {
      const { state, results } = await awaitAnalysis(connection, STUDY);
      return [state, results.length];
    } finally {
      connection.close();
    }
  };
  assert.deepEqual(await read(), ['complete', 1], 'he is away, and the work goes on');

  await t.test('a start without him waits, and loses nothing', async () => {
    server.kill('SIGKILL');
    await server.exited;
    server = await stack.startServer(env);
    await assertPending();
    stopKeyholder = await startKeyholder(t, stack, officer, join(dir, 'policy.json'));
    await until('open', isOpen);
    assert.deepEqual(await read(), ['complete', 1]);
  });

  await t.test('another build with the same TEE key reads nothing until the policy names it', async () => {
    await server.stop();
    const compose = JSON.parse(readFileSync(join(root, 'deploy/dev/app-compose.json'), 'utf8'));
    writeFileSync(join(dir, 'new-build.json'), JSON.stringify({ ...compose, name: 'another-build' }));
    await stack.restartSoftTee(['--compose', join(dir, 'new-build.json')]);
    const [newBuild] = stack.softTee.policy.codeHashes;
    assert.notEqual(newBuild, oldBuild);
    server = await stack.startServer(env);
    await sleep(8_000); // he looks every five seconds
    await assertPending();

    await stopKeyholder();
    await startKeyholder(t, stack, officer, signPolicy(stack, [oldBuild!, newBuild!]));
    await until('admitted', isOpen);
    assert.deepEqual(await read(), ['complete', 1], 'what was stored before is there');
    await server.stop();
  });
});
