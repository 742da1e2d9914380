/** The state over every combination of stores, and what a combination can get wrong. */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { scratch, testState } from '../../packages/server/test/vault/support.ts';
import { type PostgresServer, skipPostgres, startPostgres } from './postgres-server.ts';
import { startS3 } from './s3-server.ts';
import { stateSuite } from './state.suite.ts';

const s3 = await startS3();

stateSuite('sqlite, directory', async (t) => ({ dataDir: await scratch(t) }));
stateSuite('sqlite, s3', async (t) => ({ dataDir: await scratch(t), blobsUrl: s3.newUrl() }));

test('a bucket that belongs to another database is refused, and keeps what it has', async (t) => {
  const blobsUrl = s3.newUrl();
  const owner = await testState(t, { blobsUrl });
  const { key } = await owner.blobs.put(
    (async function* () {
      yield Buffer.from('ciphertext');
    })(),
  );
  await assert.rejects(testState(t, { blobsUrl }), { code: 'STATE_INCOMPLETE' });
  const kept: string[] = [];
  for await (const name of owner.blobs.list()) kept.push(name);
  assert.deepEqual(kept, [key]);
});

describe('over postgres', { skip: skipPostgres }, async () => {
  const server: PostgresServer = skipPostgres ? (null as never) : await startPostgres();

  stateSuite('postgres, directory', async (t) => ({
    dataDir: await scratch(t),
    databaseUrl: await server.newDatabase(),
  }));
  stateSuite('postgres, s3', async (t) => ({
    dataDir: await scratch(t),
    databaseUrl: await server.newDatabase(),
    blobsUrl: s3.newUrl(),
  }));

  test('an empty database beside a log is refused', async (t) => {
    const dataDir = await scratch(t);
    mkdirSync(join(dataDir, 'audit', '2026'), { recursive: true });
    writeFileSync(join(dataDir, 'audit', '2026', 'checkpoint'), 'a log');
    await assert.rejects(testState(t, { dataDir, databaseUrl: await server.newDatabase() }), {
      code: 'STATE_INCOMPLETE',
    });
  });

  test('two servers with one database: the second is refused', async (t) => {
    const databaseUrl = await server.newDatabase();
    await testState(t, { databaseUrl });
    await assert.rejects(testState(t, { databaseUrl }), { code: 'STATE_IN_USE' });
  });
});
