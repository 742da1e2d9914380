/**
 * The DICOM object of an analysis: Comprehensive 3D SR, TID 1500 Measurement Report (PS3.16), as IHE AI Results asks.
 * Unverified and preliminary always. A score becomes a measurement; everything else says its outcome in words and has
 * no number. The same result gives the same bytes.
 */
import type { AnalysisResult } from './analysis.ts';
import { buildDataset, type Values } from './build.ts';
import type { Dataset, InstanceHeader } from './dataset.ts';
import { createScanner } from './scan.ts';
import { type Code, code, codeItem, container, image, num, templateId, textItem, uidItem } from './sr-content.ts';
import { type Keyword, tagOf } from './tags.ts';
import { deriveUid } from './uids.ts';
import { text } from './values.ts';
import { writePart10 } from './write.ts';

const COMPREHENSIVE_3D_SR = '1.2.840.10008.5.1.4.1.1.88.34';

/** Patient and General Study modules (PS3.3 C.7.1.1, C.7.2.1) and what says how to read them: copied byte by byte. */
const COPIED: readonly Keyword[] = [
  'SpecificCharacterSet',
  'StudyDate',
  'StudyTime',
  'AccessionNumber',
  'IssuerOfAccessionNumberSequence',
  'ReferringPhysicianName',
  'TimezoneOffsetFromUTC',
  'StudyDescription',
  'PatientName',
  'PatientID',
  'IssuerOfPatientID',
  'TypeOfPatientID',
  'IssuerOfPatientIDQualifiersSequence',
  'PatientBirthDate',
  'PatientSex',
  'OtherPatientIDsSequence',
  'PatientAge',
  'QualityControlSubject',
  'PatientIdentityRemoved',
  'DeidentificationMethod',
  'DeidentificationMethodCodeSequence',
  'StudyInstanceUID',
  'StudyID',
];

/** Type 2: present, if need be empty. */
const REQUIRED_EVEN_IF_EMPTY: Values = {
  StudyDate: '',
  StudyTime: '',
  AccessionNumber: '',
  ReferringPhysicianName: '',
  PatientName: '',
  PatientID: '',
  PatientBirthDate: '',
  PatientSex: '',
  StudyID: '',
};

/** Our own concepts, where DICOM and SNOMED have none (PS3.16 section 8.2: designators that begin with 99 are private). */
const SCHEME = '99ABATON';
const own = (value: string, meaning: string): Code => [value, SCHEME, meaning];
const NO_UNITS: Code = ['1', 'UCUM', 'no units'];
/** The one member of CID 100 that holds for every image. */
const IMAGING_PROCEDURE: Code = ['363679005', 'SCT', 'Imaging procedure'];
const ABOVE = own('above-op-point', 'Score at or above the operating point');
const YES: Code = ['373066001', 'SCT', 'Yes'];
const NO: Code = ['373067005', 'SCT', 'No'];

const OUTCOMES: Record<AnalysisResult['outcome'], Code> = {
  scored: own('scored', 'Scored'),
  'out-of-scope': own('out-of-scope', 'Out of scope: the model gives no score'),
  'no-model': own('no-model', 'No model for this study'),
  failed: own('failed', 'Failed: there is no result'),
};

/** LO has at most 64 characters (PS3.5 Table 6.2-1). */
const lo = (value: string): string => value.slice(0, 64);

/** `source`: the instance that was scored, or that the reasons speak of. */
export function buildSr(
  result: AnalysisResult,
  source: { dataset: Dataset },
): { part10: Uint8Array; header: InstanceHeader } {
  const part10 = writePart10(buildDocument(result, source.dataset));
  const scanner = createScanner();
  scanner.push(part10);
  return { part10, header: scanner.end() };
}

