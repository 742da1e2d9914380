/** What the tests of the model room share: the isolation of this machine, the packages, the drawn image, a data set. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Dataset } from '../../src/imaging/dataset.ts';
import { type Keyword, tagOf, vrOf } from '../../src/imaging/tags.ts';
import type { LoadedModel } from '../../src/models/model.ts';

export const CHECKOUT = fileURLToPath(new URL('../../../..', import.meta.url));
export const MODELS = fileURLToPath(new URL('../../../../models', import.meta.url));
const VECTORS = new URL('../vectors/models/', import.meta.url);

/** See vectors/models/README.md. */
export const drawnChest = readFileSync(new URL('drawn-chest.dcm', VECTORS));
export const drawnAnswer: { onnxSha256: string; squashedSha256: string; score: number } = JSON.parse(
  readFileSync(new URL('drawn-chest.json', VECTORS), 'utf8'),
);

/** As it comes from the vault: in chunks. */
export async function* chunked(bytes: Uint8Array, size = 65_536): AsyncIterable<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

/** A model that only a test would load: the manifest of `like` around other ONNX bytes. */
export const withOnnx = (like: LoadedModel, onnx: Uint8Array): LoadedModel => ({
  manifest: like.manifest,
  digest: createHash('sha256').update(onnx).digest('hex'),
  onnx,
});

export const dataset = (values: Partial<Record<Keyword, string>>): Dataset =>
  new Map(
    Object.entries(values).map(([keyword, value]) => {
      const tag = tagOf(keyword as Keyword);
      return [tag, { tag, vr: vrOf(tag), value: Buffer.from(value, 'latin1') }];
    }),
  );
