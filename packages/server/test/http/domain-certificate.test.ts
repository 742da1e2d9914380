/** A domain of its own: OpenSSL reads the request and certifies it, and a client that knows only OpenSSL's CA connects. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createPrivateKey, randomBytes, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { connect } from 'node:tls';
import { AbatonError } from '@abaton/verify';
import { type DomainCertificate, openDomainCertificate } from '../../src/http/domain-certificate.ts';
import { openDoor, tlsSpkiSha256 } from '../../src/http/server.ts';

const dir = mkdtempSync(join(tmpdir(), 'abaton-domain-'));
const file = (name: string) => join(dir, name);
const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: dir, encoding: 'utf8', stdio: 'pipe' });
const seed = randomBytes(32);
const DOMAIN = 'ai.hospital.example';
const open = (chainFile: string | null, options: { seed?: Uint8Array; domain?: string; nowMs?: number } = {}) =>
  openDomainCertificate(
    options.seed ?? seed,
    options.domain ?? DOMAIN,
    chainFile && file(chainFile),
    () => options.nowMs ?? Date.now(),
  );
let domain: DomainCertificate;

function certify(request: string, out: string): void {
  openssl(
    'x509',
    '-req',
    '-in',
    request,
    '-CA',
    'ca.pem',
    '-CAkey',
    'ca.key',
    '-copy_extensions',
    'copy',
    '-days',
    '90',
    '-out',
    out,
  );
}

before(async () => {
  openssl(
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '365'],
    ...['-keyout', 'ca.key', '-out', 'ca.pem', '-subj', '/CN=Test CA', '-addext', 'basicConstraints=critical,CA:TRUE'],
  );
  domain = await open(null);
  writeFileSync(file('domain.csr'), domain.requestPem);
  certify('domain.csr', 'chain.pem');
});
after(() => rmSync(dir, { recursive: true }));

const refused = (why: RegExp) => (error: unknown) =>
  error instanceof AbatonError && error.code === 'SETTING_INVALID' && why.test(error.message);

test('OpenSSL reads the request, with the name and a good signature', () => {
  const text = openssl('req', '-in', 'domain.csr', '-verify', '-noout', '-text');
  assert.match(text, /DNS:ai\.hospital\.example/);
  assert.match(text, /prime256v1|P-256/);
});

test('the key is the same after a restart, and another under another seed', async () => {
  const spki = async (...args: Parameters<typeof open>) => tlsSpkiSha256((await open(...args)).current());
  assert.equal(await spki(null), tlsSpkiSha256(domain.current()));
  assert.notEqual(await spki(null, { seed: randomBytes(32) }), await spki(null));
  for (let i = 0; i < 20; i++) {
    const { keyPem } = (await open(null, { seed: randomBytes(32) })).current();
    assert.equal(createPrivateKey(keyPem).asymmetricKeyDetails?.namedCurve, 'prime256v1');
  }
});

test('a client that knows the CA alone connects, before a renewal and after it', async () => {
  const certified = await open('chain.pem');
  assert.equal(tlsSpkiSha256(certified.current()), tlsSpkiSha256(domain.current()));
  const door = await openDoor({
    ...{ key: domain.current(), host: '127.0.0.1', port: 0 },
    handler: () => new Response(),
  });
  const tryIt = async () => {
    const socket = connect({
      host: '127.0.0.1',
      port: door.port,
      servername: DOMAIN,
      ca: readFileSync(file('ca.pem')),
    });
    try {
      await once(socket, 'secureConnect');
      return [socket.authorized, socket.getProtocol()];
    } catch (error) {
      return (error as NodeJS.ErrnoException).code;
    } finally {
      socket.destroy();
    }
  };
  assert.equal(await tryIt(), 'DEPTH_ZERO_SELF_SIGNED_CERT');
  door.renew(certified.current());
  assert.deepEqual(await tryIt(), [true, 'TLSv1.3']);
  await assert.rejects(
    once(
      connect({ host: '127.0.0.1', port: door.port, maxVersion: 'TLSv1.2', rejectUnauthorized: false }),
      'secureConnect',
    ),
  );
  await door.close(0);
});

test('a chain that changes is read again; one that cannot be used leaves the old one', async () => {
  writeFileSync(file('live.pem'), readFileSync(file('chain.pem')));
  const live = await open('live.pem');
  assert.equal(live.reload(), false);
  certify('domain.csr', 'renewed.pem');
  writeFileSync(file('live.pem'), readFileSync(file('renewed.pem')));
  assert.equal(live.reload(), true);
  const serial = new X509Certificate(readFileSync(file('renewed.pem'))).serialNumber;
  const served = () => new X509Certificate(live.current().chainPem[0]!).serialNumber;
  assert.equal(served(), serial);
  writeFileSync(file('live.pem'), 'no certificate');
  assert.throws(() => live.reload(), refused(/readable chain/));
  assert.equal(served(), serial);
});

test('what does not belong to the key and the name is refused', async () => {
  const stranger = await open(null, { seed: randomBytes(32) });
  writeFileSync(file('stranger.csr'), stranger.requestPem);
  certify('stranger.csr', 'stranger.pem');
  await assert.rejects(open('stranger.pem'), refused(/another key/));
  await assert.rejects(open('chain.pem', { domain: 'ai.clinic.example' }), refused(/another domain/));
  await assert.rejects(open('chain.pem', { nowMs: Date.now() + 91 * 86_400_000 }), refused(/not in date/));
  await assert.rejects(open('missing.pem'), refused(/readable chain/));
  for (const name of ['', 'AI.example', 'a b', '-a.example', 'a..b', `${'a'.repeat(64)}.example`, '127.0.0.1/x'])
    await assert.rejects(open(null, { domain: name }), refused(/DNS name/), name);
});
