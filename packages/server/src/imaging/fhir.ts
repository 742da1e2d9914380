/**
 * The FHIR R4 DiagnosticReport of an analysis, with the algorithm (Device) and the score (Observation) contained. Only
 * a score is `preliminary`; everything else is `cancelled`, and its data-absent-reason, code and text say why: R4 has
 * no state in which "did not run" could be read as "negative" (hl7.org/fhir/R4/valueset-diagnostic-report-status).
 */
import type { AnalysisResult } from './analysis.ts';
import type { Dataset } from './dataset.ts';
import { text } from './values.ts';

interface Coding {
  system: string;
  code: string;
  display: string;
}

/** Coding scheme designators of DICOM (PS3.16 Table 8-1) as FHIR systems. */
const SYSTEMS: Record<string, string> = {
  SCT: 'http://snomed.info/sct',
  DCM: 'http://dicom.nema.org/resources/ontology/DCM',
  LN: 'http://loinc.org',
  RADLEX: 'http://radlex.org',
  UCUM: 'http://unitsofmeasure.org',
};
/** Our own codes; the same values as under 99ABATON in the SR. */
const OWN_SYSTEM = 'urn:abaton:result-concepts';

const OUTCOMES: Record<AnalysisResult['outcome'], { display: string; absent: string | null }> = {
  scored: { display: 'Scored', absent: null },
  'out-of-scope': { display: 'Out of scope: the model gives no score', absent: 'not-applicable' },
  'no-model': { display: 'No model for this study', absent: 'not-performed' },
  failed: { display: 'Failed: there is no result', absent: 'error' },
};

const concept = (...coding: Coding[]) => ({ coding, text: coding[0]!.display });
const own = (code: string, display: string): Coding => ({ system: OWN_SYSTEM, code, display });
const DIAGNOSTIC_IMAGING: Coding = { system: SYSTEMS.LN!, code: '18748-4', display: 'Diagnostic imaging study' };

export type DiagnosticReport = ReturnType<typeof buildDiagnosticReport>;

/** `source`: the header of the instance that was scored, or that the reasons speak of. */
export function buildDiagnosticReport(result: AnalysisResult, source: Dataset) {
  const { outcome, finding } = result;
  const subject = patientReference(source);
  const asserted = finding?.aboveOperatingPoint && !result.demonstration;
  const studyDate = /^(\d{4})(\d\d)(\d\d)$/.exec(text(source, 'StudyDate'));
  return {
    resourceType: 'DiagnosticReport' as const,
    id: result.diagnosticReportId,
    meta: result.demonstration
      ? {
          security: [
            {
              system: 'http://terminology.hl7.org/CodeSystem/v3-ActReason',
              code: 'HTEST',
              display: 'test health data',
            },
          ],
        }
      : undefined,
    language: 'en',
    contained: [algorithm(result), observation(result, subject)],
    identifier: [{ system: 'urn:ietf:rfc:3986', value: `urn:sha256:${result.id}` }],
    status: outcome === 'scored' ? ('preliminary' as const) : ('cancelled' as const),
    category: [concept({ system: 'http://terminology.hl7.org/CodeSystem/v2-0074', code: 'RAD', display: 'Radiology' })],
    code: concept(DIAGNOSTIC_IMAGING),
    subject,
    effectiveDateTime: studyDate ? studyDate.slice(1).join('-') : undefined,
    issued: result.createdAt,
    result: [{ reference: '#observation' }],
    imagingStudy: [
      {
        type: 'ImagingStudy',
        identifier: { system: 'urn:dicom:uid', value: `urn:oid:${result.studyInstanceUid}` },
      },
    ],
    conclusion: [
      `${result.label}.`,
      finding ? scoreText(finding) : `${OUTCOMES[outcome].display}.`,
      ...result.reasons,
    ].join(' '),
    conclusionCode: [
      concept(own(outcome, OUTCOMES[outcome].display)),
      ...(asserted ? [concept(findingCoding(finding))] : []),
    ],
  };
}

/** The patient as the study names them; not a resource of ours, so by identifier. */
function patientReference(source: Dataset) {
  const id = text(source, 'PatientID');
  const issuer = text(source, 'IssuerOfPatientID');
  if (id === '') return { type: 'Patient', display: 'not identified in the study' };
  return { type: 'Patient', identifier: { value: id, ...(issuer && { assigner: { display: issuer } }) } };
}

/** What ran, and the proof of where: digests as properties of the device. */
function algorithm({ model, codeHash, evidenceId }: AnalysisResult) {
  const property = (code: string, display: string, value: string) => ({
    type: concept(own(code, display)),
    valueCode: [{ text: value }],
  });
  return {
    resourceType: 'Device' as const,
    id: 'algorithm',
    manufacturer: model?.manufacturer ?? 'Abaton',
    deviceName: [{ name: model?.title ?? 'Abaton', type: 'user-friendly-name' as const }],
    modelNumber: model?.id,
    version: model ? [{ value: model.modelVersion }] : undefined,
    property: [
      ...(model ? [property('model-digest', 'Digest of the model', model.digest)] : []),
      property('code-hash', 'Hash of the attested code', codeHash),
      property('evidence-id', 'Attestation evidence that was valid then', evidenceId),
    ],
  };
}

function observation(
  { outcome, finding, label, createdAt }: AnalysisResult,
  subject: ReturnType<typeof patientReference>,
) {
  const { absent } = OUTCOMES[outcome];
  return {
    resourceType: 'Observation' as const,
    id: 'observation',
    status: outcome === 'scored' ? ('preliminary' as const) : ('cancelled' as const),
    code: concept(own('score', 'Uncalibrated classifier score, 0 to 1')),
    subject,
    issued: createdAt,
    valueQuantity: finding ? { value: finding.score, unit: 'score', system: SYSTEMS.UCUM, code: '1' } : undefined,
    dataAbsentReason: absent
      ? { coding: [{ system: 'http://terminology.hl7.org/CodeSystem/data-absent-reason', code: absent }] }
      : undefined,
    note: [{ text: label }],
    device: { reference: '#algorithm' },
    component: finding
      ? [
          {
            code: concept(own('score-for', 'Finding that the score is for')),
            valueCodeableConcept: concept(findingCoding(finding)),
          },
          {
            code: concept(own('operating-point', 'Operating point of the score')),
            valueQuantity: { value: finding.operatingPoint, unit: 'score', system: SYSTEMS.UCUM, code: '1' },
          },
          {
            code: concept(own('above-op-point', 'Score at or above the operating point')),
            valueBoolean: finding.aboveOperatingPoint,
          },
        ]
      : undefined,
  };
}

function findingCoding({ code, scheme, display }: NonNullable<AnalysisResult['finding']>): Coding {
  return { system: SYSTEMS[scheme] ?? OWN_SYSTEM, code, display };
}

function scoreText({
  display,
  score,
  operatingPoint,
  aboveOperatingPoint,
}: NonNullable<AnalysisResult['finding']>): string {
  const side = aboveOperatingPoint ? 'at or above' : 'below';
  return `${display}: score ${score}, ${side} the operating point ${operatingPoint}. The score is not a probability.`;
}
