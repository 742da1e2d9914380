/** The card says what was measured (I8): its figures are those of evaluation.json, baselines beside them. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { MODELS } from './fixtures.ts';

const read = (file: string): string => readFileSync(join(MODELS, 'chest-xray-ai', file), 'utf8');
const card = read('card.md').replaceAll('**', '');
const evaluation = JSON.parse(read('evaluation.json'));
const manifest = JSON.parse(read('model.json'));

interface Measure {
  value: number;
  interval95: [number, number];
}
const written = ({ value, interval95: [low, high] }: Measure): string =>
  `${value.toFixed(3)} [${low.toFixed(3)}, ${high.toFixed(3)}]`;

test('evaluation, manifest and weights belong together', () => {
  assert.equal(evaluation.onnxSha256, manifest.onnx.sha256);
  assert.equal(
    createHash('sha256')
      .update(readFileSync(join(MODELS, 'chest-xray-ai', 'model.onnx')))
      .digest('hex'),
    evaluation.onnxSha256,
  );
  assert.equal(manifest.output.operatingPoint, evaluation.operatingPoint.value);
  assert.ok(card.includes(String(manifest.output.operatingPoint)));
});

for (const source of ['internal-test', 'upstream-test', 'upstream-test-new-numbers', 'nih-adults']) {
  test(`every figure for ${source}, with interval and baseline, is in the card`, () => {
    const part = evaluation.sources[source];
    for (const name of ['auc', 'thumbnailBaselineAuc', 'aucMinusBaseline', 'sensitivity', 'specificity'])
      assert.ok(card.includes(written(part[name])), `${name}: ${written(part[name])}`);
    assert.ok(card.includes(`${part.images} / ${part.patients} / ${part.pneumoniaImages}`));
  });
}

test('the card states purpose, population, credit, failures and what was not measured', () => {
  for (const words of [
    'not for clinical use',
    '1 to 5 years',
    'CC BY 4.0',
    '10.17632/rscbjbr9sj',
    'NIH Clinical Center',
    'not measured',
    'Adults',
    'thumbnail',
    'Device status',
  ])
    assert.ok(card.includes(words), words);
});
