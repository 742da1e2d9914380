/** RA-TLS certificates with dstack's extensions, old and new, and a real VersionedAttestation of dstack's simulator. */
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseVersionedAttestation } from '../src/dstack/versioned-attestation.ts';
import { MalformedError } from '../src/formats/bytes.ts';
import { ScaleReader } from '../src/formats/scale.ts';
import { checkRaTlsCertificate, type VerificationCode, VerificationError } from '../src/index.ts';
import { computeRaTlsReportData } from '../src/report-data.ts';
import { octets } from './support/der-writer.ts';
import { good } from './support/judge.ts';
import { runs } from './support/property.ts';
import * as data from './support/shared-data.ts';
import { extension, makeCertificate, NOW_MS, sha256, simulate } from './support/simulated-platform.ts';

const DSTACK = '1.3.6.1.4.1.62397.1';
const key = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const spki = key.publicKey.export({ format: 'der', type: 'spki' });
const { evidence } = simulate((platform) => {
  platform.reportDataHex = Buffer.from(computeRaTlsReportData(spki)).toString('hex');
});
const quote = Buffer.from(evidence.quote, 'hex');
const eventLog = Buffer.from(JSON.stringify(evidence.eventLog));

const certificate = (...extensions: Buffer[]) =>
  makeCertificate(
    {
      ...{ serial: 7, subject: 'leaf', issuer: 'Dstack App CA', notBeforeMs: NOW_MS, notAfterMs: NOW_MS },
      ...{ ca: false, pathLength: null, keyUsage: 0x80, extensions },
    },
    key.publicKey,
    generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey,
  );
const ext = (arc: number, content: Uint8Array) => extension(`${DSTACK}.${arc}`, octets(content));

// SCALE, written apart from the reader.
const uint32 = (n: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(n);
  return bytes;
};
const compact = (n: number) => {
  if (n < 64) return uint32(n << 2).subarray(0, 1);
  return n < 2 ** 14 ? uint32((n << 2) | 1).subarray(0, 2) : uint32(n * 4 + 2);
};
const scale = (content: string | Uint8Array) =>
  Buffer.concat([compact(Buffer.from(content).length), Buffer.from(content)]);
const versioned = (): Buffer =>
  Buffer.concat([
    ...[Buffer.from([0, 0]), scale(quote), compact(evidence.eventLog.length)],
    ...evidence.eventLog.flatMap((each) => [
      ...[uint32(each.imr), uint32(each.event_type), scale(Buffer.from(each.imr === 3 ? '' : each.digest, 'hex'))],
      ...[scale(each.event), scale(Buffer.from(each.event_payload, 'hex'))],
    ]),
    ...[compact(1), scale('app-id'), scale('x'), Buffer.alloc(64), scale('{"cpu_count":1}')],
  ]);

const refused = (der: Uint8Array, code: VerificationCode) =>
  assert.throws(
    () => checkRaTlsCertificate(der),
    (error: unknown) => error instanceof VerificationError && error.code === code,
  );

test('reads quote and event log from .1 and .2, and from .8', () => {
  for (const der of [certificate(ext(1, quote), ext(2, eventLog)), certificate(ext(8, versioned()))]) {
    const found = checkRaTlsCertificate(der);
    assert.equal(found.bound, true);
    assert.equal(found.tlsSpkiSha256, sha256(spki).toString('hex'));
    assert.deepEqual(Buffer.from(found.quote), quote);
    assert.deepEqual(
      found.eventLog.map(({ event }) => event),
      evidence.eventLog.map(({ event }) => event),
    );
  }
});

test('.8 counts before .1 and .2', () => {
  const other = Buffer.from(good.evidence.quote, 'hex');
  assert.equal(checkRaTlsCertificate(certificate(ext(1, other), ext(2, eventLog), ext(8, versioned()))).bound, true);
});

test('a quote for another key is not bound', () => {
  const other = Buffer.from(good.evidence.quote, 'hex');
  assert.equal(checkRaTlsCertificate(certificate(ext(1, other), ext(2, eventLog))).bound, false);
});

test('refuses what is missing, doubled, malformed or of a later version', () => {
  refused(certificate(), 'EVIDENCE_MALFORMED');
  refused(certificate(ext(1, quote)), 'EVIDENCE_MALFORMED');
  refused(certificate(ext(2, eventLog)), 'EVIDENCE_MALFORMED');
  refused(certificate(ext(1, quote), ext(1, quote), ext(2, eventLog)), 'CERTIFICATE_INVALID');
  refused(certificate(ext(1, quote), ext(2, Buffer.from('{'))), 'EVIDENCE_MALFORMED');
  refused(certificate(ext(1, quote), ext(2, Buffer.from('{}'))), 'EVIDENCE_MALFORMED');
  refused(certificate(ext(1, quote.subarray(1)), ext(2, eventLog)), 'QUOTE_UNSUPPORTED');
  refused(certificate(ext(1, quote.subarray(0, 900)), ext(2, eventLog)), 'QUOTE_MALFORMED');
  refused(certificate(extension(`${DSTACK}.8`, versioned())), 'EVIDENCE_MALFORMED'); // no OCTET STRING inside
  refused(certificate(ext(8, Buffer.concat([versioned(), Buffer.from([0])]))), 'EVIDENCE_MALFORMED');
  refused(certificate(ext(8, versioned().subarray(0, -1))), 'EVIDENCE_MALFORMED');
  refused(certificate(ext(8, Buffer.from([0x81, 0xa7]))), 'EVIDENCE_MALFORMED'); // MessagePack, version 1
  refused(certificate(ext(8, Buffer.from([0, 1]))), 'EVIDENCE_MALFORMED'); // another TEE
  refused(certificate(ext(1, quote), ext(2, eventLog)).subarray(0, -1), 'CERTIFICATE_INVALID');
});

test('compact integers of one, two and four bytes; a count beyond the input is refused before it is believed', () => {
  for (const n of [0, 63, 64, 16383, 16384, 2 ** 30 - 1]) assert.equal(new ScaleReader(compact(n)).compact(), n);
  assert.throws(() => new ScaleReader(Buffer.from([3, 0, 0, 0, 0])).compact(), MalformedError);
  assert.throws(() => new ScaleReader(compact(2 ** 25)).vector(() => assert.fail('believed')), MalformedError);
});

test("dstack's own attestation decodes to the last byte", { skip: data.skip }, () => {
  const bytes = data.read('dstack/simulator/attestation.bin');
  const attestation = data.simulatorAttestation();
  assert.equal(attestation.quote.length, 5010);
  assert.equal(attestation.eventLog.length, 33);
  const der = certificate(ext(8, bytes));
  assert.equal(checkRaTlsCertificate(der).bound, false); // it was made for another key
});

test('random attestations are malformed or read, never more', () => {
  const whole = versioned();
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), fc.nat(whole.length), (bytes, at) => {
      for (const input of [
        bytes,
        Buffer.concat([whole.subarray(0, at), bytes]),
        Buffer.concat([Buffer.from([0, 0]), bytes]),
      ])
        try {
          parseVersionedAttestation(input);
        } catch (error) {
          assert.ok(error instanceof MalformedError || error instanceof VerificationError, String(error));
        }
    }),
    runs(50),
  );
});