function buildDocument(result: AnalysisResult, source: Dataset): Dataset {
  const { model } = result;
  const copied = COPIED.flatMap((keyword) => source.get(tagOf(keyword)) ?? []);
  const [date, time] = localTime(result.createdAt, text(source, 'TimezoneOffsetFromUTC'));
  const complete = result.outcome === 'scored';
  const base = buildDataset({ ...REQUIRED_EVEN_IF_EMPTY }).values();
  return buildDataset(
    {
      SOPClassUID: COMPREHENSIVE_3D_SR,
      SOPInstanceUID: deriveUid(result.id, 'sr', 'instance'),
      SeriesInstanceUID: deriveUid(result.id, 'sr', 'series'),
      Modality: 'SR',
      SeriesNumber: '1',
      SeriesDescription: lo(`AI result, unverified: ${result.label}`),
      ReferencedPerformedProcedureStepSequence: [],
      Manufacturer: lo(model?.manufacturer ?? 'Abaton'),
      ManufacturerModelName: lo(model?.title ?? 'Abaton'),
      DeviceSerialNumber: (model?.digest ?? result.codeHash).slice(-64),
      SoftwareVersions: lo(model?.modelVersion ?? 'none'),
      CodingSchemeIdentificationSequence: [
        buildDataset({ CodingSchemeDesignator: SCHEME, CodingSchemeName: 'Abaton result concepts' }),
      ],
      InstanceNumber: '1',
      ContentDate: date,
      ContentTime: time,
      ObservationDateTime: `${localTime(result.createdAt, '').join('')}+0000`,
      CompletionFlag: complete ? 'COMPLETE' : 'PARTIAL',
      CompletionFlagDescription: complete ? undefined : result.outcome,
      VerificationFlag: 'UNVERIFIED',
      PreliminaryFlag: 'PRELIMINARY',
      PerformedProcedureCodeSequence: [],
      CurrentRequestedProcedureEvidenceSequence: [evidence(source)],
      ValueType: 'CONTAINER',
      ConceptNameCodeSequence: [codeItem(['126000', 'DCM', 'Imaging Measurement Report'])],
      ContinuityOfContent: 'SEPARATE',
      ContentTemplateSequence: templateId('1500'),
      ContentSequence: content(result, source),
    },
    [...base, ...copied],
  );
}

/** TID 1500, rows in order. */
function content(result: AnalysisResult, source: Dataset): Dataset[] {
  return [
    code(
      'HAS CONCEPT MOD',
      ['121049', 'DCM', 'Language of Content Item and Descendants'],
      ['en', 'RFC5646', 'English'],
    ),
    ...deviceObserver(result),
    code('HAS CONCEPT MOD', ['121058', 'DCM', 'Procedure reported'], IMAGING_PROCEDURE),
    container(
      'CONTAINS',
      ['111028', 'DCM', 'Image Library'],
      [container('CONTAINS', ['126200', 'DCM', 'Image Library Group'], [image('CONTAINS', null, reference(source))])],
    ),
    ...(result.finding
      ? [
          container(
            'CONTAINS',
            ['126010', 'DCM', 'Imaging Measurements'],
            [measurementGroup(result, result.finding, source)],
          ),
        ]
      : []),
    container(
      'CONTAINS',
      ['C0034375', 'UMLS', 'Qualitative Evaluations'],
      [
        code('CONTAINS', own('outcome', 'Outcome of the analysis'), OUTCOMES[result.outcome]),
        ...(result.finding ? [code('CONTAINS', ABOVE, result.finding.aboveOperatingPoint ? YES : NO)] : []),
        textItem('CONTAINS', own('label', 'Status of this result'), result.label),
        ...result.reasons.map((reason) => textItem('CONTAINS', own('reason', 'Reason why there is no score'), reason)),
        textItem('CONTAINS', own('model-digest', 'Digest of the model'), result.model?.digest ?? 'none'),
        textItem('CONTAINS', own('code-hash', 'Hash of the attested code'), result.codeHash),
        textItem('CONTAINS', own('evidence-id', 'Attestation evidence that was valid then'), result.evidenceId),
      ],
    ),
  ];
}

