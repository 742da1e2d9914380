/** The DICOM JSON model (PS3.18 Annex F) of a data set. Values that the scanner left out are absent. */
import type { Dataset, Element } from './dataset.ts';
import { hexOfTag, tagOf } from './tags.ts';
import { binaryValues, charsetOf, isBinaryNumber, textValues } from './values.ts';

/** Table F.2.3-1: what stands in `Value` depends on the VR. */
export type JsonValue = string | number | null | { [group: string]: string } | JsonDataset;
export interface JsonElement {
  vr: string;
  Value?: JsonValue[];
  InlineBinary?: string;
}
export interface JsonDataset {
  [tag: string]: JsonElement;
}

const BINARY_VRS = new Set(['OB', 'OD', 'OF', 'OL', 'OV', 'OW', 'UN']);
const CHARACTER_SET = hexOfTag(tagOf('SpecificCharacterSet'));
const PERSON_NAME_GROUPS = ['Alphabetic', 'Ideographic', 'Phonetic'];

/** All text is decoded to UTF-8, and Specific Character Set says so. Group lengths are dropped (F.2.2). */
export function toDicomJson(dataset: Dataset, inherited: readonly string[] = []): JsonDataset {
  const charset = charsetOf(dataset, inherited);
  const json: JsonDataset = {};
  for (const element of dataset.values())
    if ((element.tag & 0xffff) !== 0) json[hexOfTag(element.tag)] = toJsonElement(element, charset);
  const terms = json[CHARACTER_SET];
  if (terms?.Value) terms.Value = ['ISO_IR 192'];
  return json;
}

function toJsonElement(element: Element, charset: readonly string[]): JsonElement {
  const { vr, value } = element;
  if (Array.isArray(value))
    return value.length === 0 ? { vr } : { vr, Value: value.map((item) => toDicomJson(item, charset)) };
  if (value.length === 0) return { vr };
  if (BINARY_VRS.has(vr))
    return { vr, InlineBinary: Buffer.from(value.buffer, value.byteOffset, value.length).toString('base64') };
  const values =
    vr === 'AT'
      ? attributeTags(value)
      : isBinaryNumber(vr)
        ? binaryValues(element).map(toJsonNumber)
        : toJsonText(element, charset);
  return values.every((v) => v === null) ? { vr } : { vr, Value: values };
}

/** Section F.2.5: empty values among others are null. IS and DS are numbers where JSON can say them (F.2.3.1). */
function toJsonText(element: Element, charset: readonly string[]): JsonValue[] {
  const { vr } = element;
  return textValues(element, charset).map((value) => {
    if (value === '') return null;
    if (vr === 'PN') return toPersonName(value);
    if (vr === 'IS' || vr === 'DS') return Number.isFinite(Number(value)) ? Number(value) : value;
    return value;
  });
}

function toPersonName(value: string): { [group: string]: string } | null {
  const groups = value
    .split('=')
    .slice(0, PERSON_NAME_GROUPS.length)
    .map((group) => group.replace(/[\^ ]+$/, ''));
  const named = groups.map((group, i) => [PERSON_NAME_GROUPS[i]!, group]).filter(([, group]) => group !== '');
  return named.length === 0 ? null : Object.fromEntries(named);
}

/** JSON has neither 64-bit integers nor NaN and infinity: those are strings (F.2.3.1). */
function toJsonNumber(value: number | bigint): JsonValue {
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  return Number.isFinite(value) ? value : String(value).replace('Infinity', 'inf');
}

function attributeTags(value: Uint8Array): string[] {
  const view = new DataView(value.buffer, value.byteOffset, value.length);
  return Array.from({ length: Math.floor(value.length / 4) }, (_, i) =>
    hexOfTag(view.getUint16(i * 4, true) * 0x10000 + view.getUint16(i * 4 + 2, true)),
  );
}
