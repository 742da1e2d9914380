/**
 * The models of this deployment: one folder each, `model.json` beside the weights and the card whose digests it states.
 * No card, no model. The registry's digest is in the evidence (`modelRegistrySha256`).
 */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { canonicalize } from '@abaton/verify';
import Type from 'typebox';
import { Value } from 'typebox/value';
import { errorOf } from '../errors.ts';
import type { LoadedModel, ModelManifest } from './model.ts';
import { scanOnnx } from './onnx-scan.ts';

const MANIFEST_FILE = 'model.json';

const record = <T extends Type.TProperties>(properties: T) => Type.Object(properties, { additionalProperties: false });
const name = Type.String({ minLength: 1, maxLength: 64 }); // LO of PS3.5 table 6.2-1: where names end up in an SR
const part = record({
  file: Type.String({ pattern: '^[a-z0-9][a-z0-9._-]{0,62}$' }),
  sha256: Type.String({ pattern: '^[0-9a-f]{64}$' }),
});
const code = Type.String({ pattern: '^[A-Z0-9_ ]{1,16}$' }); // CS of PS3.5 table 6.2-1
const pixels = Type.Integer({ minimum: 1, maximum: 4096 });
const percentile = Type.Number({ minimum: 0, maximum: 100 });

const ManifestSchema = record({
  version: Type.Literal(1),
  id: Type.String({ pattern: '^[a-z0-9][a-z0-9-]{0,62}$' }),
  title: name,
  modelVersion: name,
  manufacturer: name,
  onnx: part,
  card: part,
  clinicalUse: Type.Literal(false),
  routing: record({ modalities: Type.Array(code, { minItems: 1 }), bodyParts: Type.Array(code, { minItems: 1 }) }),
  scope: record({
    ageYears: record({ min: Type.Integer({ minimum: 0 }), max: Type.Integer({ minimum: 0, maximum: 150 }) }),
  }),
  input: record({
    width: pixels,
    height: pixels,
    fit: Type.Literal('squash'),
    filter: Type.Literal('triangle-antialias'),
    mean: Type.Number(),
    std: Type.Number({ exclusiveMinimum: 0 }),
    window: record({ lowPercentile: percentile, highPercentile: percentile }),
  }),
  output: record({
    name,
    // SH and LO of PS3.3 table 8.8-1, code sequence macro
    finding: record({
      code: Type.String({ minLength: 1, maxLength: 16 }),
      scheme: Type.String({ minLength: 1, maxLength: 16 }),
      display: name,
    }),
    operatingPoint: Type.Number({ minimum: 0, maximum: 1 }),
  }),
});

export interface ModelRegistry {
  /** By id, sorted. */
  models: LoadedModel[];
  /** SHA-256 hex of the JSON array of the sorted model digests. */
  digest: string;
}

/**
 * Loads the packages `ids`, or every folder of `directory`. Throws MODEL_INVALID, naming the file: missing, not of the
 * schema, not of its digest, or an ONNX file with parts that are not accepted.
 */
export async function loadRegistry(directory: string, ids: readonly string[] | null = null): Promise<ModelRegistry> {
  const models: LoadedModel[] = [];
  for (const id of [...(ids ?? (await listFolders(directory)))].sort()) models.push(await loadModel(directory, id));
  const digests = models.map((model) => model.digest).sort();
  return { models, digest: sha256(Buffer.from(JSON.stringify(digests))) };
}

async function listFolders(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { withFileTypes: true }).catch((cause) => {
    throw errorOf('MODEL_INVALID', 'The models directory (ABATON_MODELS_DIR) cannot be read.', { cause });
  });
  return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
}

async function loadModel(directory: string, id: string): Promise<LoadedModel> {
  const read = (file: string): Promise<Buffer> =>
    readFile(join(directory, id, file)).catch((cause) => {
      throw errorOf('MODEL_INVALID', `${id}/${file} cannot be read.`, { cause });
    });
  const readVerified = async ({ file, sha256: expected }: ModelManifest['onnx']): Promise<Buffer> => {
    const bytes = await read(file);
    if (sha256(bytes) !== expected)
      throw errorOf('MODEL_INVALID', `${id}/${file} does not have the digest of model.json.`);
    return bytes;
  };

  const manifest = parseManifest(await read(MANIFEST_FILE), id);
  await readVerified(manifest.card);
  const onnx = await readVerified(manifest.onnx);
  scanOnnx(onnx, `${id}/${manifest.onnx.file}`);
  return { manifest, digest: sha256(Buffer.from(canonicalize(manifest))), onnx };
}

function parseManifest(bytes: Buffer, id: string): ModelManifest {
  const refuse = (what: string, options?: ErrorOptions) =>
    errorOf('MODEL_INVALID', `${id}/model.json ${what}.`, options);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw refuse('is not JSON', { cause });
  }
  if (!Value.Check(ManifestSchema, value)) {
    const first = Value.Errors(ManifestSchema, value)[0];
    throw refuse(`is not a model manifest of version 1: ${first?.instancePath || '/'} ${first?.message ?? ''}`);
  }
  if (value.id !== id) throw refuse('has an id other than its folder');
  const { min, max } = value.scope.ageYears;
  const { lowPercentile, highPercentile } = value.input.window;
  if (min > max || lowPercentile >= highPercentile) throw refuse('has a range whose end lies before its start');
  return value;
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
