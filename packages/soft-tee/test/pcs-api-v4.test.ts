/** Intel PCS API v4 over HTTP: paths, headers, encodings, and the signed text byte for byte. */
import assert from 'node:assert/strict';
import { verify, X509Certificate } from 'node:crypto';
import { suite, test } from 'node:test';
import { start } from './harness.ts';

const FMSPC = '00FF00FF00FF';

const pemsOf = (header: string | null): X509Certificate[] =>
  decodeURIComponent(header ?? '')
    .split(/(?<=-----END CERTIFICATE-----\n)/)
    .filter((text) => text.trim() !== '')
    .map((text) => new X509Certificate(text));

suite('PCS API v4', () => {
  const documents = [
    { path: `/tdx/certification/v4/tcb?fmspc=${FMSPC}`, name: 'tcbInfo', header: 'TCB-Info-Issuer-Chain', id: 'TDX' },
    {
      path: '/tdx/certification/v4/qe/identity?update=standard',
      name: 'enclaveIdentity',
      header: 'SGX-Enclave-Identity-Issuer-Chain',
      id: 'TD_QE',
    },
  ];
  for (const { path, name, header, id } of documents)
    test(`${name} is signed text that can be cut out of the answer, by the leaf of ${header}`, async (t) => {
      const tee = await start(t);
      const response = await fetch(tee.pccsUrl + path);
      assert.equal(response.status, 200);
      const body = await response.text();
      const signature = Buffer.from(JSON.parse(body).signature, 'hex');
      const text = body.slice(`{"${name}":`.length, -`,"signature":"${signature.toString('hex')}"}`.length);
      const [leaf, root] = pemsOf(response.headers.get(header));
      const key = { key: leaf!.publicKey, dsaEncoding: 'ieee-p1363' as const };
      assert.ok(verify('sha256', Buffer.from(text), key, signature));
      assert.ok(!verify('sha256', Buffer.from(text.replace('UpToDate', 'Revoked')), key, signature));
      assert.equal(root!.fingerprint256.replaceAll(':', '').toLowerCase(), tee.rootSha256);
      assert.ok(leaf!.verify(root!.publicKey) && leaf!.checkIssued(root!));
      const document = JSON.parse(text);
      assert.equal(document.id, id);
      assert.ok(Date.parse(document.issueDate) <= Date.now());
      assert.equal(Date.parse(document.nextUpdate) - Date.parse(document.issueDate), 30 * 86_400_000);
      assert.equal(document.tcbEvaluationDataNumber, tee.policy.minTcbEvaluationDataNumber);
    });

  test('revocation lists come as DER and as hex, with the chain of the PCK CA', async (t) => {
    const tee = await start(t);
    const get = (query: string) => fetch(`${tee.pccsUrl}/sgx/certification/v4/${query}`);
    const der = await get('pckcrl?ca=platform&encoding=der');
    const hex = await get('pckcrl?ca=processor&encoding=hex');
    assert.equal(Buffer.from(await der.arrayBuffer()).toString('hex'), await hex.text());
    const [ca, root] = pemsOf(der.headers.get('SGX-PCK-CRL-Issuer-Chain'));
    assert.ok(ca!.ca && ca!.verify(root!.publicKey));
    assert.match(await (await get('rootcacrl')).text(), /^30(?:[0-9a-f]{2})+$/);
  });

  test('collateral is issued anew long before it expires, and at each fault', async (t) => {
    t.mock.timers.enable({ apis: ['Date'], now: Date.now() });
    const tee = await start(t);
    const issued = async () => {
      const { tcbInfo } = await (await fetch(`${tee.pccsUrl}/tdx/certification/v4/tcb?fmspc=${FMSPC}`)).json();
      return (Date.now() - Date.parse(tcbInfo.issueDate)) / 86_400_000;
    };
    const days = [];
    for (const wait of [0, 6, 2, 28]) {
      t.mock.timers.tick(wait * 86_400_000);
      days.push(Math.round(await issued()));
    }
    assert.deepEqual(days, [0, 6, 0, 0]);
    await tee.setFault('expired-collateral');
    assert.equal(Math.round(await issued()), 60);
  });

  test('another FMSPC, CA, path or method is not found', async (t) => {
    const tee = await start(t);
    const absent = [
      'tdx/certification/v4/tcb?fmspc=00906ED50000',
      'tdx/certification/v4/tcb',
      'sgx/certification/v4/pckcrl?ca=other',
      '',
    ];
    for (const path of absent) assert.equal((await fetch(`${tee.pccsUrl}/${path}`)).status, 404, path);
    assert.equal((await fetch(`${tee.pccsUrl}/sgx/certification/v4/rootcacrl`, { method: 'POST' })).status, 404);
    assert.equal((await fetch(`${tee.pccsUrl}//`)).status, 400);
  });
});
