/** What a QIDO-RS request asks for (PS3.18 sections 8.3.4 and 10.6.1), and which values match it (PS3.4 C.2.2.2). */
import { errorOf } from '../../errors.ts';
import type { Tag } from '../../imaging/dataset.ts';
import type { JsonElement, JsonValue } from '../../imaging/dicom-json.ts';
import { ATTRIBUTES, type Keyword, tagOf } from '../../imaging/tags.ts';

export type Level = 'study' | 'series' | 'instance';

/** Attributes to search by. A level has those of the levels above it too (PS3.18 Table 10.6.1-5). */
const STUDY_KEYS = [
  'StudyDate',
  'StudyTime',
  'AccessionNumber',
  'ModalitiesInStudy',
  'ReferringPhysicianName',
  'StudyDescription',
  'PatientName',
  'PatientID',
  'IssuerOfPatientID',
  'PatientBirthDate',
  'PatientSex',
  'StudyInstanceUID',
  'StudyID',
] as const satisfies Keyword[];
const SERIES_KEYS = [
  'Modality',
  'SeriesDate',
  'SeriesTime',
  'SeriesDescription',
  'BodyPartExamined',
  'SeriesInstanceUID',
  'SeriesNumber',
  'PerformedProcedureStepStartDate',
  'PerformedProcedureStepStartTime',
] as const satisfies Keyword[];
const INSTANCE_KEYS = ['SOPClassUID', 'SOPInstanceUID', 'InstanceNumber'] as const satisfies Keyword[];

export const KEYS: Readonly<Record<Level, readonly Keyword[]>> = {
  study: STUDY_KEYS,
  series: [...STUDY_KEYS, ...SERIES_KEYS],
  instance: [...STUDY_KEYS, ...SERIES_KEYS, ...INSTANCE_KEYS],
};

export interface Query {
  filters: ReadonlyMap<Tag, string>;
  /** Asked for beyond what the level always returns. */
  include: ReadonlySet<Tag> | 'all';
  limit: number;
  offset: number;
  /** Asked for; the search is literal all the same, and says so. */
  fuzzy: boolean;
}

/** Results in one answer, with or without a limit in the request: bounds it to about a MiB. */
export const MAX_RESULTS = 1000;

const invalid = (message: string) => errorOf('REQUEST_INVALID', message);
const HEX_TAG = /^[0-9A-Fa-f]{8}$/;

/** Throws REQUEST_INVALID for what is not understood; the message never repeats a value. */
export function parseQuery(parameters: URLSearchParams, level: Level): Query {
  const filters = new Map<Tag, string>();
  const include = new Set<Tag>();
  const query = { limit: MAX_RESULTS, offset: 0, fuzzy: false };
  let all = false;
  for (const [name, value] of parameters) {
    if (name === 'limit') query.limit = Math.min(parseCount(name, value), MAX_RESULTS);
    else if (name === 'offset') query.offset = parseCount(name, value);
    else if (name === 'fuzzymatching') query.fuzzy = parseFlag(name, value);
    // The extended negotiations of PS3.18 8.3.4.5 and 8.3.4.6 are not offered: false is what happens.
    else if ((name === 'emptyvaluematching' || name === 'multiplevaluematching') && !parseFlag(name, value)) continue;
    else if (name === 'includefield') {
      for (const field of value.split(',')) {
        if (field === 'all') all = true;
        else include.add(parseAttribute(field));
      }
    } else {
      const tag = parseAttribute(name);
      if (!KEYS[level].some((keyword) => tagOf(keyword) === tag))
        throw invalid(`The query names an attribute that the ${level} level is not searched by.`);
      if (filters.has(tag)) throw invalid('The query names an attribute twice.');
      checkRange(tag, value);
      filters.set(tag, value);
    }
  }
  return { ...query, filters, include: all ? 'all' : include };
}

/** A keyword or eight hexadecimal digits. */
function parseAttribute(name: string): Tag {
  if (HEX_TAG.test(name)) return Number.parseInt(name, 16);
  if (Object.hasOwn(ATTRIBUTES, name)) return tagOf(name as Keyword);
  throw invalid('The query names a parameter or attribute that is not known.');
}

function parseCount(name: string, text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw invalid(`${name} must be a whole number.`);
  return Number(text);
}

function parseFlag(name: string, text: string): boolean {
  if (text !== 'true' && text !== 'false') throw invalid(`${name} must be true or false.`);
  return text === 'true';
}

const RANGES: Readonly<Record<string, { form: RegExp; low: string; high: string }>> = {
  DA: { form: /^\d{8}$/, low: '', high: '' },
  // A shorter time stands for all that begin with it (PS3.4 C.2.2.2.5.2).
  TM: { form: /^\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?$/, low: '000000.000000', high: '999999.999999' },
};
const VR_OF = new Map<Tag, string>(Object.values(ATTRIBUTES));

/** The two ends of `A`, `A-`, `-B` or `A-B`. */
const endsOf = (text: string): [string, string] => {
  const [low, high = low] = text.split('-');
  return [low!, high!];
};

function checkRange(tag: Tag, text: string): void {
  const range = RANGES[VR_OF.get(tag) ?? ''];
  if (!range || text === '') return;
  const ends = endsOf(text);
  if (text.split('-').length > 2 || ends.join('') === '' || ends.some((end) => end !== '' && !range.form.test(end)))
    throw invalid('A date or time of the query is not one, nor a range of them.');
}

/** Whether a value of the element matches `wanted`. Empty matches everything (PS3.4 C.2.2.2.3). */
export function matches(tag: Tag, element: JsonElement | undefined, wanted: string): boolean {
  if (wanted === '' || wanted === '*') return true;
  const vr = VR_OF.get(tag) ?? 'UN';
  return (element?.Value ?? []).some((value) => matchesValue(vr, value, wanted));
}

function matchesValue(vr: string, value: JsonValue, wanted: string): boolean {
  if (vr === 'UI') return wanted.split(/[,\\]/).includes(String(value));
  if (vr === 'PN') return nameGroups(value).some((name) => glob(foldName(wanted), foldName(name)));
  if (typeof value === 'number') return /^\s*[+-]?\d+\s*$/.test(wanted) && Number(wanted) === value;
  const range = RANGES[vr];
  if (range) {
    const [low, high] = endsOf(wanted);
    const full = fill(String(value).trim(), range.low);
    return fill(low, range.low) <= full && (high === '' || full <= fill(high, range.high));
  }
  return glob(wanted.trim().normalize(), String(value).trim().normalize());
}

const fill = (text: string, pattern: string): string => text + pattern.slice(text.length);

/** Alphabetic, ideographic and phonetic representations, each by itself. */
const nameGroups = (value: JsonValue): string[] =>
  Object.values(value ?? {}).filter((group) => typeof group === 'string');

/** Names match without regard to case, nor to the delimiters of empty components at their end. */
const foldName = (name: string): string => name.normalize().toLowerCase().replace(/\^+$/, '').trim();

/** `*`: any characters, `?`: one. Two pointers: no pattern makes it slow. */
function glob(pattern: string, text: string): boolean {
  let [p, t, star, mark] = [0, 0, -1, 0];
  while (t < text.length) {
    if (pattern[p] === '*') [star, mark] = [p++, t];
    else if (p < pattern.length && (pattern[p] === '?' || pattern[p] === text[t])) [p, t] = [p + 1, t + 1];
    else if (star >= 0) [p, t] = [star + 1, ++mark];
    else return false;
  }
  return /^\**$/.test(pattern.slice(p));
}
