/** Blobs: one suite for a directory and S3, and what is S3's own: a provider that fails, throttles, lies, or is shared. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { cpSync, existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { openDirectoryBlobs } from '../../packages/server/src/vault/directory-blobs.ts';
import { S3Folder } from '../../packages/server/src/vault/s3.ts';
import { claimBucket, openS3Blobs } from '../../packages/server/src/vault/s3-blobs.ts';
import { collect, pieces, scratch } from '../../packages/server/test/vault/support.ts';
import { blobStoreSuite, listed } from './blobs.suite.ts';
import { startS3 } from './s3-server.ts';

blobStoreSuite('directory', async (t) => {
  const directory = await scratch(t);
  return () => openDirectoryBlobs(directory);
});

const s3 = await startS3();

async function setUp(t: TestContext) {
  const url = s3.newUrl();
  const spool = join(await scratch(t), 'spool');
  t.after(() => {
    s3.fault = () => null;
  });
  return { url, spool, open: async () => openS3Blobs(await S3Folder.open(url), spool) };
}

blobStoreSuite('s3', async (t) => (await setUp(t)).open);

test('s3: an object of many parts comes back, and nothing of it stays in the spool', async (t) => {
  const { open, spool } = await setUp(t);
  const blobs = await open();
  const bytes = randomBytes(20 * 2 ** 20 + 17);
  const { key } = await blobs.put(pieces(bytes, 2 ** 20));
  assert.ok((await collect(blobs.get(key))).equals(bytes));
  const range = { offset: 8 * 2 ** 20 - 5, length: 10 };
  assert.deepEqual(await collect(blobs.get(key, range)), bytes.subarray(range.offset, range.offset + range.length));
  assert.deepEqual(readdirSync(spool), []);
});

test('s3: a list of more than one page is whole', async (t) => {
  const { open, url } = await setUp(t);
  const blobs = await open();
  const { key } = await blobs.put(pieces(Buffer.from('x')));
  const folder = join(s3.directory, new URL(url).pathname, 'blobs');
  const keys = [key, ...Array.from({ length: 1004 }, (_, i) => i.toString(16).padStart(64, '0'))];
  for (const copy of keys.slice(1))
    for (const kind of ['object', 'object.md5', 'metadata.json'])
      cpSync(join(folder, `${key}._S3rver_${kind}`), join(folder, `${copy}._S3rver_${kind}`));
  assert.deepEqual(await listed(blobs), keys.sort());
});

test('s3: throttling, failures and lost connections are tried again, and in the end STORE_UNAVAILABLE', async (t) => {
  const { open } = await setUp(t);
  const blobs = await open();
  const faults = [503, 'hang up', 'hang up after'] as const;
  let left: unknown[] = [...faults];
  s3.fault = () => (left.shift() as (typeof faults)[number]) ?? null;
  const bytes = randomBytes(1000);
  const { key } = await blobs.put(pieces(bytes));
  left = [500, 429];
  assert.ok((await collect(blobs.get(key))).equals(bytes));
  left = ['hang up'];
  assert.deepEqual(await listed(blobs), [key]);

  s3.fault = () => 503;
  s3.requests.length = 0;
  await assert.rejects(collect(blobs.get(key)), { code: 'STORE_UNAVAILABLE', message: /503/ });
  assert.equal(s3.requests.length, 4);
  await assert.rejects(blobs.put(pieces(randomBytes(1000))), { code: 'STORE_UNAVAILABLE' });
  s3.fault = () => 403;
  s3.requests.length = 0;
  await assert.rejects(collect(blobs.get(key)), { code: 'STORE_UNAVAILABLE', message: /403/ });
  assert.equal(s3.requests.length, 1, 'a refusal is not tried again');
});

test('s3: a part that fails for good leaves no object', async (t) => {
  const { open, spool } = await setUp(t);
  const blobs = await open();
  s3.fault = (request) => (request.url?.includes('partNumber=2') ? 400 : null);
  await assert.rejects(blobs.put(pieces(randomBytes(20 * 2 ** 20), 2 ** 20)), { code: 'STORE_UNAVAILABLE' });
  s3.fault = () => null;
  assert.deepEqual(await listed(blobs), []);
  assert.deepEqual(readdirSync(spool), []);
});

test('s3: what a crash left in the spool is removed at start', async (t) => {
  const { open, spool } = await setUp(t);
  await open();
  writeFileSync(join(spool, 'half'), 'hal');
  await open();
  assert.ok(!existsSync(join(spool, 'half')));
});

test('s3: an object that was exchanged is given out as it is: whoever opens it checks it', async (t) => {
  const { open, url } = await setUp(t);
  const blobs = await open();
  const { key } = await blobs.put(pieces(Buffer.from('0123456789')));
  const folder = (await S3Folder.open(url)).folder('blobs');
  await folder.put(key, Buffer.from('01234'));
  assert.equal((await collect(blobs.get(key, { offset: 3, length: 7 }))).toString(), '34');
  await folder.put('README', Buffer.from('a stranger'));
  assert.deepEqual(await listed(blobs), [key]);
});

test('s3: a bucket belongs to one database', async (t) => {
  const folder = await S3Folder.open((await setUp(t)).url);
  await claimBucket(folder, 'one');
  await claimBucket(folder, 'one');
  await assert.rejects(claimBucket(folder, 'two'), { code: 'STATE_INCOMPLETE' });
});

test('s3: a URL that cannot be used is refused without a word of it in the error', async () => {
  const at = `127.0.0.1:${s3.port}`;
  for (const [url, code] of [
    ['SECRET', 'SETTING_INVALID'],
    [`http://S3RVER:SECRET@${at}/`, 'SETTING_INVALID'],
    [`http://S3RVER:SECRET@${at}/../x`, 'SETTING_INVALID'],
    ['http://S3RVER:SECRET@example.org/abaton', 'SETTING_INVALID'], // plain http elsewhere
    [`http://${at}/abaton`, 'SETTING_INVALID'],
    [`http://NOBODY:SECRET@${at}/abaton`, 'SETTING_INVALID'],
    [
      `http://S3RVER:S3RVER@${at}/no-such-bucket-SECRET`.toLowerCase().replace('s3rver:s3rver', 'S3RVER:S3RVER'),
      'SETTING_INVALID',
    ],
    ['http://S3RVER:SECRET@127.0.0.1:1/abaton', 'STORE_UNAVAILABLE'],
  ] as const)
    await assert.rejects(
      S3Folder.open(url).then(() => assert.fail(`opened ${url}`)),
      (error: Error & { code: string }) => {
        assert.equal(error.code, code, url);
        assert.doesNotMatch(`${error.stack}${error.cause}`.replace('KEY:SECRET@', ''), /SECRET|NOBODY|127\.0\.0\.1/);
        return true;
      },
    );
});
