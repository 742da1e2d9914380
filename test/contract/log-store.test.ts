/** The audit log in a directory and in S3, and what is S3's own: answers that are lost, and a second writer. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { openDisk } from '../../packages/server/src/audit/disk.ts';
import { directoryLogStore } from '../../packages/server/src/audit/log-store.ts';
import { openS3LogStore } from '../../packages/server/src/audit/s3-log-store.ts';
import { S3Folder } from '../../packages/server/src/vault/s3.ts';
import { appendAll, entryOf, ORIGIN, scratch } from '../../packages/server/test/audit/support.ts';
import { logStoreSuite, openLogOf } from './log-store.suite.ts';
import { startS3 } from './s3-server.ts';

logStoreSuite('directory', async (t) => {
  const dir = await scratch(t);
  return async () => directoryLogStore(await openDisk(dir));
});

const s3 = await startS3();

async function setUp(t: TestContext) {
  const url = s3.newUrl();
  t.after(() => {
    s3.fault = () => null;
  });
  return async () => openS3LogStore((await S3Folder.open(url)).folder('audit'));
}

logStoreSuite('s3', setUp);

const isWalPut = (request: { method?: string | undefined; url?: string | undefined }) =>
  request.method === 'PUT' && request.url?.includes('/wal/');

test('s3: a second writer is noticed by whichever of the two writes next, and that one stops', async (t) => {
  const open = await setUp(t);
  const first = await openLogOf(await open());
  await appendAll(first, 0, 3, 1);
  const second = await openLogOf(await open());
  await second.append(entryOf(3));
  await assert.rejects(first.append(entryOf(3)), (error: Error & { cause: { code: string } }) => {
    assert.equal(error.cause.code, 'STATE_IN_USE');
    return true;
  });
  assert.equal(first.healthy(), false);
  s3.requests.length = 0;
  await assert.rejects(first.append(entryOf(4)), { code: 'AUDIT_UNAVAILABLE' });
  assert.deepEqual(
    s3.requests.filter((request) => request.includes('/wal/')),
    [],
    'it does not try again',
  );
  await second.append(entryOf(4));
  await first.close();
  await second.close();
  const after = await openLogOf(await open());
  t.after(() => after.close());
  assert.equal(after.size(), 5);
});

test('s3: an answer that is lost is no second writer', async (t) => {
  const open = await setUp(t);
  const log = await openLogOf(await open());
  t.after(() => log.close());
  let lost = 0;
  s3.fault = (request) => (isWalPut(request) && lost++ === 0 ? 'hang up after' : null);
  assert.deepEqual(await log.append(entryOf(0)), { origin: ORIGIN, index: 0 });
  assert.ok(lost > 1);
});

test('s3: what a failed commit left is in the log, before what comes next, also after a restart', async (t) => {
  const open = await setUp(t);
  const log = await openLogOf(await open());
  await log.append(entryOf(0));
  // Four tries: the object is there after the first, and nobody says so.
  s3.fault = (request) => (isWalPut(request) ? 'hang up after' : null);
  await assert.rejects(log.append(entryOf(1)), { code: 'AUDIT_UNAVAILABLE' });
  s3.fault = () => null;
  assert.deepEqual(await log.append(entryOf(2)), { origin: ORIGIN, index: 2 });
  assert.deepEqual(Buffer.from(await log.entry(1)), entryOf(1));
  // And this one never arrives.
  s3.fault = (request) => (isWalPut(request) ? 'hang up' : null);
  await assert.rejects(log.append(entryOf(3)), { code: 'AUDIT_UNAVAILABLE' });
  assert.equal(log.healthy(), false);
  s3.fault = () => null;
  await log.append(entryOf(4));
  await log.close();
  const again = await openLogOf(await open());
  t.after(() => again.close());
  assert.equal(again.size(), 5);
  for (let i = 0; i < 5; i++) assert.deepEqual(Buffer.from(await again.entry(i)), entryOf(i));
});

test('s3: a provider that overwrites in spite of If-None-Match is refused', async () => {
  const careless = await startS3({ conditionalPut: false });
  await assert.rejects(openS3LogStore(await S3Folder.open(careless.newUrl())), { code: 'SETTING_INVALID' });
});
