/** Model packages: schema and digests of model.json, and what of ONNX (onnx.proto3) is accepted. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { scanOnnx } from '../../src/models/onnx-scan.ts';
import { loadRegistry } from '../../src/models/registry.ts';
import { MODELS } from './fixtures.ts';
import {
  bytes,
  crash,
  externalData,
  graphAttribute,
  hang,
  int,
  memoryHog,
  model,
  node,
  notANumber,
  plain,
} from './onnx-writer.ts';

const sha256 = (data: string | Uint8Array): string => createHash('sha256').update(data).digest('hex');
const refused = (message: RegExp) => ({ code: 'MODEL_INVALID', message });

/** A copy of the shipped package in a folder of its own; `change` may edit it. */
function packageCopy(t: TestContext, change: (folder: string) => void = () => {}): string {
  const directory = mkdtempSync(join(tmpdir(), 'abaton-models-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const folder = join(directory, 'chest-xray-ai');
  mkdirSync(folder);
  for (const file of ['model.json', 'model.onnx', 'card.md'])
    cpSync(join(MODELS, 'chest-xray-ai', file), join(folder, file));
  change(folder);
  return directory;
}

function flip(file: string, at: number): void {
  const data = readFileSync(file);
  data[at]! ^= 1;
  writeFileSync(file, data);
}

function edit(folder: string, change: (manifest: Record<string, never>) => unknown): void {
  const file = join(folder, 'model.json');
  const manifest = JSON.parse(readFileSync(file, 'utf8'));
  writeFileSync(file, JSON.stringify(change(manifest) ?? manifest));
}

test('the shipped packages load; the digests follow their definition', async () => {
  const { models, digest } = await loadRegistry(MODELS);
  const chest = models.find(({ manifest }) => manifest.id === 'chest-xray-ai')!;
  assert.equal(chest.manifest.clinicalUse, false);
  // JCS (RFC 8785) of a document of plain strings and numbers, written out here by other means.
  const sorted = (value: unknown): unknown =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.fromEntries(
          Object.entries(value)
            .sort()
            .map(([name, member]) => [name, sorted(member)]),
        )
      : value;
  assert.equal(chest.digest, sha256(JSON.stringify(sorted(chest.manifest))));
  assert.equal(digest, sha256(JSON.stringify(models.map((each) => each.digest).sort())));
});

test('a copy, and another layout of the JSON, give the same digest; another value gives another', async (t) => {
  const { digest } = await loadRegistry(MODELS, ['chest-xray-ai']);
  assert.equal((await loadRegistry(packageCopy(t))).digest, digest);
  const reversed = packageCopy(t, (folder) => edit(folder, (m) => Object.fromEntries(Object.entries(m).reverse())));
  assert.equal((await loadRegistry(reversed)).digest, digest);
  const renamed = packageCopy(t, (folder) => edit(folder, (m) => ({ ...m, modelVersion: '1.0.1' })));
  assert.notEqual((await loadRegistry(renamed)).digest, digest);
});

test('one flipped bit of weights or card is refused, wherever it is', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.constantFrom('model.onnx', 'card.md'), fc.nat(2 ** 20), async (file, at) => {
      const directory = packageCopy(t, (folder) => {
        const path = join(folder, file);
        flip(path, at % readFileSync(path).length);
      });
      await assert.rejects(
        loadRegistry(directory),
        refused(new RegExp(`^chest-xray-ai/${file} does not have the digest`)),
      );
    }),
    { numRuns: process.env.SLOW === '1' ? 1000 : 10 },
  );
});

