/** A model of which only the manifest is used, and a runtime that scores: how models run is tested where they run. */
import type { LoadedModel, ModelRuntime } from '../../src/models/model.ts';

export const model = {
  digest: '11'.repeat(32),
  manifest: {
    ...{ id: 'test-model', title: 'Test model', modelVersion: '1.0.0', manufacturer: 'Abaton' },
    output: { name: 'score', finding: { code: '233604007', scheme: 'SCT', display: 'Pneumonia' }, operatingPoint: 0.5 },
  },
} as LoadedModel;

export const runtime = { infer: async () => ({ kind: 'scored', score: 0.75 }) } as unknown as ModelRuntime;
