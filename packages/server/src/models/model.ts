/** Model packages and what a model may say. */
import type { Dataset } from '../imaging/dataset.ts';

/** `model.json` of a package, version 1. Its digest (SHA-256 of the JCS text) is the model's identity. */
export interface ModelManifest {
  version: 1;
  id: string;
  title: string;
  modelVersion: string;
  manufacturer: string;
  onnx: { file: string; sha256: string };
  card: { file: string; sha256: string };
  /** For clinical use: always false for a reference model. */
  clinicalUse: false;
  /** Routing: which images this model is for at all. Values of Modality and Body Part Examined. */
  routing: { modalities: string[]; bodyParts: string[] };
  /** Scope: outside it the answer is `out of scope` and no score. Completed years, both ends included. */
  scope: { ageYears: { min: number; max: number } };
  input: {
    width: number;
    height: number;
    /** 'squash': aspect ratio is not kept, as in training. */
    fit: 'squash';
    filter: 'triangle-antialias';
    /** Score input = (grey / 255 - mean) / std */
    mean: number;
    std: number;
    /** Percentile window that maps stored values to 0..255 when the image is not 8 bit. */
    window: { lowPercentile: number; highPercentile: number };
  };
  output: { name: string; finding: { code: string; scheme: string; display: string }; operatingPoint: number };
}

export interface LoadedModel {
  manifest: ModelManifest;
  /** SHA-256 hex of the canonical manifest. */
  digest: string;
  onnx: Uint8Array;
}

export type Routing =
  | { kind: 'no-model' }
  | { kind: 'out-of-scope'; model: LoadedModel; reasons: string[] }
  | { kind: 'run'; model: LoadedModel };

/** Chooses by declared attributes only; pixels are not touched. */
export type Route = (header: Dataset) => Routing;

export type FailureReason = 'crashed' | 'timeout' | 'memory' | 'not-finite' | 'undecodable';

export type InferenceOutcome =
  | { kind: 'scored'; score: number }
  /** `detail` is one of a closed list: a model or an image cannot choose what it says. */
  | { kind: 'failed'; reason: FailureReason; detail: string };

export interface ModelRuntime {
  /** Starts a process for the model ahead of its first study. Throws MODEL_INVALID when the model does not load. */
  prepare(model: LoadedModel): Promise<void>;
  /**
   * Decodes and scores one Part 10 instance in an isolated child process. Never throws for what the input did; throws
   * what `part10` throws.
   */
  infer(model: LoadedModel, part10: AsyncIterable<Uint8Array>, totalBytes: number): Promise<InferenceOutcome>;
  close(): Promise<void>;
}