/** TID 1002 and 1004: a device observed. */
function deviceObserver({ model, codeHash }: AnalysisResult): Dataset[] {
  return [
    code('HAS OBS CONTEXT', ['121005', 'DCM', 'Observer Type'], ['121007', 'DCM', 'Device']),
    uidItem(
      'HAS OBS CONTEXT',
      ['121012', 'DCM', 'Device Observer UID'],
      deriveUid('device', model?.digest ?? codeHash),
    ),
    textItem('HAS OBS CONTEXT', ['121013', 'DCM', 'Device Observer Name'], model?.title ?? 'Abaton'),
    textItem('HAS OBS CONTEXT', ['121014', 'DCM', 'Device Observer Manufacturer'], model?.manufacturer ?? 'Abaton'),
    textItem('HAS OBS CONTEXT', ['121015', 'DCM', 'Device Observer Model Name'], model?.id ?? 'Abaton'),
  ];
}

/** TID 1501, with TID 4019 and TID 300. The finding is asserted only above the operating point and never of a phantom. */
function measurementGroup(
  { id, model, demonstration }: AnalysisResult,
  finding: NonNullable<AnalysisResult['finding']>,
  source: Dataset,
): Dataset {
  const what: Code = [finding.code, finding.scheme, finding.display];
  const modifiers = () => [
    code('HAS CONCEPT MOD', own('score-for', 'Finding that the score is for'), what),
    image('INFERRED FROM', ['121112', 'DCM', 'Source of Measurement'], reference(source)),
  ];
  const asserted = finding.aboveOperatingPoint && !demonstration;
  return container(
    'CONTAINS',
    ['125007', 'DCM', 'Measurement Group'],
    [
      textItem('HAS OBS CONTEXT', ['112039', 'DCM', 'Tracking Identifier'], id),
      uidItem('HAS OBS CONTEXT', ['112040', 'DCM', 'Tracking Unique Identifier'], deriveUid(id, 'sr', 'tracking')),
      ...(asserted ? [code('CONTAINS', ['121071', 'DCM', 'Finding'], what)] : []),
      textItem('HAS CONCEPT MOD', ['111001', 'DCM', 'Algorithm Name'], model?.id ?? 'none'),
      textItem('HAS CONCEPT MOD', ['111003', 'DCM', 'Algorithm Version'], model?.modelVersion ?? 'none'),
      textItem('HAS CONCEPT MOD', ['111002', 'DCM', 'Algorithm Parameters'], `model-digest=${model?.digest ?? 'none'}`),
      num(own('score', 'Uncalibrated classifier score, 0 to 1'), finding.score, NO_UNITS, modifiers()),
      num(own('operating-point', 'Operating point of the score'), finding.operatingPoint, NO_UNITS, modifiers()),
    ],
    '1501',
  );
}

const reference = (source: Dataset): Dataset =>
  buildDataset({
    ReferencedSOPClassUID: text(source, 'SOPClassUID'),
    ReferencedSOPInstanceUID: text(source, 'SOPInstanceUID'),
  });

/** PS3.3 section C.17.2: every instance that the content refers to. */
const evidence = (source: Dataset): Dataset =>
  buildDataset({
    StudyInstanceUID: text(source, 'StudyInstanceUID'),
    ReferencedSeriesSequence: [
      buildDataset({
        SeriesInstanceUID: text(source, 'SeriesInstanceUID'),
        ReferencedSOPSequence: [reference(source)],
      }),
    ],
  });

/**
 * DA and TM in the time zone of the source, when it names one: Timezone Offset From UTC (0008,0201) holds for the whole
 * data set, study date included. Without it they are in UTC, and Observation DateTime carries the offset.
 */
function localTime(iso: string, offset: string): [date: string, time: string] {
  const [, sign, hours, minutes] = /^([+-])(\d\d)(\d\d)$/.exec(offset) ?? [];
  const shiftMinutes = sign ? (sign === '-' ? -1 : 1) * (Number(hours) * 60 + Number(minutes)) : 0;
  const [date, time] = new Date(Date.parse(iso) + shiftMinutes * 60_000).toISOString().split('T');
  return [date!.replaceAll('-', ''), time!.slice(0, 8).replaceAll(':', '')];
}
