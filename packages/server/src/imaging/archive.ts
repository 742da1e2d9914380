/** Stored instances, studies and results: sealed rows over sealed blobs. The only writer of those tables. */
import type { LogPosition } from '../audit/log.ts';
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
  /** Of the input that was analysed; see `inputOf`. */
  inputDigest: string;
  modelDigest: string;
  body: AnalysisResult;
  /** Its log entry. */
  logged: LogPosition;
  createdMs: number;
}

export interface StudyArchive {
  studyRef(studyInstanceUid: string): StudyRef;
  /**
   * Commits the rows of instances whose blobs are durable, and the analysis job of each study touched, in one
   * transaction. Durable on return. Same SOP Instance UID: same bytes → 'identical' (nothing changes), other bytes →
   * 'conflict' (the first is kept). Blobs that the rows do not need are deleted, also when it throws. The job,
   * 'analyze-study' with the study's reference, waits until the study has been idle for `studyIdleMs`.
   */
  addInstances(instances: readonly NewInstance[]): Promise<StoreOutcome[]>;
  /** All instances of the tenant, opened; `study`/`series` narrow it. Order: series, instance number. */
  listInstances(study?: string, series?: string): AsyncIterable<StoredInstance>;
  /**
   * Commits a result, its SR (an instance that never starts an analysis) and the completion of the job in one
   * transaction. 'duplicate': the id existed, nothing was added, the job is complete. 'lost': the lease was lost, and
   * nothing changed. The SR's blob is deleted when no row needs it.
   */
  commitResult(job: Job, result: StoredResult, sr: NewInstance | null): Promise<'committed' | 'duplicate' | 'lost'>;
  /** Resolves when a study may have changed, or after `timeoutMs`: a hint to look again, never a promise. */
  changed(timeoutMs: number): Promise<void>;
  findInstance(study: string, series: string, instance: string): Promise<StoredInstance | null>;
  /** 'complete': nothing is left to do, and the results say what came out. 'failed': the job is dead. */
  studyState(study: StudyRef): Promise<'unknown' | 'queued' | 'running' | 'complete' | 'failed'>;
  /**
   * Received instances of the study (results left out), in the order of `listInstances`: the input of an analysis.
   * `inputDigest`: SHA-256, hex, over their plaintext digests (32 bytes each), sorted: the same bytes give the same
   * digest, in whatever order they came.
   */
  inputOf(study: StudyRef): Promise<{ instances: StoredInstance[]; inputDigest: string }>;
  /** Oldest first. */
  results(study: StudyRef): Promise<StoredResult[]>;
  findResult(id: string): Promise<StoredResult | null>;
  /** Whether a row needs the blob: what a blob store asks when it removes what a crash left behind. */
  isReferenced(blobKey: string): Promise<boolean>;
}
