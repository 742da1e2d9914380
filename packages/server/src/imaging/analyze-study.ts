/**
 * The job 'analyze-study': route → infer in the isolated child → SR → log entry → result, in that order. Everything
 * before the last step may happen twice (a lease that ran out, a crash); the result's id makes it visible once.
 */
import { createHash, randomBytes } from 'node:crypto';
import { digestResult } from '@abaton/client';
import { ACCESS_POLICY_SHA256 } from '../access-policy.ts';
import { type AuditEvent, type AuditTrail, purposeIn } from '../audit/events.ts';
import { errorOf } from '../errors.ts';
import type { Job } from '../jobs/queue.ts';
import type { InferenceOutcome, LoadedModel, ModelRuntime, Route, Routing } from '../models/model.ts';
import type { Gate, GateState } from '../tee/gate.ts';
import type { Vault } from '../vault/vault.ts';
import type { AnalysisResult } from './analysis.ts';
import type { NewInstance, StoredInstance, StudyArchive, StudyRef } from './archive.ts';
import { buildSr } from './sr.ts';
import { text } from './values.ts';

/** Where the time of an analysis goes: model, SR and its sealing, log entry, transaction. */
export type AnalysisStep = 'infer' | 'report' | 'log' | 'commit';

export interface AnalysisDeps {
  archive: StudyArchive;
  vault: Vault;
  gate: Gate;
  trail: AuditTrail;
  route: Route;
  runtime: ModelRuntime;
  /** Told how long each step took. */
  observe: (step: AnalysisStep, seconds: number) => void;
  nowMs: () => number;
}

/** How one attempt ended. 'again' asks for another: the cause may pass (gate closed, child killed). */
export type AttemptOutcome = 'done' | 'again';

/** Failures that another attempt may not repeat. What the image itself causes is final. */
const TRANSIENT: readonly string[] = ['crashed', 'timeout', 'memory'];

/** Analyses the study of the job. `lastAttempt`: a transient failure is then recorded as `failed` too. */
export async function analyzeStudy(deps: AnalysisDeps, job: Job, lastAttempt: boolean): Promise<AttemptOutcome> {
  const { archive, gate, trail } = deps;
  const state = gate.requireOpen();
  const study = job.subject as StudyRef;
  const { instances, inputDigest } = await archive.inputOf(study);
  if (instances.length === 0) throw errorOf('NOT_FOUND', 'The study of this job is gone.');
  const { routing, source } = chooseInstance(deps.route, instances);
  const inferred = routing.kind === 'run' ? await timed(deps, 'infer', infer(deps, routing.model, source)) : null;
  if (inferred?.kind === 'failed' && TRANSIENT.includes(inferred.reason) && !lastAttempt) return 'again';

  const draft = buildResult(deps, state, { inputDigest, routing, inferred, source });
  const { result, sr } = await timed(deps, 'report', addSr(deps, draft, source));
  const event: AuditEvent = {
    action: 'execute',
    actor: 'abaton',
    patient: source.patient,
    object: { kind: 'study', ref: study },
    outcome: result.outcome === 'failed' ? 'failure' : 'success',
    facts: {
      resultDigest: digestResult(result),
      outcome: result.outcome,
      modelDigest: result.model?.digest ?? null,
      codeHash: result.codeHash,
      evidenceId: result.evidenceId,
    },
    detail: { studyInstanceUid: result.studyInstanceUid, resultId: result.id },
    purposeOfUse: purposeIn(state.mode),
    policies: [`sha256:${ACCESS_POLICY_SHA256}`],
  };
  // the gate may have closed meanwhile; then the study is analysed anew once it is open
  const recorded = trail.record(event, () => void gate.requireOpen());
  const logged = await timed(deps, 'log', recorded);
  const stored = {
    id: result.id,
    study,
    patient: source.patient,
    inputDigest,
    modelDigest: result.model?.digest ?? 'none',
    body: result,
    logged,
    createdMs: deps.nowMs(),
  };
  await timed(deps, 'commit', archive.commitResult(job, stored, sr));
  return 'done';
}

async function timed<T>({ observe }: AnalysisDeps, step: AnalysisStep, work: Promise<T>): Promise<T> {
  const beganMs = performance.now();
  try {
    return await work;
  } finally {
    observe(step, (performance.now() - beganMs) / 1000);
  }
}

