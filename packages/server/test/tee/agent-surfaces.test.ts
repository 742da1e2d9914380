/** The same client against dstack 0.6, 0.5 and tappd, as the software TEE plays them; and where it looks for them. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { suite, type TestContext, test } from 'node:test';
import { type SoftTeeOptions, startSoftTee } from '@abaton/soft-tee';
import { computeReportData, parsePolicy, verifyEvidence } from '@abaton/verify';
import { openGuestAgent } from '../../src/tee/agent-client.ts';
import { parseAgentEndpoint } from '../../src/tee/agent-socket.ts';
import { createCollateralSource } from '../../src/tee/collateral.ts';
import { jsonAgent, scratch, unavailable } from './fake-agent.ts';

const COMPOSE = '{"name":  "ἄβατον"}';
const REPORT_DATA = Buffer.from(Array.from({ length: 64 }, (_, i) => i));
const TAPPD_TOO_OLD = unavailable(/needs dstack 0\.5 or newer: mount its dstack\.sock/);

async function start(t: TestContext, options: Partial<SoftTeeOptions> = {}) {
  const dir = scratch(t);
  const socket = join(dir, options.agentVersion === 'tappd' ? 'tappd.sock' : 'dstack.sock');
  const tee = await startSoftTee({ state: join(dir, 'tee'), socket, compose: COMPOSE, ...options });
  t.after(() => tee.close());
  return { tee, agent: openGuestAgent(tee.socket) };
}

suite('surfaces', () => {
  test('0.5 and 0.6 give the same app, the same keys, and certificates for any subject', async (t) => {
    const state = join(scratch(t), 'state');
    const seen = [];
    for (const agentVersion of ['0.6', '0.5'] as const) {
      const { tee, agent } = await start(t, { agentVersion, state });
      const { chainPem } = await agent.getTlsKey({ subject: 'Charité ἄβατον', altNames: ['localhost'] });
      assert.match(new X509Certificate(chainPem[0]!).subject, /Charité ἄβατον/);
      const { quote, eventLog } = await agent.getQuote(REPORT_DATA);
      assert.ok(Buffer.from(quote).includes(REPORT_DATA) && eventLog.length > 5);
      const { measurements, appCompose, ...app } = await agent.info();
      assert.equal(appCompose, COMPOSE);
      seen.push({ ...app, measurements, key: Buffer.from(await agent.getKey('abaton/v1/vault')).toString('hex') });
      await tee.close();
    }
    assert.deepEqual(seen[0], seen[1]);
  });

  test('evidence made with either agent verifies, from the quote to the code hash', async (t) => {
    for (const agentVersion of ['0.6', '0.5'] as const) {
      const { tee, agent } = await start(t, { agentVersion });
      const zeros = '00'.repeat(32);
      const reportData = {
        ...{ nonce: zeros, tlsSpkiSha256: zeros, tlsExporterSha256: null, hpkePublicKey: null, auditLogVkeys: [] },
        ...{ gpuEvidenceSha256: null, manifestSha256: zeros, policySha256: zeros, modelRegistrySha256: zeros },
        checkpoint: '',
      };
      const { quote, eventLog } = await agent.getQuote(computeReportData(reportData));
      const collateral = createCollateralSource({ pccsUrls: [tee.pccsUrl], directory: null, maxAgeMs: 0 });
      const { appCompose } = await agent.info();
      const verdict = await verifyEvidence({
        evidence: {
          ...{ version: 1, teeType: 'intel-tdx', quote: Buffer.from(quote).toString('hex'), eventLog, appCompose },
          ...{ reportData, collateral: await collateral.collateralFor(quote), gpu: null },
          requested: { hipaa: true, baaSigned: false, attestationPublic: true },
        },
        policy: parsePolicy(tee.policy),
        nowMs: Date.now(),
        expect: { nonce: zeros, tlsSpkiSha256: zeros },
        acceptedRootsSha256: [tee.rootSha256],
      });
      assert.deepEqual([verdict.valid, verdict.trust, verdict.codeHash], [true, 'simulated', tee.codeHash]);
    }
  });

  test('Version: agents before 0.5.7 do not say', async (t) => {
    assert.match((await (await start(t)).agent.version()).version, /^0\.6/);
    const { agent } = await start(t, { agentVersion: '0.5' });
    assert.deepEqual(await agent.version(), { version: '0.5', rev: '' });
    const tappd = (await start(t, { agentVersion: 'tappd' })).agent;
    assert.deepEqual(await tappd.version(), { version: 'tappd', rev: '' });
  });

  test('tappd makes quotes over exactly what is asked; keys and certificates are refused, though it would give some', async (t) => {
    const { tee, agent } = await start(t, { agentVersion: 'tappd' });
    assert.equal((await agent.info()).appCompose, COMPOSE);
    const { quote } = await agent.getQuote(REPORT_DATA);
    assert.deepEqual(Buffer.from(quote.subarray(568, 632)), REPORT_DATA);
    assert.equal(await statusOf(tee.socket, '/prpc/Tappd.DeriveK256Key'), 200);
    await assert.rejects(agent.getKey('abaton/v1/vault'), TAPPD_TOO_OLD);
    await assert.rejects(agent.getTlsKey({ subject: 'a', altNames: [] }), TAPPD_TOO_OLD);
    assert.equal(await agent.gpuInfo(), null);
    assert.equal(await agent.gpuEvidence(Buffer.alloc(32)), null);
  });

  test('event logs of the second kind carry what was hashed, which is not taken over', async (t) => {
    const { agent } = await start(t);
    const { quote, eventLog } = await agent.getQuote(REPORT_DATA);
    const second = eventLog.map((event) => ({ ...event, version: 2, preimage: '7b7d' }));
    const answer = { quote: Buffer.from(quote).toString('hex'), event_log: JSON.stringify(second) };
    const { eventLog: read } = await (await jsonAgent(t, { '/GetQuote': answer })).getQuote(REPORT_DATA);
    assert.deepEqual(
      read,
      eventLog.map((event) => ({ ...event, version: 2 })),
    );
  });
});

suite('what GPUs say', () => {
  const RECORD = '{\n "claims": [ ],  "note": "\u00e9"}\n'; // its SHA-256 counts, so every byte does
  const bundle = (evidence: string, format: string, vendor = 'nvidia') => ({
    vendor,
    format,
    evidence: Buffer.from(evidence).toString('hex'),
  });
  const AT_BOOT = 'nvidia-nvattest-boottime-json-v1';
  const NOW = 'nvidia-nvattest-collect-evidence-json-v1';

  test('gpuInfo: the record of the boot, byte for byte; null without a GPU, and where no agent has such a method', async (t) => {
    assert.equal(await (await start(t, { gpuRecord: RECORD })).agent.gpuInfo(), RECORD);
    assert.equal(await (await start(t)).agent.gpuInfo(), null);
    assert.equal(await (await start(t, { agentVersion: '0.5', gpuRecord: RECORD })).agent.gpuInfo(), null);
    assert.equal(await (await jsonAgent(t, { '/GpuInfo': { attestation: RECORD } })).gpuInfo(), RECORD);
    assert.equal(await (await jsonAgent(t, { '/GpuInfo': { attestation: '' } })).gpuInfo(), null);
    assert.equal(await (await jsonAgent(t, {})).gpuInfo(), null);
  });

  test('gpuEvidence: for the nonce that was given; null where there is no GPU to ask', async (t) => {
    for (const agentVersion of ['0.6', '0.5'] as const)
      assert.equal(await (await start(t, { agentVersion })).agent.gpuEvidence(Buffer.alloc(32, 1)), null);
    const agent = await jsonAgent(t, { '/v1/AttestGpu': { bundles: [bundle('[]', NOW)] } });
    assert.equal(await agent.gpuEvidence(Buffer.alloc(32, 1)), '[]');
    const { agent: strict } = await start(t);
    await assert.rejects(strict.gpuEvidence(Buffer.alloc(31)), unavailable(/AttestGpu: status 400/));
  });

  test('one kind is not taken for the other, nor one vendor for another; two are refused', async (t) => {
    const ask = async (bundles: unknown) =>
      (await jsonAgent(t, { '/v1/AttestGpu': { bundles } })).gpuEvidence(Buffer.alloc(32));
    assert.equal(await ask([bundle('[]', AT_BOOT)]), null);
    assert.equal(await ask([bundle('[]', NOW, 'amd'), bundle('[1]', NOW)]), '[1]');
    await assert.rejects(ask([bundle('[]', NOW), bundle('[]', NOW)]), unavailable(/NVIDIA twice/));
    for (const bad of [
      {},
      7,
      [7],
      [{}],
      [{ ...bundle('', NOW), evidence: 'FF' }],
      [{ ...bundle('', NOW), evidence: 'ff' }],
    ])
      await assert.rejects(ask(bad), unavailable(/malformed/), JSON.stringify(bad));
  });
});

suite('where the agent is', () => {
  test('the first socket in order; a file that is none is passed over; none is an error that says where', async (t) => {
    const { tee } = await start(t);
    const dir = scratch(t);
    const file = join(dir, 'dstack.sock');
    writeFileSync(file, '');
    const other = await start(t, { agentVersion: '0.5' });
    const sockets = [join(dir, 'none'), file, other.tee.socket, tee.socket];
    assert.equal((await openGuestAgent(null, { sockets }).version()).version, '0.5');
    const tappd = await start(t, { agentVersion: 'tappd' });
    const last = openGuestAgent(null, { sockets: [file, tappd.tee.socket] });
    assert.equal((await last.version()).version, 'tappd');
    await assert.rejects(
      openGuestAgent(null, { sockets: [file] }).info(),
      unavailable(/No guest agent socket at .*dstack/),
    );
  });

  test('http:// on loopback, as simulators serve it', async (t) => {
    const server = createServer((_, response) => response.end('{"version":"0.5.11","rev":""}'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.after(() => server.close().closeAllConnections());
    const { port } = server.address() as AddressInfo;
    for (const url of [`http://127.0.0.1:${port}`, `http://localhost:${port}/`])
      assert.equal((await openGuestAgent(url).version()).version, '0.5.11');
    assert.deepEqual(parseAgentEndpoint('http://[::1]:8090').to, { host: '::1', port: 8090 });
    assert.deepEqual(parseAgentEndpoint('http://127.1.2.3').to, { host: '127.1.2.3', port: 80 });
  });

  test('keys go nowhere else in clear', () => {
    const refused = [
      ...['http://10.0.0.1:8090', 'http://agent:8090', 'http://127.0.0.1.example', 'http://localhost.example:1'],
      ...['https://127.0.0.1:8090', 'ftp://127.0.0.1', 'http://user:pw@127.0.0.1:1', 'http://127.0.0.1:1/path'],
      ...['http://127.0.0.1:1/?x', 'http://127.0.0.1:99999', 'HTTP://example.org', 'http://'],
    ];
    for (const endpoint of refused)
      assert.throws(() => openGuestAgent(endpoint), { name: 'ConfigurationError', code: 'SETTING_INVALID' }, endpoint);
  });
});

const statusOf = (socketPath: string, path: string): Promise<number | undefined> =>
  new Promise((resolve, reject) => {
    request({ socketPath, path, method: 'POST', agent: false }, (response) => resolve(response.resume().statusCode))
      .on('error', reject)
      .end('{}');
  });
