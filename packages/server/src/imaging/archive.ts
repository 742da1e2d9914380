/** Stored instances, studies and results: sealed rows over sealed blobs. The only writer of those tables. */
import type { Job } from '../jobs/queue.ts';
import type { PatientRef, SealedObject } from '../vault/vault.ts';
import type { AnalysisResult } from './analysis.ts';
import type { Dataset, InstanceHeader } from './dataset.ts';

/** Opaque reference of a study (blind index of tenant and Study Instance UID). */
export type StudyRef = string & { readonly __brand: 'StudyRef' };

export interface NewInstance {
  header: InstanceHeader;
  patient: PatientRef;
  object: SealedObject;
}

export type StoreOutcome = 'stored' | 'identical' | 'conflict';

export interface StoredInstance {
  studyInstanceUid: string;
  seriesInstanceUid: string;
  sopInstanceUid: string;
  sopClassUid: string;
  transferSyntaxUid: string;
  /** The header elements (no pixel data), as they came. */
  dataset: Dataset;
  patient: PatientRef;
  object: SealedObject;
}

export interface StoredResult {
  id: string;
  study: StudyRef;
  patient: PatientRef;
  /** SHA-256 over the sorted plaintext digests of the study's instances: the same input gives the same result id. */
  inputDigest: string;
  modelDigest: string;
  body: AnalysisResult;
  logIndex: number;
  createdMs: number;
}

export interface StudyArchive {
  studyRef(studyInstanceUid: string): StudyRef;
  /**
   * Commits the rows of instances whose blobs are durable, and the analysis job of each study touched, in one
   * transaction. Durable on return. Same SOP Instance UID: same bytes → 'identical' (nothing changes), other bytes →
   * 'conflict' (the first is kept). Blobs that the rows do not need are deleted.
   */
  addInstances(instances: readonly NewInstance[]): Promise<StoreOutcome[]>;
  /** All instances of the tenant, opened; `study`/`series` narrow it. Order: series, instance number. */
  listInstances(study?: string, series?: string): AsyncIterable<StoredInstance>;
  /**
   * Commits a result, its SR (an instance that never starts an analysis) and the completion of the job in one
   * transaction. 'duplicate': the id existed, nothing was added, the job is complete. 'lost': the lease was lost.
   */
  commitResult(job: Job, result: StoredResult, sr: NewInstance | null): Promise<'committed' | 'duplicate' | 'lost'>;
  findInstance(study: string, series: string, instance: string): Promise<StoredInstance | null>;
  studyState(study: StudyRef): Promise<'unknown' | 'queued' | 'running' | 'complete' | 'failed'>;
  /** Received instances of the study (results left out): the input of an analysis. */
  inputOf(study: StudyRef): Promise<{ instances: StoredInstance[]; inputDigest: string }>;
  results(study: StudyRef): Promise<StoredResult[]>;
  findResult(id: string): Promise<StoredResult | null>;
}