/** The first image that a model takes; else the first that a model is for but does not cover; else none. */
function chooseInstance(route: Route, instances: StoredInstance[]): { routing: Routing; source: StoredInstance } {
  const routed = instances.map((source) => ({ routing: route(source.dataset), source }));
  const found =
    routed.find(({ routing }) => routing.kind === 'run') ??
    routed.find(({ routing }) => routing.kind === 'out-of-scope') ??
    routed[0];
  if (!found) throw new Error('a study without instances has no routing');
  const mixed = new Set(instances.map(({ patient }) => patient)).size > 1;
  if (!mixed || found.routing.kind === 'no-model') return found;
  const { model } = found.routing;
  return { ...found, routing: { kind: 'out-of-scope', model, reasons: ['the study holds more than one patient'] } };
}

function infer(
  { vault, runtime }: AnalysisDeps,
  model: LoadedModel,
  source: StoredInstance,
): Promise<InferenceOutcome> {
  return runtime.infer(model, vault.openObject(source.patient, source.object), source.object.plaintextBytes);
}

interface Parts {
  inputDigest: string;
  routing: Routing;
  inferred: InferenceOutcome | null;
  source: StoredInstance;
}

function buildResult(
  deps: AnalysisDeps,
  state: GateState,
  { inputDigest, routing, inferred, source }: Parts,
): AnalysisResult {
  const model = routing.kind === 'no-model' ? null : routing.model;
  const id = createHash('sha256')
    .update(`abaton-result-v1\0${inputDigest}\0${model?.digest ?? 'none'}`)
    .digest('hex');
  const outcome = routing.kind === 'run' ? (inferred?.kind === 'scored' ? 'scored' : 'failed') : routing.kind;
  const qcSubject = text(source.dataset, 'QualityControlSubject') === 'YES'; // PS3.3 C.7.1.1
  return {
    version: 1,
    id,
    studyInstanceUid: source.studyInstanceUid,
    outcome,
    demonstration: qcSubject,
    label: qcSubject ? 'demonstration, not a finding' : 'reference model, not for clinical use',
    model: model && {
      id: model.manifest.id,
      title: model.manifest.title,
      modelVersion: model.manifest.modelVersion,
      manufacturer: model.manifest.manufacturer,
      digest: model.digest,
    },
    finding:
      model && inferred?.kind === 'scored'
        ? {
            ...model.manifest.output.finding,
            score: inferred.score,
            operatingPoint: model.manifest.output.operatingPoint,
            aboveOperatingPoint: inferred.score >= model.manifest.output.operatingPoint,
          }
        : null,
    reasons: reasonsOf(routing, inferred),
    source: model && {
      seriesInstanceUid: source.seriesInstanceUid,
      sopInstanceUid: source.sopInstanceUid,
      sopClassUid: source.sopClassUid,
    },
    inputDigest,
    codeHash: state.codeHash ?? '',
    evidenceId: state.evidenceId ?? '',
    createdAt: new Date(deps.nowMs()).toISOString(),
    sr: null,
    diagnosticReportId: id,
    logSalt: randomBytes(32).toString('hex'),
  };
}

function reasonsOf(routing: Routing, inferred: InferenceOutcome | null): string[] {
  if (routing.kind === 'no-model') return ['no model for this study'];
  if (routing.kind === 'out-of-scope') return routing.reasons;
  return inferred?.kind === 'failed' ? [`${inferred.reason}: ${inferred.detail}`] : [];
}

/** Only a score becomes an SR: nothing else has a measurement to report. */
async function addSr(
  deps: AnalysisDeps,
  draft: AnalysisResult,
  source: StoredInstance,
): Promise<{ result: AnalysisResult; sr: NewInstance | null }> {
  if (draft.outcome !== 'scored') return { result: draft, sr: null };
  const { part10, header } = buildSr(draft, source);
  const writer = deps.vault.createObject();
  await writer.write(part10);
  const object = await writer.finish(source.patient);
  const result = {
    ...draft,
    sr: {
      seriesInstanceUid: header.seriesInstanceUid,
      sopInstanceUid: header.sopInstanceUid,
      sopClassUid: header.sopClassUid,
    },
  };
  return { result, sr: { header, patient: source.patient, object } };
}
