/** The agents of dstack 0.6, 0.5 and before: what each has, and what none has. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { suite, type TestContext, test } from 'node:test';
import type { AgentVersion } from '../src/index.ts';
import { send, start } from './harness.ts';

const RECORD = '{ "claims": [],\n "note": "é" }';

const statuses = async (t: TestContext, agentVersion: AgentVersion, paths: string[]) => {
  const { socket } = await start(t, { agentVersion });
  return Promise.all(paths.map(async (path) => (await send(socket, path, '{}')).status));
};

suite('agent versions', () => {
  test('0.6 has v0 under two names, and of v1 what GPUs need', async (t) => {
    const paths = ['/Version', '/v0/Version', '/v1/Version', '/v1/Attest', '/prpc/DstackGuest.GetKey'];
    assert.deepEqual(await statuses(t, '0.6', paths), [200, 200, 200, 200, 200]);
    assert.deepEqual(await statuses(t, '0.6', ['/GpuInfo', '/v1/GetQuote', '/v2/Info']), [400, 400, 404]);
  });

  test('0.5 has neither Version nor v1', async (t) => {
    const paths = ['/GetKey', '/Info', '/prpc/Attest', '/Version', '/GpuInfo', '/v1/Attest', '/v1/AttestGpu'];
    assert.deepEqual(await statuses(t, '0.5', paths), [200, 200, 200, 400, 400, 404, 404]);
  });

  test('tappd has its own names, under /prpc alone', async (t) => {
    const paths = ['/prpc/Tappd.Info', '/prpc/Info', '/Info', '/prpc/Tappd.GetKey', '/prpc/Tappd.DeriveKey'];
    assert.deepEqual(await statuses(t, 'tappd', paths), [200, 200, 404, 400, 400]);
  });

  test('tappd hashes report data behind a prefix, unless it is told not to', async (t) => {
    const { socket } = await start(t, { agentVersion: 'tappd' });
    const reportData = async (method: string, args: object): Promise<string> => {
      const { text } = await send(socket, `/prpc/Tappd.${method}`, JSON.stringify(args));
      return JSON.parse(text).quote.slice(2 * 568, 2 * 632); // version 4: 48 + 520
    };
    const data = 'ab'.repeat(64);
    const hashed = (prefix: string) =>
      createHash('sha512').update(prefix).update(Buffer.from(data, 'hex')).digest('hex');
    assert.equal(await reportData('RawQuote', { report_data: data }), data);
    assert.equal(await reportData('TdxQuote', { report_data: data, hash_algorithm: 'raw' }), data);
    assert.equal(await reportData('TdxQuote', { report_data: data }), hashed('app-data:'));
    assert.equal(await reportData('TdxQuote', { report_data: data, prefix: 'x:' }), hashed('x:'));
    const { status } = await send(socket, '/prpc/Tappd.TdxQuote', '{"hash_algorithm":"keccak256"}');
    assert.equal(status, 400);
  });

  test('tappd and dstack derive the same bytes for a path', async (t) => {
    const keys = [];
    const first = await start(t, { agentVersion: 'tappd' });
    keys.push(JSON.parse((await send(first.socket, '/prpc/Tappd.DeriveK256Key', '{"path":"a"}')).text).k256_key);
    const state = first.policyFile.replace(/\/policy\.json$/, '');
    const second = await start(t, { state });
    keys.push(JSON.parse((await send(second.socket, '/GetKey', '{"path":"a"}')).text).key);
    assert.equal(keys[0], keys[1]);
    assert.equal(first.codeHash, second.codeHash);
  });
});

suite('GPUs', () => {
  const attest = async (socket: string, args: object) =>
    JSON.parse((await send(socket, '/v1/Attest', JSON.stringify(args))).text);

  test('the record of the boot is shown byte for byte, when it is asked for', async (t) => {
    const { socket } = await start(t, { gpuRecord: RECORD });
    const { attestation, boottime_gpu_evidence: bundles } = await attest(socket, {
      include_boottime_gpu_evidence: true,
    });
    assert.match(attestation, /^0000/);
    const format = 'nvidia-nvattest-boottime-json-v1';
    assert.deepEqual(bundles, [{ vendor: 'nvidia', format, evidence: Buffer.from(RECORD).toString('hex') }]);
    assert.deepEqual((await attest(socket, {})).boottime_gpu_evidence, []);
    const { socket: without } = await start(t);
    assert.deepEqual((await attest(without, { include_boottime_gpu_evidence: true })).boottime_gpu_evidence, []);
  });

  test('none can be asked now: 501, and 400 for a nonce that is none', async (t) => {
    const { socket } = await start(t, { gpuRecord: RECORD });
    for (const [bytes, status] of [
      [32, 501],
      [31, 400],
      [33, 400],
    ] as const)
      assert.equal((await send(socket, '/v1/AttestGpu', `{"nonce":"${'00'.repeat(bytes)}"}`)).status, status);
  });
});
