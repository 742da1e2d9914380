/**
 * NVIDIA's RIM and OCSP services, played by a server of this test: real RIM files pass through byte for byte and verify,
 * OpenSSL answers what fetchOcsp asks it. The live services were not asked.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parsePemChain } from '../../verify/src/formats/pem.ts';
import { authenticateRim } from '../../verify/src/gpu/rim.ts';
import { parseOcspResponse, verifyOcsp } from '../../verify/src/pki/ocsp.ts';
import { buildOcspRequest } from '../../verify/src/pki/ocsp-cert-id.ts';
import { type Certificate, parseCertificate } from '../../verify/src/pki/x509.ts';
import { fetchOcsp, fetchRim } from '../src/index.ts';

const data = process.env.ABATON_TEST_DATA ?? fileURLToPath(new URL('../../../../shared/data', import.meta.url));
const noData = existsSync(`${data}/gpu-attestation`) ? false : 'needs ABATON_TEST_DATA';

let server: Server;
let url: string;
let answer: RequestListener;
let asked: string[] = [];

before(async () => {
  server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`);
    answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
beforeEach(() => {
  asked = [];
});
after(() => {
  server.close().closeAllConnections();
});

const ID = 'NV_GPU_DRIVER_GH100_550.144.03';
const sha256 = (bytes: Uint8Array | string) => createHash('sha256').update(bytes).digest('hex');
/** The members that NVIDIA documents. */
const rimAnswer = (id: string, file: Buffer | string) => ({
  id,
  rim: Buffer.from(file).toString('base64'),
  sha256: sha256(file),
  last_updated: '2025-03-14T15:09:03.011000',
  rim_format: 'TCG',
  request_id: 'ca80a80a-054c-476e-bdd2-7be7e3047fe5',
});
const sending =
  (body: unknown, status = 200): RequestListener =>
  (_, response) => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body));
  };
const refusal = (code: string, pattern = /./) => ({ name: 'UnavailableError', code, message: pattern });

test('RIM: real files come back byte for byte, and verify', { skip: noData }, async () => {
  const folder = `${data}/gpu-attestation`;
  const files: [string, string][] = [
    [ID, `${folder}/attestation-sdk/rims/${ID}.xml`],
    ...readdirSync(`${folder}/nvtrust/rims`)
      .filter((name) => name.endsWith('_PROD.swidtag'))
      .map((name): [string, string] => [
        `NV_GPU_VBIOS_${name.replace('_PROD.swidtag', '').toUpperCase()}`,
        `${folder}/nvtrust/rims/${name}`,
      ]),
  ];
  assert.equal(files.length, 12);
  for (const [id, path] of files) {
    const file = readFileSync(path);
    answer = sending(rimAnswer(id, file));
    const xml = await fetchRim(id, { baseUrl: url });
    assert.ok(Buffer.from(xml).equals(file), id);
    const { kind, version } = await authenticateRim(xml);
    assert.ok(kind === 'driver' ? id.endsWith(version) : id.endsWith(version.replaceAll('.', '')), id);
  }
  assert.deepEqual(
    asked,
    files.map(([id]) => `GET /v1/rim/${id}`),
  );
});

test('RIM: the address may end in a slash or a path, as that of a caching proxy', async () => {
  answer = sending(rimAnswer(ID, '<xml/>'));
  for (const baseUrl of [url, `${url}/`, `${url}/proxy/`]) assert.equal(await fetchRim(ID, { baseUrl }), '<xml/>');
  assert.deepEqual(asked, [`GET /v1/rim/${ID}`, `GET /v1/rim/${ID}`, `GET /proxy/v1/rim/${ID}`]);
});

