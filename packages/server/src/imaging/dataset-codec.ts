/**
 * A data set as bytes, to be sealed in a row: exactly the elements that were scanned, in their order, whatever transfer
 * syntax they came in. All integers big endian.
 *
 * | length | meaning |
 * |---:|---|
 * | 1 | version, 1 (once, at the start) |
 * | 4 | number of elements; then for each: |
 * | 4 | tag |
 * | 2 | value representation, ASCII |
 * | 1 | 0: bytes, 1: items |
 * | 4 | number of bytes, or of items |
 * | n | the bytes; or the items, each from "number of elements" on |
 */
import { errorOf } from '../errors.ts';
import type { Dataset, Element } from './dataset.ts';

const VERSION = 1;
const BYTES = 0;
const ITEMS = 1;

export function encodeDataset(dataset: Dataset): Uint8Array {
  const parts: Uint8Array[] = [Uint8Array.of(VERSION)];
  pushDataset(parts, dataset);
  return Buffer.concat(parts);
}

function pushDataset(parts: Uint8Array[], dataset: Dataset): void {
  parts.push(uint32(dataset.size));
  for (const { tag, vr, value } of dataset.values()) {
    const head = Buffer.alloc(11);
    head.writeUInt32BE(tag, 0);
    if (head.write(vr, 4, 'latin1') !== 2) throw new Error('a value representation has two letters'); // PS3.5 section 6.2
    head.writeUInt8(value instanceof Uint8Array ? BYTES : ITEMS, 6);
    head.writeUInt32BE(value.length, 7);
    parts.push(head);
    if (value instanceof Uint8Array) parts.push(value);
    else for (const item of value) pushDataset(parts, item);
  }
}

function uint32(value: number): Uint8Array {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** The exact inverse. The bytes were sealed by this program: what does not decode throws STATE_TOO_NEW or SEAL_BROKEN. */
export function decodeDataset(bytes: Uint8Array): Dataset {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (view[0] !== VERSION)
    throw errorOf('STATE_TOO_NEW', 'A stored data set has a version that this release cannot read.');
  let at = 1;
  const take = (length: number): Buffer => {
    if (at + length > view.length) throw errorOf('SEAL_BROKEN', 'A stored data set ends too early.');
    at += length;
    return view.subarray(at - length, at);
  };
  const readDataset = (): Dataset => {
    const dataset: Dataset = new Map();
    for (let left = take(4).readUInt32BE(); left > 0; left--) {
      const element = readElement();
      dataset.set(element.tag, element);
    }
    return dataset;
  };
  const readElement = (): Element => {
    const head = take(11);
    const length = head.readUInt32BE(7);
    const value = head[6] === ITEMS ? Array.from({ length }, readDataset) : new Uint8Array(take(length));
    return { tag: head.readUInt32BE(0), vr: head.toString('latin1', 4, 6), value };
  };
  const dataset = readDataset();
  if (at !== view.length) throw errorOf('SEAL_BROKEN', 'A stored data set is followed by other bytes.');
  return dataset;
}
