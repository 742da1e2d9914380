/**
 * PCCS API v4 (Intel, "SGX/TDX Provisioning Certificate Caching Service, design guide"): real collateral, served in the
 * API's forms by a server of this test, comes back byte for byte; anything else is refused.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { TdxCollateral } from '@abaton/verify';
import { fetchCollateral } from '../src/pccs.ts';

const CERTIFICATE = '-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n';

/** Of the form of the real one; used where the answer only has to be well formed. */
const MADE: TdxCollateral = {
  pck_crl_issuer_chain: CERTIFICATE,
  root_ca_crl: '3003020101',
  pck_crl: '3003020102',
  tcb_info_issuer_chain: CERTIFICATE,
  tcb_info: '{"id":"TDX", "note":"white space, }} and \\" stay"}',
  tcb_info_signature: 'ab'.repeat(64),
  qe_identity_issuer_chain: CERTIFICATE,
  qe_identity: '{"id":"TD_QE"}',
  qe_identity_signature: 'cd'.repeat(64),
};

interface Answer {
  status?: number;
  headers?: Record<string, string>;
  body: string | Buffer;
}

const served = (c: TdxCollateral): Record<string, Answer> => ({
  '/tdx/certification/v4/tcb?fmspc=b0c06f000000': {
    headers: { 'TCB-Info-Issuer-Chain': encodeURIComponent(c.tcb_info_issuer_chain) },
    body: `{"tcbInfo":${c.tcb_info},"signature":"${c.tcb_info_signature}"}`,
  },
  '/tdx/certification/v4/qe/identity': {
    headers: { 'SGX-Enclave-Identity-Issuer-Chain': encodeURIComponent(c.qe_identity_issuer_chain) },
    body: `{"enclaveIdentity":${c.qe_identity},"signature":"${c.qe_identity_signature}"}`,
  },
  '/sgx/certification/v4/pckcrl?ca=platform&encoding=der': {
    headers: { 'SGX-PCK-CRL-Issuer-Chain': encodeURIComponent(c.pck_crl_issuer_chain) },
    body: Buffer.from(c.pck_crl, 'hex'),
  },
  '/sgx/certification/v4/rootcacrl': { body: c.root_ca_crl },
});

const TCB = '/tdx/certification/v4/tcb?fmspc=b0c06f000000';
const PCK_CRL = '/sgx/certification/v4/pckcrl?ca=platform&encoding=der';
let server: Server;
let url: string;
let answers: Record<string, Answer>;

before(async () => {
  server = createServer((request, response) => {
    const { status = 200, headers = {}, body } = answers[request.url!] ?? { status: 404, body: '' };
    response.writeHead(status, headers).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

beforeEach(() => {
  answers = served(MADE);
});

after(() => {
  server.close().closeAllConnections();
});

const fetchIt = (base = url) => fetchCollateral(base, { fmspc: 'b0c06f000000', ca: 'platform' });

test('signed texts, chains and CRLs come back byte for byte, from either form of address', async () => {
  assert.deepEqual(await fetchIt(), MADE);
  assert.deepEqual(await fetchIt(`${url}/`), MADE);
  assert.deepEqual(await fetchIt(`${url}/sgx/certification/v4/`), MADE);
});

test('a CRL may come as DER or as hexadecimal text', async () => {
  answers[PCK_CRL]!.body = `${MADE.pck_crl.toUpperCase()}\n`;
  answers['/sgx/certification/v4/rootcacrl']!.body = Buffer.from(MADE.root_ca_crl, 'hex');
  assert.deepEqual(await fetchIt(), MADE);
});

test('real collateral (near/mpc) comes back byte for byte', async (t) => {
  const data = process.env.ABATON_TEST_DATA ?? fileURLToPath(new URL('../../../../shared/data', import.meta.url));
  let real: TdxCollateral & { pck_certificate_chain?: string };
  try {
    real = JSON.parse(readFileSync(`${data}/attestation/near-mpc/collateral.json`, 'utf8'));
  } catch {
    return t.skip('needs ABATON_TEST_DATA');
  }
  const { pck_certificate_chain: _, ...collateral } = real;
  answers = served(collateral);
  assert.deepEqual(await fetchIt(), collateral);
});

test('an answer that is not of the API is no collateral', async () => {
  const wrong: [string, Partial<Answer>][] = [
    [TCB, { status: 500 }],
    [TCB, { status: 302, headers: { location: '/' } }],
    [TCB, { headers: {} }],
    [TCB, { headers: { 'TCB-Info-Issuer-Chain': '%zz' } }],
    [TCB, { body: '{"tcbInfo":{}}' }],
    [TCB, { body: `{"tcbInfo":{},"signature":"${'ab'.repeat(63)}"}` }],
    [TCB, { body: `{"tcbInfo":{},"signature":"${'ab'.repeat(64)}"} trailing` }],
    [TCB, { body: ' '.repeat(2 ** 20 + 1) }],
    [PCK_CRL, { body: 'Not a CRL' }],
    [PCK_CRL, { body: '' }],
    [PCK_CRL, { headers: {} }],
  ];
  for (const [path, change] of wrong) {
    answers = served(MADE);
    answers[path] = { ...answers[path]!, ...change };
    await assert.rejects(
      fetchIt(),
      { code: 'COLLATERAL_UNAVAILABLE', name: 'UnavailableError' },
      JSON.stringify(change).slice(0, 80),
    );
  }
  await assert.rejects(fetchIt('http://127.0.0.1:1'), { code: 'COLLATERAL_UNAVAILABLE' });
});
