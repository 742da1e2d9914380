/**
 * QIDO-RS (PS3.18 section 10.6). Values are sealed in rows, so a search opens the rows inside the TEE, one after
 * another: its cost grows with the archive, not with the answer.
 */
import type { AuditRequest } from '../../audit/events.ts';
import { errorOf } from '../../errors.ts';
import type { StoredInstance } from '../../imaging/archive.ts';
import type { Dataset, Tag } from '../../imaging/dataset.ts';
import type { JsonDataset, JsonValue } from '../../imaging/dicom-json.ts';
import { ATTRIBUTES, hexOfTag, type Keyword, tagOf } from '../../imaging/tags.ts';
import { text } from '../../imaging/values.ts';
import type { PatientRef } from '../../vault/vault.ts';
import { permitDisclosure } from '../disclosure.ts';
import type { DicomwebDeps } from './deps.ts';
import { requireAccepted } from './media-types.ts';
import { toMetadata } from './metadata.ts';
import { KEYS, type Level, MAX_RESULTS, matches, parseQuery, type Query } from './qido-query.ts';

/** Attributes of every answer: PS3.18 Tables 10.6.3-3 to 10.6.3-5, as far as they come from the data set. */
const STUDY_RETURN = [
  'StudyDate',
  'StudyTime',
  'AccessionNumber',
  'ReferringPhysicianName',
  'TimezoneOffsetFromUTC',
  'PatientName',
  'PatientID',
  'PatientBirthDate',
  'PatientSex',
  'StudyInstanceUID',
  'StudyID',
  'StudyDescription',
] as const satisfies Keyword[];
const SERIES_RETURN = [
  'Modality',
  'TimezoneOffsetFromUTC',
  'SeriesDescription',
  'StudyInstanceUID',
  'SeriesInstanceUID',
  'SeriesNumber',
  'PerformedProcedureStepStartDate',
  'PerformedProcedureStepStartTime',
  'RequestAttributesSequence',
] as const satisfies Keyword[];
const INSTANCE_RETURN = [
  'SOPClassUID',
  'SOPInstanceUID',
  'TimezoneOffsetFromUTC',
  'StudyInstanceUID',
  'SeriesInstanceUID',
  'InstanceNumber',
  'Rows',
  'Columns',
  'BitsAllocated',
  'NumberOfFrames',
] as const satisfies Keyword[];
const RETURN: Readonly<Record<Level, readonly Keyword[]>> = {
  study: STUDY_RETURN,
  series: SERIES_RETURN,
  instance: INSTANCE_RETURN,
};
/** Types U and R of those tables: part of every answer that shows their level, without a value when there is none. */
const REQUIRED: ReadonlySet<Keyword> = new Set([
  'StudyDate',
  'StudyTime',
  'AccessionNumber',
  'ReferringPhysicianName',
  'PatientName',
  'PatientID',
  'PatientBirthDate',
  'PatientSex',
  'StudyID',
  'Modality',
  'SeriesNumber',
  'InstanceNumber',
] as const);
/** Computed here, and so returned at their level whatever the data set says. */
const COMPUTED: readonly Keyword[] = [
  'ModalitiesInStudy',
  'NumberOfStudyRelatedSeries',
  'NumberOfStudyRelatedInstances',
  'NumberOfSeriesRelatedInstances',
  'InstanceAvailability',
  'RetrieveURL',
];

/** A study, series or instance that the scan has met. */
interface Found {
  json: JsonDataset;
  patients: Set<PatientRef>;
  modalities: Set<string>;
  series: Set<string>;
  instances: number;
  url: string;
}

export interface SearchScope {
  level: Level;
  study?: string;
  series?: string;
}

/** Answers a search. `base`: URL of the service. */
/** The query is recorded once for each patient of the answer; a viewer's has some hundred characters. */
const MAX_QUERY_CHARS = 2048;

export async function search(
  deps: DicomwebDeps,
  request: Request,
  scope: SearchScope,
  base: string,
  asked: AuditRequest,
): Promise<Response> {
  deps.gate.requireOpen();
  requireAccepted(request.headers.get('accept') ?? undefined, 'application/dicom+json', 'application/json');
  const { searchParams, search: raw } = new URL(request.url);
  if (raw.length > MAX_QUERY_CHARS)
    throw errorOf('REQUEST_INVALID', `A query has at most ${MAX_QUERY_CHARS} characters.`);
  const query = parseQuery(searchParams, scope.level);
  const matching = (await scan(deps, scope, query, base)).filter((found) => isMatch(found, query));
  const page = matching.slice(query.offset, query.offset + query.limit);
  const rows = page.map(({ json }) => project(json, scope, query));

  await permitDisclosure(deps, {
    action: 'search',
    request: asked,
    patients: page.flatMap(({ patients }) => [...patients]),
    object: { kind: 'query', ref: scope.level },
    facts: { results: rows.length },
    detail: { query: raw, study: scope.study ?? null, series: scope.series ?? null },
  });
  const headers = new Headers();
  const warn = (text: string) => headers.append('Warning', `299 ${base}: ${text}`);
  if (query.fuzzy) warn('The fuzzymatching parameter is not supported. Only literal matching has been performed.'); // PS3.18 8.3.4.2
  const remaining = matching.length - query.offset - page.length;
  if (page.length === MAX_RESULTS && remaining > 0)
    warn(`There are ${remaining} additional results that can be requested`); // PS3.18 8.3.4.4
  if (rows.length === 0) return new Response(null, { status: 204, headers });
  headers.set('Content-Type', 'application/dicom+json');
  return new Response(JSON.stringify(rows), { headers });
}