test('RIM: what is not the file that was asked for is refused', async () => {
  const good = rimAnswer(ID, '<xml/>');
  const wrong: [string, RequestListener, RegExp][] = [
    ['unknown id', sending('{"message":"no"}', 404), /answered 404/],
    ['overloaded', sending('', 503), /answered 503/],
    ['no JSON', sending('<html>'), /did not answer with JSON/],
    ['nothing', sending(''), /did not answer with JSON/],
    ['null', sending('null'), /another id/],
    ['another id', sending({ ...good, id: 'NV_GPU_DRIVER_GH100_535.86.09' }), /another id/],
    ['no file', sending({ ...good, rim: undefined }), /no file in base64/],
    ['an empty file', sending({ ...good, rim: '', sha256: sha256('') }), /no file in base64/],
    ['no text', sending({ ...good, rim: 7 }), /no file in base64/],
    ['base64 with line ends', sending({ ...good, rim: `${good.rim}\n` }), /no file in base64/],
    ['base64url', sending({ ...good, rim: Buffer.from('<é?>', 'latin1').toString('base64url') }), /no file in base64/],
    ['cut', sending({ ...good, rim: good.rim.slice(0, -4) }), /does not match its SHA-256/],
    ['another digest', sending({ ...good, sha256: sha256('<xml />') }), /does not match its SHA-256/],
    ['no digest', sending({ ...good, sha256: undefined }), /does not match its SHA-256/],
    ['digest of the base64', sending({ ...good, sha256: sha256(good.rim) }), /does not match its SHA-256/],
    ['CBOR (CoRIM)', sending(rimAnswer(ID, Buffer.from([0xd9, 0x01, 0xf4, 0xff]))), /not text/],
    ['too much', sending(rimAnswer(ID, 'x'.repeat(512 * 1024))), /more than 524288 bytes/],
    ['a redirect', (_, response) => void response.writeHead(302, { location: '/' }).end(), /cannot be reached/],
    ['a broken connection', (request) => void request.socket.destroy(), /cannot be reached/],
  ];
  for (const [name, listener, pattern] of wrong) {
    answer = listener;
    await assert.rejects(fetchRim(ID, { baseUrl: url }), refusal('RIM_UNAVAILABLE', pattern), name);
  }
  await assert.rejects(
    fetchRim(ID, { baseUrl: 'http://127.0.0.1:1' }),
    refusal('RIM_UNAVAILABLE', /cannot be reached/),
  );
});

test('RIM: an id that could mean something in a path is asked of nobody', async () => {
  answer = sending('');
  for (const id of ['', '..', '../ids', 'a/b', 'a?b', 'a#b', 'a%2fb', 'a b', 'é', 'a\nb', '-a', 'x'.repeat(129)])
    await assert.rejects(fetchRim(id, { baseUrl: url }), refusal('RIM_UNAVAILABLE', /no RIM has such an id/), id);
  assert.deepEqual(asked, []);
});

test('RIM, OCSP: a service that never ends is given up, before its answer and within it', async () => {
  const begun: RequestListener = (_, response) => void response.writeHead(200).write(Buffer.from([0x30]));
  for (const listener of [() => {}, begun]) {
    answer = listener;
    const limits = { timeoutMs: 100 };
    await assert.rejects(fetchRim(ID, { baseUrl: url, ...limits }), refusal('RIM_UNAVAILABLE', /cannot be reached/));
    await assert.rejects(fetchOcsp(new Uint8Array(1), { url, ...limits }), refusal('OCSP_UNAVAILABLE'));
  }
});

const REQUEST = Uint8Array.of(0x30, 0x03, 0x02, 0x01, 0x05);

test('OCSP: the request is posted byte for byte, the answer comes back byte for byte', async () => {
  const der = Buffer.from('3003020107', 'hex');
  let seen: unknown;
  answer = async (request, response) => {
    const body = Buffer.concat(await request.toArray());
    seen = { body: body.toString('hex'), type: request.headers['content-type'], accept: request.headers.accept };
    response.writeHead(200, { 'content-type': 'application/ocsp-response' }).end(der);
  };
  assert.deepEqual(Buffer.from(await fetchOcsp(REQUEST, { url: `${url}/ocsp` })), der);
  const type = 'application/ocsp-request';
  assert.deepEqual(seen, { body: '3003020105', type, accept: 'application/ocsp-response' });
  assert.deepEqual(asked, ['POST /ocsp']);
});

