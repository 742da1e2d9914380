/**
 * From the command to the verdict: a simulated GPU is asked through a process, its reference measurements and revocation
 * through HTTP, and what the server would attach passes every check of a verifier; one thing missing or wrong shows.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { computeGpuNonce, gpuNeeds, parsePolicy, type Verdict, verifyFiles } from '@abaton/verify';
import { buildOcspRequest } from '../../../verify/src/pki/ocsp-cert-id.ts';
import { type Party, respond, revoked } from '../../../verify/test/support/ocsp-authority.ts';
import { goodDevice, gpuRootSha256, partiesOf, simulateGpu } from '../../../verify/test/support/simulated-gpu.ts';
import { NOW_MS } from '../../../verify/test/support/simulated-platform.ts';
import { makeRim, rimChain } from '../../../verify/test/support/simulated-rim.ts';
import { createGpuReferences } from '../../src/tee/gpu-references.ts';
import { createGpuSource } from '../../src/tee/gpu-source.ts';
import { scratch } from './fake-agent.ts';

const NONCE = computeGpuNonce('11'.repeat(32), '22'.repeat(32));
const golden = (index: number) =>
  new Map([
    [
      index,
      [
        String(index + 1)
          .padStart(2, '0')
          .repeat(48),
      ],
    ],
  ]);
const RIMS: Record<string, { xml: string; rootSha256: string }> = {
  'NV_GPU_DRIVER_GH100_580.159.03': makeRim({ kind: 'driver', version: '580.159.03', golden: golden(0) }),
  NV_GPU_VBIOS_G520_0200_885_9600740020: makeRim({ kind: 'vbios', version: '96.00.74.00.20', golden: golden(1) }),
};

/** NVIDIA's services for that device. `held`: the certificate whose authority has doubts. */
async function services(t: TestContext, rims: typeof RIMS, held: 'family' | null): Promise<string> {
  const { device, family, root } = partiesOf(goodDevice());
  const answers = new Map<string, Buffer>();
  for (const chain of [[device, family, root], rimChain])
    for (const [index, about] of chain.slice(0, -1).entries()) {
      const issuer = chain[index + 1] as Party;
      const status = held === 'family' && about === family ? { status: revoked(6) } : {}; // certificateHold
      const request = Buffer.from(buildOcspRequest(about.certificate, issuer.certificate));
      answers.set(request.toString('hex'), respond(issuer, [{ about, issuer, ...status }]));
    }
  const server = createServer(async (request, response) => {
    const body = Buffer.concat(await request.toArray());
    if (request.method === 'POST') return response.end(answers.get(body.toString('hex')));
    const id = request.url!.replace('/v1/rim/', '');
    const file = Object.hasOwn(rims, id) ? Buffer.from(rims[id]!.xml) : null;
    if (!file) return response.writeHead(404).end();
    const sha256 = createHash('sha256').update(file).digest('hex');
    return response.end(JSON.stringify({ id, rim: file.toString('base64'), sha256 }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close().closeAllConnections());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function judge(t: TestContext, rims = RIMS, held: 'family' | null = null): Promise<Verdict> {
  const url = await services(t, rims, held);
  const evidences = [simulateGpu((device) => Object.assign(device, { nonce: NONCE }))];
  const command = join(scratch(t), 'nvattest');
  const output = JSON.stringify({ evidences, result_code: 0, result_message: 'Ok' });
  writeFileSync(command, `#!/bin/sh\ncat <<'END'\n${output}\nEND\n`, { mode: 0o755 });
  const source = createGpuSource({
    agent: { gpuEvidence: async () => null },
    command,
    references: createGpuReferences({ needs: gpuNeeds, rimUrl: url, ocspUrl: url, onTrouble: () => {} }),
  });
  const collected = await source.collect(NONCE);
  assert.ok(collected);
  return verifyFiles(
    {
      gpuEvidence: collected.evidence,
      gpuNonce: NONCE,
      rims: collected.rims,
      ocspResponses: collected.ocspResponses.map((hex) => Buffer.from(hex, 'hex')),
    },
    {
      policy: parsePolicy({ version: 1, gpu: {} }),
      nowMs: NOW_MS,
      acceptedRootsSha256: [gpuRootSha256, RIMS['NV_GPU_DRIVER_GH100_580.159.03']!.rootSha256],
    },
  );
}

const of = ({ checks }: Verdict, name: string) => {
  const { status, code } = checks.find(({ id }) => id === name)!;
  return code ?? status;
};
const CHECKS = ['gpu', 'gpu-certificates', 'gpu-root', 'gpu-signature', 'gpu-firmware', 'gpu-nonce', 'gpu-rims'];

test('what is collected passes every check', async (t) => {
  const verdict = await judge(t);
  for (const check of [...CHECKS, 'gpu-revocation', 'gpu-measurements', 'gpu-devices'])
    assert.equal(of(verdict, check), 'pass', check);
});

test('a device on hold is refused by what its authority said', async (t) => {
  assert.equal(of(await judge(t, RIMS, 'family'), 'gpu-revocation'), 'CERTIFICATE_REVOKED');
});

test('what NVIDIA has not published is missing, and nothing else', async (t) => {
  const { NV_GPU_VBIOS_G520_0200_885_9600740020: _, ...driverOnly } = RIMS;
  const verdict = await judge(t, driverOnly as typeof RIMS);
  assert.equal(of(verdict, 'gpu-measurements'), 'RIM_MISSING');
  for (const check of [...CHECKS, 'gpu-revocation']) assert.equal(of(verdict, check), 'pass', check);
});
