// BlobStore in a directory: what is its own; what every BlobStore does stands in test/contract/blobs.suite.ts.
import assert from 'node:assert/strict';
import { type FileHandle, mkdir, open, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { listed } from '../../../../test/contract/blobs.suite.ts';
import { openDirectoryBlobs } from '../../src/vault/directory-blobs.ts';
import { collect, filesUnder, pieces, scratch } from './support.ts';

test('what a crash left half written is removed at start, and is never listed', async (t) => {
  const directory = await scratch(t);
  const { key } = await (await openDirectoryBlobs(directory)).put(pieces(Buffer.from('whole')));
  await writeFile(join(directory, 'tmp', 'half'), 'hal');
  await writeFile(join(directory, 'README'), 'a stranger');
  await mkdir(join(directory, 'ff'), { recursive: true });
  await writeFile(join(directory, 'ff', 'stranger'), 'not a blob');
  const blobs = await openDirectoryBlobs(directory);
  assert.deepEqual(await listed(blobs), [key]);
  assert.ok(!(await filesUnder(directory)).has('tmp/half'));
});

test('a put syncs the file, then its name and that of its new folder', async (t) => {
  const directory = await scratch(t);
  const blobs = await openDirectoryBlobs(directory);
  const handle = await open(directory, 'r');
  const prototype = Object.getPrototypeOf(handle) as FileHandle;
  await handle.close();
  const calls: string[] = [];
  const { datasync, sync } = prototype;
  t.mock.method(prototype, 'datasync', function (this: FileHandle) {
    calls.push('file');
    return datasync.call(this);
  });
  t.mock.method(prototype, 'sync', function (this: FileHandle) {
    calls.push('directory');
    return sync.call(this);
  });
  await blobs.put(pieces(Buffer.from('x')));
  assert.deepEqual(calls, ['file', 'directory', 'directory']);
});

test('files and folders are for this user alone', async (t) => {
  const directory = join(await scratch(t), 'blobs');
  const { key } = await (await openDirectoryBlobs(directory)).put(pieces(Buffer.from('x')));
  assert.equal((await stat(join(directory, key.slice(0, 2), key.slice(2)))).mode & 0o077, 0);
  assert.equal((await stat(directory)).mode & 0o077, 0);
});

test('a directory that is gone is STORE_UNAVAILABLE, and the error names no path', async (t) => {
  const directory = await scratch(t);
  const blobs = await openDirectoryBlobs(directory);
  await rm(directory, { recursive: true });
  await assert.rejects(blobs.put(pieces(Buffer.from('x'))), (error: Error & { code: string }) => {
    assert.equal(error.code, 'STORE_UNAVAILABLE');
    assert.ok(!error.message.includes(directory));
    return true;
  });
  await assert.rejects(listed(blobs), { code: 'STORE_UNAVAILABLE' });
});

test('a blob that was cut short reads short', async (t) => {
  const directory = await scratch(t);
  const blobs = await openDirectoryBlobs(directory);
  const { key } = await blobs.put(pieces(Buffer.from('0123456789')));
  await writeFile(join(directory, key.slice(0, 2), key.slice(2)), '01234');
  assert.equal((await collect(blobs.get(key, { offset: 3, length: 7 }))).toString(), '34');
});