test('OCSP: errors, which nobody signs, are no answer and say which they are', async () => {
  const wrong: [Buffer | string, RegExp, number?][] = [
    ['', /answered 404/, 404],
    ['', /did not answer with an OCSP response/],
    ['<html>', /did not answer with an OCSP response/],
    [Buffer.from('30030a0101', 'hex'), /answered malformedRequest/],
    [Buffer.from('30030a0102', 'hex'), /answered internalError/],
    [Buffer.from('30030a0103', 'hex'), /answered tryLater/],
    [Buffer.from('30030a0105', 'hex'), /answered sigRequired/],
    [Buffer.from('30030a0106', 'hex'), /answered unauthorized/],
    [Buffer.from('30030a0104', 'hex'), /answered with error 4/],
    [Buffer.from('30030a01ff', 'hex'), /answered with error 255/],
    [Buffer.alloc(64 * 1024 + 1, 0x30), /more than 65536 bytes/],
  ];
  for (const [body, pattern, status] of wrong) {
    answer = sending(body, status);
    await assert.rejects(fetchOcsp(REQUEST, { url }), refusal('OCSP_UNAVAILABLE', pattern), String(pattern));
  }
  await assert.rejects(fetchOcsp(REQUEST, { url: 'http://127.0.0.1:1' }), refusal('OCSP_UNAVAILABLE'));
});

const openssl = spawnSync('openssl', ['version']).status === 0;
if (!openssl && process.env.REQUIRE_SYSTEM === '1') throw new Error('needs openssl: run scripts/system-deps.sh');

test("OCSP: OpenSSL's responder understands what is asked, and its answer verifies", {
  skip: openssl ? false : 'needs openssl: run scripts/system-deps.sh',
}, async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'abaton-ocsp-'));
  t.after(() => rmSync(dir, { recursive: true }));
  const run = (...args: string[]) => execFileSync('openssl', args, { cwd: dir, stdio: 'pipe' });
  const read = (name: string): Certificate =>
    parseCertificate(parsePemChain(readFileSync(join(dir, `${name}.pem`), 'utf8'))[0]!);
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-384', '-nodes', '-sha384'];
  const ca = ['-addext', 'keyUsage=critical,keyCertSign,cRLSign'];
  run('req', '-x509', ...key, '-keyout', 'ca.key', '-out', 'ca.pem', '-subj', '/O=Test/CN=ca', '-days', '30', ...ca);
  run('req', '-new', ...key, '-keyout', 'leaf.key', '-out', 'leaf.csr', '-subj', '/O=Test/CN=leaf');
  const serial = 'f09f00'; // its first bit is set: DER puts a zero before it
  const usage = 'keyUsage=critical,digitalSignature\nbasicConstraints=critical,CA:FALSE\n';
  writeFileSync(join(dir, 'extensions'), usage);
  const issue = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-sha384', '-days', '30', '-extfile', 'extensions'];
  run('x509', '-req', '-in', 'leaf.csr', ...issue, '-set_serial', `0x${serial}`, '-out', 'leaf.pem');
  const chain = [read('leaf'), read('ca')] as const;
  answer = async (request, response) => {
    writeFileSync(join(dir, 'request'), Buffer.concat(await request.toArray()));
    const by = ['-CA', 'ca.pem', '-rsigner', 'ca.pem', '-rkey', 'ca.key', '-rmd', 'sha384', '-ndays', '1'];
    run('ocsp', '-index', 'index', ...by, '-reqin', 'request', '-respout', 'response');
    response.end(readFileSync(join(dir, 'response')));
  };
  const list = (line: string) =>
    writeFileSync(join(dir, 'index'), `${line}\t${serial.toUpperCase()}\tunknown\t/CN=x\n`);
  const judge = async () => {
    const der = await fetchOcsp(buildOcspRequest(...chain), { url });
    await verifyOcsp([parseOcspResponse(der)], chain, Date.now());
  };
  list('V\t351231235959Z\t');
  await judge();
  list('R\t351231235959Z\t261001000000Z,certificateHold');
  await assert.rejects(judge(), { code: 'CERTIFICATE_REVOKED', message: /certificateHold/ });
});
