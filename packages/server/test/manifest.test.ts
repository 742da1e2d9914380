import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseManifest } from '../src/manifest.ts';

const parse = (text: string) => parseManifest(new TextEncoder().encode(text));
const minimal =
  'app_name: hospital-radiology-ai\ndeployment: local\ntee:\n  type: intel-tdx\nmodels:\n  - chest-xray-ai\n';

/** A published production manifest, word for word. */
const sourceDocument = `# Production deployment
app_name: hospital-radiology-ai
deployment: phala-cloud
tee:
  type: intel-tdx
  gpu: nvidia-h100
models:
  - chest-xray-ai
  - ct-brain-hemorrhage-detection
  - lung-nodule-detection
sla:
  inference_latency: <2s per study
  uptime: 99.9%
  phi_encryption: always
compliance:
  hipaa: true
  baa_signed: true
  attestation_public: true
`;

test('a production manifest is read; its flags are requests', () => {
  const manifest = parse(sourceDocument);
  assert.deepEqual(manifest.content.models, [
    'chest-xray-ai',
    'ct-brain-hemorrhage-detection',
    'lung-nodule-detection',
  ]);
  assert.deepEqual(manifest.requested, { hipaa: true, baaSigned: true, attestationPublic: true });
});

test('contacts by mail and webhook are read', () => {
  const contacts = ['mailto:ops@hospital.example', 'https://user:pass%25@hook.example:8443/x?y=%zz'];
  const { content } = parse(`${minimal}security_contacts: ${JSON.stringify(contacts)}\n`);
  assert.deepEqual(content.security_contacts, contacts);
});

test('the digest is of the raw bytes: a changed comment is another manifest', () => {
  assert.notEqual(parse(minimal).sha256, parse(`${minimal}# note\n`).sha256);
});

test('the manifest of this repository is valid', () => {
  parseManifest(readFileSync(new URL('../../../abaton.yaml', import.meta.url)));
});

for (const [what, text, expected] of [
  [
    'a wrong value',
    minimal.replace('intel-tdx', 'sgx'),
    'abaton.yaml:4: tee.type must be one of intel-tdx, amd-sev-snp.',
  ],
  ['an unknown field', `${minimal}debug: true\n`, 'abaton.yaml:7: `debug` is not known here; remove it.'],
  [
    'an unknown nested field',
    minimal.replace('  type:', '  debug: true\n  type:'),
    'abaton.yaml:4: `debug` is not known here; remove it.',
  ],
  [
    'a missing field',
    minimal.replace('deployment: local\n', ''),
    'abaton.yaml:1: deployment is missing; write one of phala-cloud, dstack, kubernetes, local.',
  ],
  [
    'a wrong list item',
    `${minimal}  - Chest X-ray\n`,
    'abaton.yaml:7: models.1 must be the id of a model package, as in `chest-xray-ai`.',
  ],
  [
    'a contact that is no URL',
    `${minimal}security_contacts:\n  - mailto:a@b.example\n  - https://hook.example:99999/x\n`,
    'abaton.yaml:9: security_contacts.1 must be a mailto: address or an https: webhook.',
  ],
  [
    'a contact that no request can be made of',
    `${minimal}security_contacts:\n  - https://%zz@hook.example/x\n`,
    'abaton.yaml:8: security_contacts.0 must be a mailto: address or an https: webhook.',
  ],
  ['a doubled key', `${minimal}deployment: dstack\n`, 'abaton.yaml:7: Map keys must be unique'],
  ['a tag', minimal.replace('local', '!!binary local'), 'abaton.yaml:2: '],
  ['an alias', `${minimal.replace('chest-xray-ai', '&a chest-xray-ai')}  - *a\n`, 'uses aliases'],
  ['not a map', '- 1\n', 'abaton.yaml:1: the manifest must be a map with app_name, deployment, tee, models.'],
  ['an empty file', '', 'abaton.yaml:1: the manifest must be'],
  ['broken YAML', 'app_name: [\n', 'abaton.yaml:'],
] as const)
  test(`${what} is refused with line and fix`, () => {
    assert.throws(
      () => parse(text),
      (error: { code?: string; message?: string }) => {
        assert.equal(error.code, 'MANIFEST_INVALID');
        assert.ok(error.message?.includes(expected), error.message);
        return true;
      },
    );
  });

test('what is not UTF-8, or too large, is refused', () => {
  assert.throws(() => parseManifest(Uint8Array.of(0xff, 0xfe)), { code: 'MANIFEST_INVALID' });
  assert.throws(() => parse(`${minimal}#${'x'.repeat(70_000)}`), { code: 'MANIFEST_INVALID' });
});

test('no text makes the parser throw anything else', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.string().map((s) => minimal + s),
        fc.json(),
      ),
      (text) => {
        try {
          parse(text);
        } catch (error) {
          assert.equal((error as { code?: string }).code, 'MANIFEST_INVALID');
        }
      },
    ),
    { numRuns: process.env.SLOW ? 1000 : 50 },
  );
});
