/**
 * Evidence of GPUs. NVIDIA's `nvattest` is played by executables of this test that print what its real one has printed
 * (recorded by NVIDIA, SOURCES.md of the shared data); its services by a server of this test.
 */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { suite, type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { inspect } from 'node:util';
import { computeGpuEvidenceSha256, gpuNeeds, parseGpuEvidence } from '@abaton/verify';
import { createGpuReferences, type GpuReferencesOptions } from '../../src/tee/gpu-references.ts';
import { createGpuSource, type GpuSourceOptions } from '../../src/tee/gpu-source.ts';
import { httpAgent, jsonAgent, scratch } from './fake-agent.ts';

const data = process.env.ABATON_TEST_DATA ?? fileURLToPath(new URL('../../../../../shared/data', import.meta.url));
const folder = `${data}/gpu-attestation/attestation-sdk`;
const skip = existsSync(folder) ? false : 'needs ABATON_TEST_DATA';
const recorded = () => JSON.parse(readFileSync(`${folder}/evidence/hopper_evidence.json`, 'utf8'));
const RIM_IDS = ['NV_GPU_DRIVER_GH100_590.12', 'NV_GPU_VBIOS_G520_0200_885_9600A50001']; // of that device
const CANARY = 'canary-of-an-operator';
const refused = (message: RegExp) => ({ name: 'UnavailableError', code: 'GPU_EVIDENCE_UNAVAILABLE', message });

/** An nvattest whose body is JavaScript, in a folder of its own. */
function fakeNvattest(t: TestContext, body: string): { command: string; dir: string } {
  const dir = scratch(t);
  const command = join(dir, 'nvattest');
  writeFileSync(command, `#!${process.execPath}\nconst fs = require('node:fs');\n${body}`, { mode: 0o755 });
  return { command, dir };
}

const printing = (t: TestContext, output: unknown): string => {
  const { command, dir } = fakeNvattest(t, `fs.writeSync(1, fs.readFileSync(__dirname + '/output'));`);
  writeFileSync(join(dir, 'output'), typeof output === 'string' ? output : JSON.stringify(output));
  return command;
};

const NO_AGENT = { gpuEvidence: () => Promise.reject(new Error('the agent was asked')) };
const source = (options: Partial<GpuSourceOptions>) =>
  createGpuSource({ agent: NO_AGENT, command: null, references: null, ...options });
const ok = (evidences: unknown) => ({ evidences, result_code: 0, result_message: 'Ok' });

suite('nvattest', () => {
  test("real evidence is what a verifier reads; the tool is called with NVIDIA's options and none of our settings", {
    skip,
  }, async (t) => {
    const list = recorded();
    const { command, dir } = fakeNvattest(
      t,
      `fs.writeFileSync(__dirname + '/seen', JSON.stringify({ args: process.argv.slice(2), env: Object.keys(process.env) }));
       fs.writeSync(2, 'a line on stderr');
       console.log(JSON.stringify(${JSON.stringify({ ...ok(list), newer: 1 })}, null, 4));`,
    );
    const nonce = list[0].nonce;
    const found = await source({ command }).collect(nonce);
    assert.deepEqual(found, { evidence: parseGpuEvidence(list), rims: [], ocspResponses: [] });
    assert.match(computeGpuEvidenceSha256(found!.evidence), /^[0-9a-f]{64}$/);
    assert.deepEqual(JSON.parse(readFileSync(join(dir, 'seen'), 'utf8')), {
      args: ['collect-evidence', '--device', 'gpu', '--nonce', nonce, '--format', 'json'],
      env: ['PATH'],
    });
  });

  test('evidence for another nonce is refused, whether the list says so or only the report', { skip }, async (t) => {
    const list = recorded();
    const nonce = randomBytes(32).toString('hex');
    const other = refused(/for another nonce/);
    await assert.rejects(source({ command: printing(t, ok(list)) }).collect(nonce), other);
    const relabelled = list.map((one: object) => ({ ...one, nonce }));
    await assert.rejects(source({ command: printing(t, ok(relabelled)) }).collect(nonce), other);
    await assert.rejects(source({ command: printing(t, ok(relabelled)) }).collect(list[0].nonce), other);
    const both = [...list, ...relabelled];
    await assert.rejects(source({ command: printing(t, ok(both)) }).collect(list[0].nonce), other);
  });

  test('a tool that fails, prints something else, or is none; what it said is nowhere in the error', async (t) => {
    const nonce = '00'.repeat(32);
    const bad: [string, RegExp][] = [
      [
        fakeNvattest(t, `console.log('${CANARY}'); console.error('${CANARY}'); process.exit(1);`).command,
        /ended with 1/,
      ],
      [
        fakeNvattest(t, `process.kill(process.pid, 'SIGTERM'); setTimeout(() => {}, 1e6);`).command,
        /ended with SIGTERM/,
      ],
      [printing(t, `${CANARY} {`), /not JSON/],
      [printing(t, ''), /not JSON/],
      [printing(t, `{"evidences": [], "result_code": 0} ${CANARY}`), /not JSON/],
      [printing(t, { evidences: null, result_code: 4, result_message: CANARY }), /reported no success/],
      [printing(t, { evidences: [], result_code: '0' }), /reported no success/],
      [printing(t, 'null'), /reported no success/],
      [printing(t, ok([])), /no evidence \(GPU_EVIDENCE_MALFORMED\)/],
      [printing(t, ok(null)), /no evidence \(GPU_EVIDENCE_MALFORMED\)/],
      [printing(t, ok([{ arch: CANARY }])), /no evidence \(GPU_EVIDENCE_UNSUPPORTED\)/],
      [printing(t, ok([{ arch: 'HOPPER', nonce, evidence: '!', certificate: CANARY }])), /GPU_EVIDENCE_MALFORMED/],
      [join(scratch(t), 'none'), /cannot be run \(ENOENT\)/],
      [scratch(t), /cannot be run \(EACCES\)/],
    ];
    for (const [command, message] of bad) {
      const error = await source({ command })
        .collect(nonce)
        .catch((error) => error);
      assert.throws(() => {
        throw error;
      }, refused(message));
      assert.doesNotMatch(inspect(error, { depth: 9 }), new RegExp(CANARY), `${message}`);
    }
  });

  test('a tool that hangs is ended, and so is what it has started', { timeout: 20_000 }, async (t) => {
    const dir = scratch(t);
    const command = join(dir, 'nvattest');
    const body = 'sleep 1000 &\necho "$$ $!" > "$(dirname "$0")/pids"\nwait\n';
    writeFileSync(command, `#!/bin/sh\n${body}`, { mode: 0o755 });
    await assert.rejects(source({ command, timeoutMs: 1_000 }).collect('00'.repeat(32)), refused(/within 1000 ms/));
    const pids = readFileSync(join(dir, 'pids'), 'utf8').trim().split(' ');
    assert.equal(pids.length, 2);
    for (const pid of pids) while (isRunning(pid)) await new Promise((resolve) => setTimeout(resolve, 10));
  });

  test('a tool that prints 100 MB is ended long before', async (t) => {
    const { command, dir } = fakeNvattest(
      t,
      `const piece = Buffer.alloc(65536, 32);
       for (let i = 0; i < 1600; i++) fs.writeSync(1, piece);
       fs.writeFileSync(__dirname + '/done', '');`,
    );
    await assert.rejects(source({ command }).collect('00'.repeat(32)), refused(/more than 4194304 bytes/));
    assert.ok(!existsSync(join(dir, 'done')));
  });

  test('one run at a time, few strangers that wait, and a failure is not that of the next', { skip }, async (t) => {
    const list = recorded();
    const { command, dir } = fakeNvattest(
      t,
      `const nonce = process.argv[6], lock = __dirname + '/lock';
       fs.writeFileSync(lock, '', { flag: 'wx' }); // throws when another one runs
       setTimeout(() => {
         fs.unlinkSync(lock);
         if (nonce !== '${list[0].nonce}') process.exit(1);
         console.log(JSON.stringify(${JSON.stringify(ok(list))}));
       }, 20);`,
    );
    const gpus = source({ command });
    const order: string[] = [];
    const asked = Array.from({ length: 11 }, (_, i) => {
      const one = gpus.collect(i % 2 ? '00'.repeat(32) : list[0].nonce);
      one.catch(() => {}).then(() => order.push(i < 9 ? `${i}` : 'refused'));
      return one;
    });
    const own = gpus.collect(list[0].nonce, true).then(() => order.push('own'));
    const outcomes = (await Promise.allSettled(asked)).map((one) =>
      one.status === 'fulfilled' ? 'found' : one.reason.code,
    );
    const each = ['found', 'GPU_EVIDENCE_UNAVAILABLE'];
    assert.deepEqual(outcomes, [...each, ...each, ...each, ...each, 'found', 'OVERLOADED', 'OVERLOADED']);
    await own;
    const inOrder = ['0', 'own', '1', '2', '3', '4', '5', '6', '7', '8'];
    assert.deepEqual(order, ['refused', 'refused', ...inOrder], 'that of the server itself goes first');
    assert.ok(!existsSync(join(dir, 'lock')));
    assert.ok(await gpus.collect(list[0].nonce));
  });

  test('only an absolute path is a command, only 64 hex digits are a nonce', async (t) => {
    for (const command of ['', 'nvattest', './nvattest', 'a; b'])
      assert.throws(() => source({ command }), { code: 'SETTING_INVALID' }, command);
    const { command } = fakeNvattest(t, '');
    for (const nonce of ['', '--help', '00', 'AB'.repeat(32), `${'00'.repeat(32)} `])
      await assert.rejects(source({ command }).collect(nonce), { code: 'NONCE_INVALID' }, nonce);
  });
});

suite('without a command the agent is asked', () => {
  test('an agent that has no GPU, or cannot say: none; one that fails: not none', async (t) => {
    assert.equal(await source({ agent: await jsonAgent(t, {}) }).collect('00'.repeat(32)), null);
    const failing = await httpAgent(t, (_, response) => response.writeHead(500).end());
    await assert.rejects(source({ agent: failing }).collect('00'.repeat(32)), { code: 'AGENT_UNAVAILABLE' });
  });

  test('the list of dstack 0.6 is read like that of the command, and its nonce compared', { skip }, async (t) => {
    const list = recorded();
    const bundle = (text: string) => ({
      vendor: 'nvidia',
      format: 'nvidia-nvattest-collect-evidence-json-v1',
      evidence: Buffer.from(text).toString('hex'),
    });
    const agent = await jsonAgent(t, { '/v1/AttestGpu': { bundles: [bundle(JSON.stringify(list))] } });
    const found = await source({ agent }).collect(list[0].nonce);
    assert.deepEqual(found?.evidence, parseGpuEvidence(list));
    await assert.rejects(source({ agent }).collect('00'.repeat(32)), refused(/another nonce/));
    const garbage = await jsonAgent(t, { '/v1/AttestGpu': { bundles: [bundle('[')] } });
    await assert.rejects(source({ agent: garbage }).collect(list[0].nonce), refused(/not JSON/));
    const nothing = await jsonAgent(t, { '/v1/AttestGpu': { bundles: [bundle('null')] } });
    await assert.rejects(source({ agent: nothing }).collect(list[0].nonce), refused(/GPU_EVIDENCE_MALFORMED/));
  });
});

suite('reference measurements and revocation', { skip }, () => {
  const RIM = () => readFileSync(`${folder}/rims/NV_GPU_DRIVER_GH100_550.144.03.xml`); // judged by nobody here
  const OCSP_ANSWER = Buffer.from('3003020107', 'hex');

  /** NVIDIA's two services; `down` makes them answer 503. */
  async function services(t: TestContext) {
    const state = { down: false, asked: [] as string[] };
    const answer: RequestListener = async (request, response) => {
      const body = Buffer.concat(await request.toArray());
      state.asked.push(request.method === 'GET' ? `${request.url}` : createHash('sha256').update(body).digest('hex'));
      if (state.down) return response.writeHead(503).end();
      if (request.method === 'POST') return response.end(OCSP_ANSWER);
      const id = request.url!.replace('/v1/rim/', '');
      const file = RIM();
      const sha256 = createHash('sha256').update(file).digest('hex');
      return response.end(JSON.stringify({ id, rim: file.toString('base64'), sha256 }));
    };
    const server = createServer(answer);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.after(() => server.close().closeAllConnections());
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const clock = { nowMs: Date.parse('2026-01-01') };
    const troubles: string[] = [];
    const open = (more: Partial<GpuReferencesOptions> = {}) =>
      createGpuReferences({
        ...{ needs: gpuNeeds, rimUrl: url, ocspUrl: url, nowMs: () => clock.nowMs },
        onTrouble: (kind) => troubles.push(kind),
        ...more,
      });
    return { state, clock, troubles, open };
  }

  test('are attached, and asked for once while they are young', async (t) => {
    const { state, clock, troubles, open } = await services(t);
    const list = recorded();
    const gpus = source({ command: printing(t, ok(list)), references: open() });
    const found = await gpus.collect(list[0].nonce);
    assert.deepEqual(
      found!.rims,
      RIM_IDS.map(() => RIM().toString()),
    );
    assert.deepEqual(
      state.asked.slice(0, 2).sort(),
      RIM_IDS.map((id) => `/v1/rim/${id}`),
    );
    // three of the device, from the second certificate on, and those of the RIM's own chain, once each
    const requests = await gpuNeeds.ocspRequests(parseGpuEvidence(list), found!.rims);
    const distinct = new Set(requests.map((der) => createHash('sha256').update(der).digest('hex')));
    assert.ok(distinct.size > 3);
    assert.deepEqual(new Set(state.asked.slice(2)), distinct);
    assert.deepEqual(
      found!.ocspResponses,
      [...distinct].map(() => OCSP_ANSWER.toString('hex')),
    );
    const before = state.asked.length;
    assert.deepEqual(await gpus.collect(list[0].nonce), found);
    assert.equal(state.asked.length, before);
    clock.nowMs += 3_600_000;
    assert.deepEqual(await gpus.collect(list[0].nonce), found);
    assert.equal(state.asked.length, before + distinct.size, 'revocation is asked for again, measurements are not');
    assert.deepEqual(troubles, []);
  });

  test('of services that are down are missing, which is told once; what there was stays', async (t) => {
    const { state, clock, troubles, open } = await services(t);
    const references = open();
    const devices = parseGpuEvidence(recorded());
    state.down = true;
    assert.deepEqual(await references.referencesFor(devices), { rims: [], ocspResponses: [] });
    const asked = state.asked.length;
    assert.deepEqual(await references.referencesFor(devices), { rims: [], ocspResponses: [] });
    assert.equal(state.asked.length, asked, 'not asked again at once');
    clock.nowMs += 60_000;
    await references.referencesFor(devices);
    assert.ok(state.asked.length > asked);
    assert.deepEqual(troubles.sort(), ['ocsp', 'rim']);
    state.down = false;
    clock.nowMs += 60_000;
    const found = await references.referencesFor(devices);
    assert.equal(found.rims.length, 2);
    assert.ok(found.ocspResponses.length > 3);
    state.down = true;
    clock.nowMs += 86_400_000;
    assert.deepEqual(await references.referencesFor(devices), found);
    assert.deepEqual(troubles.sort(), ['ocsp', 'ocsp', 'rim', 'rim']);
  });

  test('of devices that cannot be read are none, and no trouble', async (t) => {
    const { troubles, state, open } = await services(t);
    const [device] = parseGpuEvidence(recorded());
    const broken = [{ ...device!, evidence: Buffer.alloc(50).toString('base64') }];
    assert.deepEqual((await open().referencesFor(broken)).rims, []);
    assert.ok(!state.asked.some((path) => path.startsWith('/v1/rim')));
    assert.deepEqual(troubles, []);
  });
});

/** A process that nobody has waited for is a zombie: it runs no more. */
function isRunning(pid: string): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
