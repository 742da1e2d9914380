/**
 * The server with everything in PostgreSQL and S3. I2: of the planted identifiers none stands in a row, an object or a
 * payload of the queue. I6: `kill -9` of the server, and crashes of the database, in the middle of studies lose nothing
 * acknowledged and double nothing.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { awaitAnalysis, connectVerified, sendFiles } from '@abaton/client';
import { THIS_YEAR } from '../../packages/server/test/audit/support.ts';
import { type PostgresServer, skipPostgres, startPostgres } from '../contract/postgres-server.ts';
import { startS3 } from '../contract/s3-server.ts';
import { createSearch, readTree } from './canary-search.ts';
import { startLoad } from './load.ts';
import { plantStudy } from './planted-study.ts';
import { type Stack, startStack } from './stack.ts';

const PG_DUMP = '/usr/lib/postgresql/15/bin/pg_dump';

describe('PostgreSQL and S3', { skip: skipPostgres }, async () => {
  const postgres: PostgresServer = skipPostgres ? (null as never) : await startPostgres();
  const s3 = await startS3();
  const newStores = async () => ({
    DATABASE_URL: (await postgres.newDatabase()).replace('abaton@', 'abaton:DATABASE-SECRET@'),
    BLOBS_URL: s3.newUrl(),
    ABATON_JOB_ATTEMPTS: '1000',
  });
  const objectsUnder = (blobsUrl: string) => readTree(join(s3.directory, new URL(blobsUrl).pathname));

  /** All rows of all tables, those of pg-boss too. `inserts` writes values as text: bytea as hex, which the search knows. */
  const dump = (databaseUrl: string) => execFileSync(PG_DUMP, ['--inserts', databaseUrl], { maxBuffer: 2 ** 28 });

  test('of the planted identifiers none is found in a row, an object or a job', { timeout: 120_000 }, async () => {
    const stores = await newStores();
    const stack = await startStack();
    try {
      const planted = plantStudy();
      const server = await stack.startServer(stores);
      mkdirSync(join(stack.dir, 'client'));
      const file = join(stack.dir, 'client', `${planted.fileName}.dcm`);
      writeFileSync(file, planted.part10);
      const connection = await connectVerified(stack.trust());
      assert.equal((await sendFiles(connection, [file])).stored, 1);
      const waiting = dump(stores.DATABASE_URL); // the job is there, or just done
      const { results } = await awaitAnalysis(connection, planted.studyInstanceUid);
      assert.equal(results[0]?.result.outcome, 'scored');
      connection.close();
      server.kill('SIGKILL');
      await server.exited;

      const rows = dump(stores.DATABASE_URL);
      assert.match(rows.toString(), /INSERT INTO public\.results/);
      assert.match(rows.toString(), /CREATE TABLE pgboss\.job/);
      const objects = objectsUnder(stores.BLOBS_URL);
      for (const part of ['/blobs/', `/audit/${THIS_YEAR}/wal/`, `/audit/${THIS_YEAR}/checkpoint`])
        assert.ok(
          objects.some(({ path }) => path.includes(part)),
          part,
        );
      const outside = [
        waiting,
        rows,
        ...objects.map(({ bytes }) => bytes),
        ...readTree(stack.dataDir).map((f) => f.bytes),
      ];
      assert.deepEqual(outside.flatMap(createSearch(planted.canaries)), []);
      const secrets = createSearch([Buffer.from('DATABASE-SECRET'), Buffer.from('S3RVER:S3RVER')]);
      assert.deepEqual(
        readTree(stack.dir).flatMap(({ bytes }) => secrets(bytes)),
        [],
      );
      const leak = Buffer.concat([rows, Buffer.from(planted.canaries[0]!.toString('hex'))]);
      assert.ok(createSearch(planted.canaries)(leak).length > 0, 'the search would have found a leak in a dump');
    } finally {
      await stack.close();
    }
  });

  async function verifyNothingLost(stack: Stack, acknowledged: readonly string[]): Promise<void> {
    const connection = await connectVerified(stack.trust());
    for (const study of acknowledged) {
      const { state, results } = await awaitAnalysis(connection, study);
      assert.equal(state, 'complete', `study ${study}`);
      assert.equal(results.length, 1, `study ${study} has one result`);
      assert.equal(results[0]?.result.outcome, 'scored');
    }
    connection.close();
  }

  async function untilAcknowledged(load: { acknowledged: string[] }, more: number): Promise<void> {
    const wanted = load.acknowledged.length + more;
    while (load.acknowledged.length < wanted) await new Promise((resolve) => setTimeout(resolve, 50));
  }

  test('kill -9 of the server and crashes of the database under load', { timeout: 300_000 }, async () => {
    const stores = await newStores();
    const stack = await startStack();
    const load = startLoad(stack);
    try {
      let server = await stack.startServer(stores);
      for (let crash = 0; crash < 3; crash++) {
        await untilAcknowledged(load, 2);
        server.kill('SIGKILL');
        await server.exited;
        server = await stack.startServer(stores);
        await untilAcknowledged(load, 2);
        postgres.stop('immediate');
        postgres.start();
      }
      await untilAcknowledged(load, 2); // the server found its way back by itself
      await load.stop();
      await verifyNothingLost(stack, load.acknowledged);
      console.log(`3 kills, 3 crashes of the database, ${load.acknowledged.length} acknowledged studies, none lost`);
    } finally {
      await load.stop();
      await stack.close();
    }
  });
});
