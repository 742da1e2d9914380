/**
 * I2: nothing identifying leaves the process in clear. 42 identifiers are planted in a study, sent through the whole path
 * (store, analysis, SR, FHIR, search, refusals), and searched for everywhere outside, in every spelling. A deliberate
 * leak shows that the search would have found one.
 */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { awaitAnalysis, connectVerified, sendFiles, type VerifiedConnection } from '@abaton/client';
import { createSearch, type Finding, readTree } from './canary-search.ts';
import { type PlantedStudy, plantStudy } from './planted-study.ts';
import { type Stack, startStack } from './stack.ts';

async function get(connection: VerifiedConnection, path: string): Promise<{ status: number; bytes: Buffer }> {
  const response = await connection.request({ method: 'GET', path });
  return { status: response.status, bytes: Buffer.from(await response.bytes()) };
}

/** Sends the study through everything that there is; returns what anybody may read: metrics, health, error bodies. */
async function exercise(stack: Stack, planted: PlantedStudy): Promise<Buffer[]> {
  const file = join(stack.dir, 'client', `${planted.fileName}.dcm`);
  mkdirSync(join(stack.dir, 'client'));
  writeFileSync(file, planted.part10);
  const truncated = join(stack.dir, 'client', `${planted.fileName}-cut.dcm`);
  writeFileSync(truncated, planted.part10.subarray(0, planted.part10.length - 1000));

  const connection = await connectVerified(stack.trust());
  const sent = await sendFiles(connection, [file, truncated]);
  assert.deepEqual([sent.stored, sent.failures.length], [1, 1]);
  const { results } = await awaitAnalysis(connection, planted.studyInstanceUid);
  assert.deepEqual(
    results.map(({ result }) => result.outcome),
    ['scored'],
  );
  const study = `/dicom-web/studies/${planted.studyInstanceUid}`;
  for (const path of [
    '/dicom-web/studies',
    `${study}/metadata`,
    study,
    `/fhir/R4/DiagnosticReport/${results[0]!.result.diagnosticReportId}`,
  ])
    assert.equal((await get(connection, path)).status, 200, path);

  const [query] = planted.queries;
  const open: Buffer[] = [];
  for (const path of [
    `/dicom-web/studies?PatientName=${query}`,
    `/dicom-web/studies?Nonsense=${query}`,
    `/${query}`,
    `/fhir/R4/DiagnosticReport/${query}`,
    `/attestation?nonce=${query}`,
    `/dicom-web/studies/${query}`,
  ]) {
    const { status, bytes } = await get(connection, path);
    if (status >= 400) open.push(bytes);
  }
  for (const path of ['/metrics', '/healthz', '/.well-known/abaton', '/checkpoint'])
    open.push((await get(connection, path)).bytes);
  connection.close();
  return open;
}

/** Runs the server once and searches all that lies outside it. */
async function findLeaks(env: NodeJS.ProcessEnv): Promise<Finding[]> {
  const stack = await startStack();
  try {
    const temporary = join(stack.dir, 'tmp');
    mkdirSync(temporary);
    const planted = plantStudy();
    assert.equal(planted.canaries.length, 42);
    const server = await stack.startServer({ TMPDIR: temporary, ...env });
    const open = await exercise(stack, planted);
    server.kill('SIGKILL'); // what a crash leaves behind counts too
    await server.exited;
    const search = createSearch(planted.canaries);
    const outside = [...readTree(stack.dataDir), ...readTree(temporary), ...readTree(join(stack.dir, 'soft-tee'))].map(
      ({ bytes }) => bytes,
    );
    assert.ok(
      outside.reduce((sum, bytes) => sum + bytes.length, 0) > planted.part10.length,
      'the sealed study itself is among what is searched',
    );
    return [
      ...outside,
      ...open,
      ...readFileSync(stack.serverLog, 'latin1')
        .split('\n')
        .map((line) => Buffer.from(line)),
      readFileSync(stack.serverLog),
    ].flatMap(search);
  } finally {
    await stack.close();
  }
}

test('of the planted identifiers none is found outside, in any spelling', { timeout: 120_000 }, async () => {
  assert.deepEqual(await findLeaks({}), []);
});

test('a deliberate leak is found', { timeout: 120_000 }, async () => {
  const leaks = await findLeaks({ NODE_OPTIONS: `--import=${new URL('./leak.mjs', import.meta.url)}` });
  assert.ok(leaks.length > 0, 'the leak in leak.mjs went unnoticed');
});

test('the search finds every spelling', () => {
  const canary = Buffer.from('CN0123456789AB');
  const search = createSearch([canary]);
  const text = canary.toString();
  for (const [what, haystack] of Object.entries({
    raw: Buffer.from(`x${text}y`),
    hex: Buffer.from(canary.toString('hex')),
    'utf-16le': Buffer.from(`x${text}`, 'utf16le'),
    'utf-16be': Buffer.from(`x${text}`, 'utf16le').swap16(),
    gzip: gzipSync(`x${text}`),
    'base64 in gzip': gzipSync(Buffer.from(`abc${text}`).toString('base64')),
    'base64, shift 0': Buffer.from(Buffer.from(`${text}z`).toString('base64')),
    'base64, shift 1': Buffer.from(Buffer.from(`a${text}z`).toString('base64')),
    'base64, shift 2': Buffer.from(Buffer.from(`ab${text}z`).toString('base64url')),
    'gzip in base64': Buffer.from(gzipSync(text).toString('base64')),
  }))
    assert.ok(search(haystack).length > 0, what);
  assert.deepEqual(search(Buffer.from('nothing of the kind')), []);
});
