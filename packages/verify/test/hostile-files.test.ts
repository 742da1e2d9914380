/** Whatever the files hold, a verdict comes out within a second, input is left as it was, and nothing may be sent. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type EvidenceFiles, parsePolicy, VerifiedCache, verifyFiles } from '../src/index.ts';
import { runs } from './support/property.ts';
import { partsOf, SAMPLES } from './support/sample-parts.ts';
import { loadFiles, skip } from './support/samples.ts';

const LIMIT_MS = 1000; // a verdict takes milliseconds; another process may hold the machine for a while
const cache = new VerifiedCache();
const policy = parsePolicy({ version: 1, gpu: {} });

async function judge(files: EvidenceFiles, now = '2026-08-20T12:00:00Z'): Promise<void> {
  const before = JSON.stringify(files);
  const beganMs = performance.now();
  const verdict = await verifyFiles(files, { policy, nowMs: Date.parse(now), cache });
  assert.ok(performance.now() - beganMs < LIMIT_MS);
  assert.equal(JSON.stringify(files), before);
  assert.equal(verdict.send, 'nothing');
  for (const { status, code } of verdict.checks) assert.equal(code !== undefined, status === 'fail');
}

const bytes = (maxLength: number) => fc.uint8Array({ maxLength });
const pem = bytes(600).map((der) => {
  const body = Buffer.from(der)
    .toString('base64')
    .replace(/.{1,64}/g, '$&\n');
  return `-----BEGIN CERTIFICATE-----\n${body}-----END CERTIFICATE-----\n`;
});
const xml = fc
  .array(fc.constantFrom('<a>', '</a>', '<a b="c"/>', ' xmlns="d"', '<e:f', '>', '"', '&', '<!--', '\n', 'x'), {
    maxLength: 60,
  })
  .map((tokens) => tokens.join(''));
const json = fc.option(fc.jsonValue(), { nil: undefined });

const anyFiles: fc.Arbitrary<EvidenceFiles> = fc.record(
  {
    quote: bytes(2000),
    collateral: json,
    eventLog: json,
    appCompose: fc.string(),
    snpReport: bytes(1300),
    certificates: fc.oneof(
      fc.string(),
      fc.array(pem, { maxLength: 4 }).map((chain) => chain.join('')),
    ),
    crl: bytes(300),
    mrConfig: fc.oneof(fc.string(), fc.json()),
    gpuEvidence: json,
    gpuNonce: fc.string(),
    rims: fc.array(fc.oneof(fc.string(), xml), { maxLength: 3 }),
    ocspResponses: fc.array(bytes(300), { maxLength: 3 }),
  },
  { requiredKeys: [] },
);

test('random files of every kind', async () => {
  await fc.assert(
    fc.asyncProperty(anyFiles, fc.constantFrom('quote', 'snpReport'), (files, guest) =>
      judge({ ...files, [guest]: undefined }),
    ),
    runs(100),
  );
});

for (const [name, { files, now }] of Object.entries(SAMPLES))
  test(`random stretches in ${name}`, { skip }, async () => {
    const loaded = loadFiles(files);
    const parts = [...partsOf(loaded)];
    const property = fc.asyncProperty(fc.nat(), fc.nat(), bytes(40), fc.nat(), async (part, at, stretch, cut) => {
      const [, , whole, put] = parts[part % parts.length]!;
      const start = at % whole.length;
      const end = Math.min(start + (cut % 80), whole.length); // so that lengths change too
      await judge({ ...loaded, ...put(Buffer.concat([whole.subarray(0, start), stretch, whole.subarray(end)])) }, now);
    });
    await fc.assert(property, runs(20));
  });

test('Buffers and plain arrays of bytes mean the same', { skip }, async () => {
  for (const { files, now } of Object.values(SAMPLES)) {
    const loaded = loadFiles(files);
    const plain = Object.fromEntries(
      Object.entries(loaded).map(([member, value]) => [
        member,
        value instanceof Uint8Array ? Uint8Array.from(value) : value,
      ]),
    );
    const options = { policy, nowMs: Date.parse(now) };
    assert.deepEqual(await verifyFiles(plain, options), await verifyFiles(loaded, options));
  }
});
