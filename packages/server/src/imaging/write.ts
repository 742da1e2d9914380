/** Writes DICOM files (PS3.10): explicit VR little endian, sequences and items with defined lengths. */
import { buildDataset } from './build.ts';
import { SHORT_VRS } from './data-set-reader.ts';
import type { Dataset, Element } from './dataset.ts';
import { EXPLICIT_LE } from './transfer-syntaxes.ts';
import { text } from './values.ts';

/** Says which implementation wrote a file (PS3.7 section D.3.3.2): a random UUID under 2.25 (PS3.5 section B.2). */
export const IMPLEMENTATION_CLASS_UID = '2.25.31402933821363021803023906060473942682';
const IMPLEMENTATION_VERSION_NAME = 'ABATON_0_1';

const ITEM = 0xfffee000;

/** The file. SOP Class and Instance UID of the file meta information are those of the data set. */
export function writePart10(dataset: Dataset): Uint8Array {
  const meta = encodeDataset(
    buildDataset({
      FileMetaInformationVersion: Uint8Array.of(0, 1),
      MediaStorageSOPClassUID: text(dataset, 'SOPClassUID'),
      MediaStorageSOPInstanceUID: text(dataset, 'SOPInstanceUID'),
      TransferSyntaxUID: EXPLICIT_LE,
      ImplementationClassUID: IMPLEMENTATION_CLASS_UID,
      ImplementationVersionName: IMPLEMENTATION_VERSION_NAME,
    }),
  );
  const length = encodeDataset(buildDataset({ FileMetaInformationGroupLength: meta.length }));
  return concat([new Uint8Array(128), new TextEncoder().encode('DICM'), length, meta, encodeDataset(dataset)]);
}

export function encodeDataset(dataset: Dataset): Uint8Array {
  return concat([...dataset.values()].toSorted((a, b) => a.tag - b.tag).flatMap(encodeElement));
}

function encodeElement({ tag, vr, value }: Element): Uint8Array[] {
  const body = value instanceof Uint8Array ? pad(value, vr) : concat(value.flatMap(encodeItem));
  // PS3.5 section 6.2.2: what does not fit a 16-bit length is written as UN.
  const written = SHORT_VRS.has(vr) && body.length > 0xffff ? 'UN' : vr;
  const long = !SHORT_VRS.has(written);
  const header = new Uint8Array(long ? 12 : 8);
  const view = new DataView(header.buffer);
  writeTag(view, tag);
  header.set([written.charCodeAt(0), written.charCodeAt(1)], 4);
  if (long) view.setUint32(8, body.length, true);
  else view.setUint16(6, body.length, true);
  return [header, body];
}

function encodeItem(item: Dataset): Uint8Array[] {
  const body = encodeDataset(item);
  const header = new Uint8Array(8);
  const view = new DataView(header.buffer);
  writeTag(view, ITEM);
  view.setUint32(4, body.length, true);
  return [header, body];
}

function writeTag(view: DataView, tag: number): void {
  view.setUint16(0, tag >>> 16, true);
  view.setUint16(2, tag & 0xffff, true);
}

/** To an even length: UIDs and bytes with NULL, text with a space (PS3.5 section 6.2). */
function pad(value: Uint8Array, vr: string): Uint8Array {
  if (value.length % 2 === 0) return value;
  return concat([value, Uint8Array.of(['UI', 'OB', 'UN'].includes(vr) ? 0 : 0x20)]);
}

function concat(parts: Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
