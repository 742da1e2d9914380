/** dstack guest agent API, v0: transport, validation, Attest and GetTlsKey. */
import assert from 'node:assert/strict';
import { createHash, createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto';
import { suite, test } from 'node:test';
import * as tls from 'node:tls';
import fc from 'fast-check';
import { COMPOSE, call, getQuote, qvl, RUNS, scratch, send, start } from './harness.ts';
import { decodeAttestation } from './scale-reader.ts';

suite('guest agent transport', () => {
  test('serves POST and GET, short and prpc paths, with Content-Length', async (t) => {
    const tee = await start(t);
    for (const path of ['/Version', '/prpc/Version', '/prpc/DstackGuest.Version'])
      for (const body of ['{}', '', null]) {
        const { status, headers, text } = await send(tee.socket, path, body);
        assert.equal(status, 200, path);
        assert.equal(headers['content-length'], `${text.length}`);
        assert.equal(headers['transfer-encoding'], undefined);
        assert.match(JSON.parse(text).version, /simulated/);
      }
    const query = await send(tee.socket, '/GetKey?path=a&purpose=b&algorithm=k256', null);
    assert.equal(JSON.parse(query.text).key, (await call(tee, 'GetKey', { path: 'a' })).key);
    const names = JSON.parse((await send(tee.socket, '/GetTlsKey?alt_names=a.test&alt_names=b.test', null)).text);
    assert.equal(new X509Certificate(names.certificate_chain[0]).subjectAltName, 'DNS:a.test, DNS:b.test');
  });

  test('answers ASCII whatever the compose holds', async (t) => {
    const compose = JSON.stringify({ name: 'ἄβατον \u{1f3db}', docker_compose_file: '' });
    const tee = await start(t, { compose });
    const { headers, text } = await send(tee.socket, '/Info', '{}');
    assert.match(text, /^[\0-\x7e]*$/);
    assert.equal(headers['content-length'], `${text.length}`);
    assert.equal(JSON.parse(JSON.parse(text).tcb_info).app_compose, compose);
  });

  test('refuses what it does not understand with an error in JSON', async (t) => {
    const tee = await start(t);
    const refused: [path: string, body: string | Buffer | null, status: number, error: RegExp][] = [
      ['/EmitEvent', '{}', 400, /No such method/],
      ['/prpc/Tappd.Info', '{}', 400, /No such method/],
      ['/constructor', '{}', 400, /No such method/],
      ['//', '{}', 400, /Not a path/],
      ['/Info', '[]', 400, /not a JSON object/],
      ['/Info', '{', 400, /not a JSON object/],
      ['/Info', Buffer.from([0xff, 0xfe]), 400, /not UTF-8/],
      ['/Info', '{"path":1}', 400, /Unknown field path/],
      ['/GetQuote', '{"report_data":"0"}', 400, /report_data must be hex/],
      ['/GetQuote', '{"report_data":7}', 400, /report_data must be hex/],
      ['/GetKey', '{"algorithm":"rsa"}', 400, /Unsupported algorithm/],
      ['/GetKey', '{"algorithm":"secp256k1_prehashed"}', 400, /Unsupported algorithm/],
      ['/GetKey', JSON.stringify({ path: 'x'.repeat(4097) }), 400, /path must be text/],
      ['/GetTlsKey', '{"usage_ra_tls":"yes"}', 400, /usage_ra_tls must be/],
      ['/GetTlsKey', '{"alt_names":[{}]}', 400, /alt_names must be/],
      ['/GetTlsKey', '{"alt_names":["ä"]}', 400, /alt_names must be/],
      ['/GetTlsKey', '{"not_before":-1}', 400, /not_before must be/],
      ['/GetTlsKey', '{"not_after":1e15}', 400, /not_after must be/],
      ['/GetTlsKey', '{"not_before":2,"not_after":1}', 400, /earlier/],
      ['/GetTlsKey', '{"with_app_info":true}', 400, /with_app_info/],
      ['/Sign', '{"algorithm":"secp256k1_prehashed","data":"00"}', 400, /32-byte digest/],
      ['/Verify', '{"algorithm":"ed25519","public_key":"00","signature":"00"}', 400, /./],
      ['/GetQuote', Buffer.alloc(2 ** 20 + 1, ' '), 413, /more than 1048576 bytes/],
    ];
    for (const [path, body, status, error] of refused) {
      const answer = await send(tee.socket, path, body);
      assert.equal(answer.status, status, `${path} ${body?.toString().slice(0, 60)}`);
      assert.match(JSON.parse(answer.text).error, error);
    }
  });

  test('survives any JSON', async (t) => {
    const tee = await start(t);
    const method = fc.constantFrom('Info', 'GetKey', 'GetTlsKey', 'GetQuote', 'Attest', 'Sign', 'Verify', 'Version');
    const field = fc.constantFrom(
      'path',
      'purpose',
      'algorithm',
      'subject',
      'alt_names',
      'report_data',
      'data',
      'signature',
      'public_key',
      'not_after',
    );
    await fc.assert(
      fc.asyncProperty(method, fc.dictionary(field, fc.jsonValue(), { maxKeys: 3 }), async (name, args) => {
        const { status, text } = await send(tee.socket, `/${name}`, JSON.stringify(args));
        assert.ok(
          status === 200 || (status === 400 && typeof JSON.parse(text).error === 'string'),
          `${status} ${text}`,
        );
      }),
      RUNS,
    );
  });

  test('agent-down: 503 for everything, until the fault is gone', async (t) => {
    const tee = await start(t, { fault: 'agent-down' });
    assert.equal((await send(tee.socket, '/Info', '{}')).status, 503);
    await tee.setFault(null);
    assert.equal((await send(tee.socket, '/Info', '{}')).status, 200);
  });
});

suite('VersionedAttestation V0', () => {
  test('Attest carries quote, whole log, runtime events and report data, with nothing left over', async (t) => {
    const tee = await start(t);
    const { attestation } = await call(tee, 'Attest', { report_data: 'cd' });
    const decoded = decodeAttestation(Buffer.from(attestation!, 'hex'));
    const { event_log: log } = await call(tee, 'GetQuote');
    assert.deepEqual(decoded.eventLog, JSON.parse(log!));
    assert.equal(decoded.reportData, 'cd'.padEnd(128, '0'));
    assert.equal(
      Buffer.from(qvl.Quote.parse(decoded.quote).report.asTd10()!.reportData).toString('hex'),
      decoded.reportData,
    );
    assert.deepEqual(
      decoded.runtimeEvents,
      JSON.parse(log!)
        .filter(({ imr }: { imr: number }) => imr === 3)
        .map(({ event, event_payload: payload }: Record<string, string>) => ({ event, payload })),
    );
    assert.equal(decoded.rest, 0);
  });
});

suite('RA-TLS certificate', () => {
  const request = {
    subject: 'localhost',
    alt_names: ['localhost', '127.0.0.1'],
    usage_ra_tls: true,
    usage_server_auth: true,
  };

  test('binds its key: report_data = SHA512("ratls-cert:" ‖ SPKI), in .8 and in .1 with .2', async (t) => {
    const tee = await start(t);
    const { key, certificate_chain: chain } = await call<{ key: string; certificate_chain: string[] }>(
      tee,
      'GetTlsKey',
      request,
    );
    const [leaf, ca] = chain.map((pem) => new X509Certificate(pem));
    assert.ok(leaf!.verify(ca!.publicKey) && leaf!.checkIssued(ca!));
    assert.match(ca!.subject, /Dstack App CA \(SIMULATED\)/);
    assert.equal(leaf!.subjectAltName, 'DNS:localhost, IP Address:127.0.0.1');
    assert.ok(leaf!.raw.length < 20_000);
    assert.ok(leaf!.checkPrivateKey(createPrivateKey(key)));
    const spki = createPublicKey(key).export({ type: 'spki', format: 'der' });
    const expected = createHash('sha512').update('ratls-cert:').update(spki).digest('hex');
    const values = extensionsOf(leaf!.raw);
    const { quote, eventLog, reportData, rest } = decodeAttestation(values.get('8')!);
    assert.equal(rest, 0);
    assert.equal(reportData, expected);
    assert.ok(values.get('1')!.equals(quote));
    assert.equal(Buffer.from(qvl.Quote.parse(quote).report.asTd10()!.reportData).toString('hex'), expected);
    const whole = JSON.parse(values.get('2')!.toString());
    assert.deepEqual(whole, JSON.parse((await call(tee, 'GetQuote')).event_log!));
    // stripped as dstack strips it: RTMR3 only, digests left to the reader
    const stripped = whole
      .filter(({ imr }: { imr: number }) => imr === 3)
      .map((event: object) => ({ ...event, digest: '' }));
    assert.deepEqual(eventLog, stripped);
    assert.equal(values.get('3')!.toString('hex'), (await call(tee, 'Info')).app_id);
    assert.equal(values.get('4')!.toString(), 'app:custom');
  });

  test('has a fresh key each time, under the same authority key, and no quote unless asked', async (t) => {
    const tee = await start(t);
    const answers = [];
    for (let i = 0; i < 2; i++)
      answers.push(await call<{ key: string; certificate_chain: string[] }>(tee, 'GetTlsKey', { subject: 'a' }));
    assert.notEqual(answers[0]!.key, answers[1]!.key);
    const [first, second] = answers.map(({ certificate_chain: chain }) => new X509Certificate(chain[1]!).publicKey);
    assert.ok(first!.equals(second!));
    assert.deepEqual([...extensionsOf(new X509Certificate(answers[0]!.certificate_chain[0]!).raw).keys()], ['3', '4']);
  });

  test('keeps the dates that were asked for', async (t) => {
    const tee = await start(t);
    const dates = { not_before: 1_900_000_000, not_after: 1_900_003_600 };
    const { certificate_chain: chain } = await call<{ certificate_chain: string[] }>(tee, 'GetTlsKey', dates);
    const { validFrom, validTo } = new X509Certificate(chain[0]!);
    assert.deepEqual([Date.parse(validFrom) / 1000, Date.parse(validTo) / 1000], [dates.not_before, dates.not_after]);
  });

  test('carries a TLS 1.3 connection', { timeout: 30_000 }, async (t) => {
    const tee = await start(t);
    const { key, certificate_chain: chain } = await call<{ key: string; certificate_chain: string[] }>(
      tee,
      'GetTlsKey',
      request,
    );
    const server = tls.createServer({ key, cert: chain.join(''), minVersion: 'TLSv1.3' }, (socket) => socket.end('ok'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.after(() => server.close());
    const { port } = server.address() as { port: number };
    const socket = tls.connect({ port, host: '127.0.0.1', servername: 'localhost', ca: chain[1]! });
    let text = '';
    for await (const chunk of socket) text += chunk;
    assert.equal(text, 'ok');
  });
});

test('refuses a compose that dstack would not take', async (t) => {
  for (const compose of ['', '[]', 'null', '{"name":1}', JSON.stringify({ name: 'x', pad: 'y'.repeat(2 ** 18) })])
    await assert.rejects(start(t, { compose }), TypeError, compose.slice(0, 20));
  const tee = await start(t, { state: await scratch(t) });
  assert.equal(tee.codeHash, `sha256:${createHash('sha256').update(COMPOSE).digest('hex')}`);
  assert.equal((await getQuote(tee)).readUInt16LE(0), 4);
});

/** The values of dstack's extensions (1.3.6.1.4.1.62397.1.N), by N, each cut out of its two OCTET STRINGs. */
function extensionsOf(der: Buffer): Map<string, Buffer> {
  const found = new Map<string, Buffer>();
  const oid = Buffer.from('060a2b0601040183e73d01', 'hex');
  for (let at = der.indexOf(oid); at >= 0; at = der.indexOf(oid, at + 1)) {
    const outer = contentOf(der, at + oid.length + 1);
    found.set(`${der[at + oid.length]}`, contentOf(outer, 0));
  }
  return found;
}

function contentOf(der: Buffer, at: number): Buffer {
  const first = der[at + 1]!;
  const lengthBytes = first < 0x80 ? 0 : first & 0x7f;
  const length = lengthBytes === 0 ? first : der.readUIntBE(at + 2, lengthBytes);
  const start_ = at + 2 + lengthBytes;
  return der.subarray(start_, start_ + length);
}