/** Everything of the level within the scope, with what it needs to be matched and returned. */
async function scan({ archive }: DicomwebDeps, { level, study, series }: SearchScope, query: Query, base: string) {
  const wanted = new Set<Tag>([...KEYS[level], ...RETURN[level], ...STUDY_RETURN].map(tagOf));
  for (const tag of query.include === 'all' ? [] : query.include) wanted.add(tag);
  const found = new Map<string, Found>();
  for await (const instance of archive.listInstances(study, series)) {
    const key = keyOf(instance, level);
    let entry = found.get(key);
    if (!entry) {
      const tags = level === 'instance' && query.include === 'all' ? null : wanted;
      const [patients, modalities, seriesUids] = [new Set<PatientRef>(), new Set<string>(), new Set<string>()];
      const json = toMetadata(pick(instance.dataset, tags));
      entry = { json, patients, modalities, series: seriesUids, instances: 0, url: base + pathOf(instance, level) };
      found.set(key, entry);
    }
    entry.patients.add(instance.patient);
    entry.series.add(instance.seriesInstanceUid);
    entry.instances++;
    const modality = text(instance.dataset, 'Modality');
    if (modality !== '') entry.modalities.add(modality);
  }
  const entries = [...found.values()];
  for (const entry of entries) addComputed(entry, level);
  return level === 'study' ? entries.sort((a, b) => compare(whenOf(b), whenOf(a))) : entries;
}

function addComputed({ json, modalities, series, instances, url }: Found, level: Level): void {
  const set = (keyword: Keyword, vr: string, ...values: JsonValue[]) => {
    json[hexOfTag(tagOf(keyword))] = { vr, Value: values };
  };
  set('InstanceAvailability', 'CS', 'ONLINE');
  set('RetrieveURL', 'UR', url);
  if (level === 'study') {
    set('ModalitiesInStudy', 'CS', ...[...modalities].sort());
    set('NumberOfStudyRelatedSeries', 'IS', series.size);
    set('NumberOfStudyRelatedInstances', 'IS', instances);
  } else if (level === 'series') set('NumberOfSeriesRelatedInstances', 'IS', instances);
}

const isMatch = ({ json }: Found, { filters }: Query): boolean =>
  [...filters].every(([tag, wanted]) => matches(tag, json[hexOfTag(tag)], wanted));

/** What the answer shows of a row: the level's own attributes, the levels above unless the path names them, and extras. */
function project(json: JsonDataset, { level, study, series }: SearchScope, query: Query): JsonDataset {
  const shown = new Set<Keyword>([...RETURN[level], ...COMPUTED]);
  if (level !== 'study' && study === undefined) for (const keyword of STUDY_RETURN) shown.add(keyword);
  if (level === 'instance' && series === undefined) for (const keyword of SERIES_RETURN) shown.add(keyword);
  const tags = new Set<Tag>([...shown].map(tagOf));
  for (const tag of query.filters.keys()) tags.add(tag);
  const known = new Set<Tag>([...KEYS[level], ...RETURN[level]].map(tagOf));
  const extra = query.include === 'all' ? known : query.include;
  // Attributes of a lower level are not returned (PS3.18 10.6.3.3.1); at the instance level everything is its own.
  for (const tag of extra) if (level === 'instance' || known.has(tag)) tags.add(tag);
  const everything = level === 'instance' && query.include === 'all';
  const row = new Map(Object.entries(json).filter(([hex]) => everything || tags.has(Number.parseInt(hex, 16))));
  for (const keyword of shown) {
    const hex = hexOfTag(tagOf(keyword));
    if (REQUIRED.has(keyword) && !row.has(hex)) row.set(hex, { vr: ATTRIBUTES[keyword][1] });
  }
  return Object.fromEntries([...row].sort(([a], [b]) => compare(a, b)));
}

/** `tags` null: everything. The character set always stays: values cannot be read without it. */
function pick(dataset: Dataset, tags: ReadonlySet<Tag> | null): Dataset {
  if (tags === null) return dataset;
  const charset = tagOf('SpecificCharacterSet');
  return new Map([...dataset].filter(([tag]) => tag === charset || tags.has(tag)));
}

const keyOf = ({ studyInstanceUid, seriesInstanceUid, sopInstanceUid }: StoredInstance, level: Level): string =>
  level === 'study'
    ? studyInstanceUid
    : level === 'series'
      ? `${studyInstanceUid}/${seriesInstanceUid}`
      : sopInstanceUid;

function pathOf({ studyInstanceUid, seriesInstanceUid, sopInstanceUid }: StoredInstance, level: Level): string {
  const study = `/studies/${studyInstanceUid}`;
  if (level === 'study') return study;
  const series = `${study}/series/${seriesInstanceUid}`;
  return level === 'series' ? series : `${series}/instances/${sopInstanceUid}`;
}

/** Newest study first, so that pages are stable and useful; studies without a date last. */
const whenOf = ({ json }: Found): string =>
  `${json['00080020']?.Value?.[0] ?? ''}${json['00080030']?.Value?.[0] ?? ''}`;
const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
