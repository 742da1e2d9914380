/** Makes data sets by keyword, with the VRs of tags.ts. Text must be ASCII, which every character set of DICOM contains. */
import type { Dataset, Element } from './dataset.ts';
import { ATTRIBUTES, type Keyword } from './tags.ts';

export type Value = string | number | readonly string[] | readonly number[] | Uint8Array | Dataset[];
export type Values = { [K in Keyword]?: Value | undefined };

const NUMBER_WRITERS: Record<string, [number, (view: DataView, value: number) => void]> = {
  US: [2, (v, n) => v.setUint16(0, n, true)],
  SS: [2, (v, n) => v.setInt16(0, n, true)],
  UL: [4, (v, n) => v.setUint32(0, n, true)],
  SL: [4, (v, n) => v.setInt32(0, n, true)],
  FL: [4, (v, n) => v.setFloat32(0, n, true)],
  FD: [8, (v, n) => v.setFloat64(0, n, true)],
};

/** A data set in tag order. `undefined` leaves the attribute out; '' and [] write it empty. */
export function buildDataset(values: Values, base: Iterable<Element> = []): Dataset {
  const elements = [...base];
  for (const [keyword, value] of Object.entries(values))
    if (value !== undefined) elements.push(buildElement(keyword as Keyword, value));
  return new Map(elements.toSorted((a, b) => a.tag - b.tag).map((element) => [element.tag, element]));
}

export function buildElement(keyword: Keyword, value: Value): Element {
  const [tag, vr] = ATTRIBUTES[keyword];
  return { tag, vr, value: encode(vr, value) };
}

function encode(vr: string, value: Value): Uint8Array | Dataset[] {
  if (value instanceof Uint8Array) return value;
  if (vr === 'SQ') return value as Dataset[];
  const list = Array.isArray(value) ? value : [value];
  const writer = NUMBER_WRITERS[vr];
  if (!writer) return new TextEncoder().encode(list.join('\\').replace(/[^\n\r\t\x20-\x7e]/g, '?'));
  const [width, write] = writer;
  const bytes = new Uint8Array(list.length * width);
  list.forEach((n, i) => {
    write(new DataView(bytes.buffer, i * width), Number(n));
  });
  return bytes;
}