const BROKEN: [string, (folder: string) => void, RegExp][] = [
  ['no card', (folder) => rmSync(join(folder, 'card.md')), /card\.md cannot be read/],
  ['no manifest', (folder) => rmSync(join(folder, 'model.json')), /model\.json cannot be read/],
  ['not JSON', (folder) => writeFileSync(join(folder, 'model.json'), '{'), /model\.json is not JSON/],
  ['an unknown field', (folder) => edit(folder, (m) => ({ ...m, priority: 1 })), /version 1/],
  ['a newer version', (folder) => edit(folder, (m) => ({ ...m, version: 2 })), /version 1: \/version/],
  ['clinical use', (folder) => edit(folder, (m) => ({ ...m, clinicalUse: true })), /version 1: \/clinicalUse/],
  ['no scope', (folder) => edit(folder, ({ scope: _, ...m }) => m), /version 1/],
  ['another id', (folder) => edit(folder, (m) => ({ ...m, id: 'other' })), /id other than its folder/],
  [
    'ages reversed',
    (folder) => edit(folder, (m) => ({ ...m, scope: { ageYears: { min: 5, max: 1 } } })),
    /end lies before/,
  ],
  [
    'a path',
    (folder) => edit(folder, (m) => ({ ...m, card: { file: '../x', sha256: '0'.repeat(64) } })),
    /\/card\/file/,
  ],
  [
    'external data',
    (folder) => {
      const onnx = externalData('weights.bin');
      writeFileSync(join(folder, 'model.onnx'), onnx);
      edit(folder, (m) => ({ ...m, onnx: { file: 'model.onnx', sha256: sha256(onnx) } }));
    },
    /model\.onnx: a tensor lies in another file/,
  ],
];
for (const [name, change, message] of BROKEN) {
  test(`a package with ${name} is refused by file`, async (t) => {
    await assert.rejects(loadRegistry(packageCopy(t, change)), refused(message));
  });
}

test('a model that the manifest names and that is not there is refused', async () => {
  await assert.rejects(loadRegistry(MODELS, ['head-ct-ai']), refused(/^head-ct-ai\/model\.json cannot be read/));
  await assert.rejects(loadRegistry(join(MODELS, 'nowhere')), refused(/models directory/));
});

test('ONNX: plain networks pass', () => {
  for (const onnx of [plain(), notANumber(), crash(), memoryHog(10)]) scanOnnx(onnx, 'x');
});

const REFUSED: [string, Buffer, RegExp][] = [
  ['a loop', hang(), /a node holds a graph of its own/],
  ['a file inside the folder', externalData('w.bin'), /another file/],
  ['a file outside', externalData('../../etc/passwd'), /another file/],
  ['an operator domain', model([node('Relu', ['image'], ['score'], [bytes(7, 'com.microsoft')])]), /operator domain/],
  [
    'an operator set of another domain',
    model([node('Relu', ['image'], ['score'])], [], [bytes(8, bytes(1, 'evil'))]),
    /operator domain/,
  ],
  [
    'an operator that is not listed',
    model([node('RandomNormalLike', ['image'], ['score'])]),
    /operator RandomNormalLike/,
  ],
  ['an operator name of other signs', model([node('../x', ['image'], ['score'])]), /operator \?/],
  ['functions', model([node('Relu', ['image'], ['score'])], [], [bytes(25, '')]), /functions/],
  ['training parts', model([node('Relu', ['image'], ['score'])], [], [bytes(20, '')]), /training/],
  ['a sparse weight', model([node('Relu', ['image'], ['score'])], [bytes(15, '')]), /sparse/],
  ['a string weight', model([node('Relu', ['image'], ['score'])], [bytes(5, bytes(6, 'x'))]), /strings/],
  [
    'nine dimensions',
    model([node('Relu', ['image'], ['score'])], [bytes(5, bytes(1, new Uint8Array(9)))]),
    /8 dimensions/,
  ],
  ['2049 nodes', model(Array.from({ length: 2049 }, () => node('Relu', ['image'], ['score']))), /2048 nodes/],
  ['an unknown field', model([node('Relu', ['image'], ['score'])], [], [int(77, 1)]), /field 77/],
  ['two graphs', Buffer.concat([plain(), plain()]), /more than one graph/],
  ['no nodes', model([]), /no nodes/],
  [
    'a hidden subgraph in an If',
    model([node('If', ['c'], ['score'], [graphAttribute('then_branch', Buffer.alloc(0))])]),
    /graph of its own/,
  ],
  ['nothing', Buffer.alloc(0), /no nodes/],
];
for (const [name, onnx, message] of REFUSED) {
  test(`ONNX with ${name} is refused`, () => {
    assert.throws(() => scanOnnx(onnx, 'x.onnx'), refused(message));
  });
}

test('ONNX cut anywhere, or of random bytes, is refused and never breaks the scan', () => {
  const whole = notANumber();
  for (let length = 0; length < whole.length; length++)
    assert.throws(() => scanOnnx(whole.subarray(0, length), 'x'), { code: 'MODEL_INVALID' });
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (random) => {
      assert.throws(() => scanOnnx(random, 'x'), { code: 'MODEL_INVALID' });
    }),
    { numRuns: process.env.SLOW === '1' ? 1000 : 100 },
  );
});
