/** Typed reads of a data set. None throws on junk: absent, empty and unreadable values read as '', [] or null. */
import { decodeText } from './charset.ts';
import type { Dataset, Element } from './dataset.ts';
import { type Keyword, tagOf } from './tags.ts';

/** VRs whose text follows Specific Character Set (PS3.5 section 6.1.2.3); all other text is ASCII. */
const CHARSET_VRS = new Set(['SH', 'LO', 'ST', 'PN', 'LT', 'UC', 'UT']);

/** VRs of one value, in which a backslash is a letter (PS3.5 section 6.2). */
const SINGLE_VALUED = new Set(['ST', 'LT', 'UT', 'UR']);

/** Width in bytes and reader of the numeric VRs (PS3.5 Table 6.2-1). */
const BINARY: Record<string, [number, (view: DataView, at: number) => number | bigint]> = {
  US: [2, (v, i) => v.getUint16(i, true)],
  SS: [2, (v, i) => v.getInt16(i, true)],
  UL: [4, (v, i) => v.getUint32(i, true)],
  SL: [4, (v, i) => v.getInt32(i, true)],
  UV: [8, (v, i) => v.getBigUint64(i, true)],
  SV: [8, (v, i) => v.getBigInt64(i, true)],
  FL: [4, (v, i) => v.getFloat32(i, true)],
  FD: [8, (v, i) => v.getFloat64(i, true)],
};

export const isBinaryNumber = (vr: string): boolean => Object.hasOwn(BINARY, vr);

/** Specific Character Set of a data set; an item without its own inherits that of the data set around it. */
export function charsetOf(ds: Dataset, inherited: readonly string[] = []): readonly string[] {
  const element = ds.get(tagOf('SpecificCharacterSet'));
  return element ? textValues(element, []) : inherited;
}

/** Values of a text element, without insignificant spaces and padding. */
export function textValues({ vr, value }: Element, charset: readonly string[]): string[] {
  if (!(value instanceof Uint8Array) || value.length === 0) return [];
  const text = decodeText(value, CHARSET_VRS.has(vr) || vr === 'UN' ? charset : []);
  return (SINGLE_VALUED.has(vr) ? [text] : text.split('\\')).map((part) => {
    let end = part.length;
    while (end > 0 && (part[end - 1] === ' ' || part[end - 1] === '\0')) end--;
    return SINGLE_VALUED.has(vr) ? part.slice(0, end) : part.slice(0, end).trimStart();
  });
}

/** Values of a binary numeric element; a last, incomplete value is dropped. */
export function binaryValues({ vr, value }: Element): (number | bigint)[] {
  const binary = BINARY[vr];
  if (!binary || !(value instanceof Uint8Array)) return [];
  const [width, read] = binary;
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength);
  return Array.from({ length: Math.floor(value.length / width) }, (_, i) => read(view, i * width));
}

export function texts(ds: Dataset, keyword: Keyword): string[] {
  const element = ds.get(tagOf(keyword));
  return element ? textValues(element, charsetOf(ds)) : [];
}

/** The first value; '' when there is none. */
export const text = (ds: Dataset, keyword: Keyword): string => texts(ds, keyword)[0] ?? '';

/** IS and DS (PS3.5 Table 6.2-1); JavaScript alone would take `0x10` and `Infinity` too. */
const DECIMAL = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/;

/** Numbers of any numeric VR, IS and DS included; what is not a number reads as NaN, so that positions hold. */
export function numbers(ds: Dataset, keyword: Keyword): number[] {
  const element = ds.get(tagOf(keyword));
  if (!element) return [];
  if (isBinaryNumber(element.vr)) return binaryValues(element).map(Number);
  return textValues(element, []).map((part) => (DECIMAL.test(part) ? Number(part) : Number.NaN));
}

/** The first value when it is a finite number, else null. */
export function number(ds: Dataset, keyword: Keyword): number | null {
  const value = numbers(ds, keyword)[0];
  return value !== undefined && Number.isFinite(value) ? value : null;
}

/** An attribute of VR US and one value, as those of the Image Pixel module; null when absent, NaN when it is anything else. */
export function unsignedShort(ds: Dataset, keyword: Keyword): number | null {
  const element = ds.get(tagOf(keyword));
  if (!element) return null;
  return element.vr === 'US' && element.value.length === 2 ? Number(binaryValues(element)[0]) : Number.NaN;
}

/** The only value; null when there are more: which of them holds is then not known. */
export function onlyText(ds: Dataset, keyword: Keyword): string | null {
  const values = texts(ds, keyword);
  return values.length > 1 ? null : (values[0] ?? '');
}

export function items(ds: Dataset, keyword: Keyword): Dataset[] {
  const value = ds.get(tagOf(keyword))?.value;
  return Array.isArray(value) ? value : [];
}

/** DA `YYYYMMDD`, or the retired `YYYY.MM.DD` (PS3.5 Table 6.2-1); milliseconds of that day in UTC, or null. */
export function dateMs(da: string): number | null {
  const [, y, m, d] = /^(\d{4})\.?(\d\d)\.?(\d\d)$/.exec(da) ?? [];
  const ms = Date.UTC(Number(y), Number(m) - 1, Number(d));
  return y && new Date(ms).toISOString().slice(0, 10) === `${y}-${m}-${d}` ? ms : null;
}

const DAYS_PER_YEAR = 365.25;
const DAYS_PER_UNIT: Record<string, number> = { D: 1, W: 7, M: DAYS_PER_YEAR / 12, Y: DAYS_PER_YEAR };

/**
 * Age at the time of the study, in years: Patient's Age (0010,1010), or birth date and study date. Null when neither
 * can be read, when it is not a human age, and when the two contradict each other by more than the year that
 * whole years are cut by: an age that may be wrong is not known.
 */
export function ageInYears(ds: Dataset): number | null {
  const [, count, unit] = /^(\d{3})([DWMY])$/.exec(onlyText(ds, 'PatientAge') ?? '') ?? [];
  const stated = count && unit ? (Number(count) * DAYS_PER_UNIT[unit]!) / DAYS_PER_YEAR : null;
  const born = dateMs(text(ds, 'PatientBirthDate'));
  const seen = dateMs(text(ds, 'StudyDate') || text(ds, 'AcquisitionDate') || text(ds, 'ContentDate'));
  const computed = born !== null && seen !== null ? (seen - born) / 86_400_000 / DAYS_PER_YEAR : null;
  if (computed === null && text(ds, 'PatientBirthDate') !== '') return null; // it may contradict the stated age
  if (stated !== null && computed !== null && Math.abs(computed - stated) > 1.05) return null;
  const age = stated ?? computed;
  return age !== null && age >= 0 && age <= 130 ? age : null;
}
