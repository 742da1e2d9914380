/**
 * What the sealed columns of `instances` and `results` hold, and the place that each is sealed for. The clear columns
 * of a row are part of that place, so that a row of which any was changed does not open.
 *
 * Instance: version 1 (1 byte) ‖ length of the JSON (4, big endian) ‖ JSON ‖ data set (dataset-codec.ts).
 * Result: JSON with `v: 1`.
 */
import { errorOf } from '../errors.ts';
import type { SealedObject } from '../vault/vault.ts';
import type { StoredInstance, StoredResult } from './archive.ts';
import { decodeDataset, encodeDataset } from './dataset-codec.ts';

const VERSION = 1;

export type Origin = 'received' | 'result';

export interface InstanceColumns {
  ref: string;
  study: string;
  series: string;
  origin: Origin;
  blob_key: string;
}

export const instanceContext = ({ ref, study, series, origin, blob_key }: InstanceColumns): string =>
  JSON.stringify(['instances', ref, study, series, origin, blob_key]);

export const resultContext = (columns: { ref: string; study: string; created_ms: number }): string =>
  JSON.stringify(['results', columns.ref, columns.study, columns.created_ms]);

type InstanceContent = Omit<StoredInstance, 'patient'>;
type ResultContent = Omit<StoredResult, 'patient' | 'study'>;

const tooNew = () => errorOf('STATE_TOO_NEW', 'A stored row has a version that this release cannot read.');

export function encodeInstance({ dataset, ...rest }: InstanceContent): Uint8Array {
  const json = Buffer.from(JSON.stringify(rest));
  const head = Buffer.alloc(5);
  head.writeUInt8(VERSION, 0);
  head.writeUInt32BE(json.length, 1);
  return Buffer.concat([head, json, encodeDataset(dataset)]);
}

export function decodeInstance(bytes: Uint8Array): InstanceContent {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (view[0] !== VERSION) throw tooNew();
  const end = 5 + view.readUInt32BE(1);
  const rest = JSON.parse(view.toString('utf8', 5, end)) as Omit<InstanceContent, 'dataset'> & { object: SealedObject };
  return { ...rest, dataset: decodeDataset(view.subarray(end)) };
}

export const encodeResult = (result: ResultContent): Uint8Array =>
  Buffer.from(JSON.stringify({ v: VERSION, ...result }));

export function decodeResult(bytes: Uint8Array): ResultContent {
  const { v, ...result } = JSON.parse(Buffer.from(bytes).toString('utf8')) as ResultContent & { v: number };
  if (v !== VERSION) throw tooNew();
  return result;
}
