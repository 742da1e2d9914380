/** Instances and results as the archive takes them. UIDs and content are made up here. */
import { createHash } from 'node:crypto';
import type { AnalysisResult } from '../src/imaging/analysis.ts';
import type { NewInstance, StoredResult, StudyRef } from '../src/imaging/archive.ts';
import type { Dataset, Element } from '../src/imaging/dataset.ts';
import type { State } from '../src/open-state.ts';
import type { PatientRef } from '../src/vault/vault.ts';

export interface InstanceFixture {
  study?: string;
  series?: string;
  sop?: string;
  patientId?: string;
  number?: number;
  bytes?: Uint8Array;
  elements?: Element[];
}

const latin1 = (text: string): Uint8Array => Buffer.from(text, 'latin1');

export function datasetOf(...elements: Element[]): Dataset {
  return new Map(elements.map((element) => [element.tag, element]));
}

/** Stores the bytes and describes them; the row is the caller's. */
export async function newInstance({ vault }: State, fixture: InstanceFixture = {}): Promise<NewInstance> {
  const { study = '2.25.1', series = `${study}.1`, sop = `${series}.1`, patientId = 'P1', number = 1 } = fixture;
  const bytes = fixture.bytes ?? latin1(`content of ${sop}`);
  const patient = vault.patientRef('test', '', patientId);
  const writer = vault.createObject();
  await writer.write(bytes);
  const object = await writer.finish(patient);
  const dataset = datasetOf(
    { tag: 0x00080018, vr: 'UI', value: latin1(sop) },
    { tag: 0x00100020, vr: 'LO', value: latin1(patientId) },
    { tag: 0x0020000d, vr: 'UI', value: latin1(study) },
    { tag: 0x00200013, vr: 'IS', value: latin1(String(number)) },
    ...(fixture.elements ?? []),
  );
  const header = {
    transferSyntaxUid: '1.2.840.10008.1.2.1',
    sopClassUid: '1.2.840.10008.5.1.4.1.1.2',
    sopInstanceUid: sop,
    studyInstanceUid: study,
    seriesInstanceUid: series,
    patientId,
    issuerOfPatientId: '',
    dataset,
    pixelData: null,
    headerBytes: 0,
    totalBytes: bytes.length,
  };
  return { header, patient, object };
}

export function resultOf(study: StudyRef, patient: PatientRef, inputDigest: string, studyUid: string): StoredResult {
  const id = createHash('sha256').update(`${inputDigest} model`).digest('hex');
  const body: AnalysisResult = {
    version: 1,
    id,
    studyInstanceUid: studyUid,
    outcome: 'no-model',
    demonstration: false,
    label: 'reference model, not for clinical use',
    model: null,
    finding: null,
    reasons: ['no model for this study'],
    source: null,
    inputDigest,
    codeHash: '',
    evidenceId: '',
    createdAt: '2026-01-01T00:00:00.000Z',
    sr: null,
    diagnosticReportId: id,
    logSalt: '',
  };
  return {
    id,
    study,
    patient,
    inputDigest,
    modelDigest: 'model',
    body,
    logged: { origin: 'abaton.test/audit/2026', index: 5 },
    createdMs: 1_700_000_000_000,
  };
}
