/**
 * STOW-RS (PS3.18 section 10.5): each instance is sealed while it arrives, and acknowledged when its rows, the analysis
 * job of its study and the audit events are durable. What arrives before a request breaks off is never acknowledged.
 */
import type { AuditRequest } from '../../audit/events.ts';
import { errorOf } from '../../errors.ts';
import type { PatientRef } from '../../vault/vault.ts';
import { atDoor } from '../disclosure.ts';
import type { DicomwebDeps } from './deps.ts';
import { type Received, receiveInstance } from './intake.ts';
import { parseMediaType, requireAccepted } from './media-types.ts';
import { type Part, parseBoundary, readMultipart, readSinglePart } from './multipart.ts';
import { FAILURES, type StoreReport, storeResponse, storeStatus } from './store-response.ts';

/** One row each; so many are committed together, so that memory does not grow with the request. */
const MAX_GROUP = 200;
/** Headers that wait for their commit: a group of ordinary ones (some KiB each), or one as large as is taken at all. */
const MAX_GROUP_HEADER_BYTES = 16 * 2 ** 20;
/** Four times the largest studies in practice (whole-body PET/CT); bounds the answer to some MiB. */
const MAX_INSTANCES = 20_000;

/** What one study of one patient has to do with the request: one audit event. */
interface Touched {
  studyInstanceUid: string;
  patient: PatientRef;
  counts: { stored: number; identical: number; conflict: number };
}

/** Answers `POST /studies` (`study` null) and `POST /studies/{study}`. `base`: URL of the service. */
export type Store = (request: Request, study: string | null, base: string, asked: AuditRequest) => Promise<Response>;

export function createStore(deps: DicomwebDeps): Store {
  const instances = deps.metrics.counter('abaton_stow_instances_total', 'Instances received by STOW-RS, by outcome.');
  let uploads = 0;

  return async (request, study, base, asked) => {
    deps.gate.requireOpen(); // before the first byte is taken
    requireAccepted(request.headers.get('accept') ?? undefined, 'application/dicom+json', 'application/json');
    const parts = partsOf(request, deps.maxInstanceBytes);
    if (uploads >= deps.maxConcurrentUploads) throw errorOf('OVERLOADED', `${uploads} uploads are under way.`);
    uploads++;
    try {
      const report = await receiveAll(deps, asked, parts, study, (outcome) => instances.add({ outcome }));
      const module = JSON.stringify(storeResponse(report, base));
      return new Response(module, {
        status: storeStatus(report),
        headers: { 'Content-Type': 'application/dicom+json' },
      });
    } finally {
      uploads--;
    }
  };
}

/** Throws MEDIA_TYPE_UNSUPPORTED or REQUEST_INVALID before the body is touched. */
function partsOf({ headers, body }: Request, maxPartBytes: number): AsyncIterable<Part> {
  const type = parseMediaType(headers.get('content-type') ?? undefined);
  const limits = { maxPartBytes, maxParts: MAX_INSTANCES };
  const encoding = headers.get('content-encoding');
  if (encoding !== null && encoding !== 'identity')
    throw errorOf('MEDIA_TYPE_UNSUPPORTED', 'The body must come without Content-Encoding.');
  const root = type?.type === 'multipart/related' ? type.parameters.get('type')?.toLowerCase() : type?.type;
  if (root !== 'application/dicom')
    throw errorOf('MEDIA_TYPE_UNSUPPORTED', 'Send multipart/related; type="application/dicom", or application/dicom.');
  if (body === null) throw errorOf('REQUEST_INVALID', 'The request has no body.');
  if (type?.type === root) return readSinglePart(body, new Map(), limits);
  return readMultipart(body, parseBoundary(type?.parameters.get('boundary')), limits);
}

async function receiveAll(
  deps: DicomwebDeps,
  asked: AuditRequest,
  parts: AsyncIterable<Part>,
  study: string | null,
  count: (outcome: string) => void,
): Promise<StoreReport> {
  const report: StoreReport = { stored: [], failed: [] };
  const touched = new Map<string, Touched>();
  const group: Received[] = [];
  let groupHeaderBytes = 0;

  const commitGroup = async () => {
    deps.gate.requireOpen();
    const received = group.splice(0).map(({ instance }) => instance);
    groupHeaderBytes = 0;
    const outcomes = await deps.archive.addInstances(received);
    for (const [i, { header, patient }] of received.entries()) {
      const { studyInstanceUid, seriesInstanceUid, sopClassUid, sopInstanceUid } = header;
      const reference = { studyInstanceUid, seriesInstanceUid, sopClassUid, sopInstanceUid };
      const outcome = outcomes[i]!;
      if (outcome === 'conflict') report.failed.push({ reference, failure: FAILURES.duplicate });
      else report.stored.push(reference);
      const key = JSON.stringify([studyInstanceUid, patient]);
      const counts = touched.get(key)?.counts ?? { stored: 0, identical: 0, conflict: 0 };
      counts[outcome]++;
      touched.set(key, { studyInstanceUid, patient, counts });
      count(outcome);
    }
  };

  try {
    for await (const part of parts) {
      deps.gate.requireOpen();
      const received = await receivePart(deps, part, study);
      if ('failure' in received) {
        report.failed.push(received);
        count('refused');
        continue;
      }
      group.push(received);
      groupHeaderBytes += received.instance.header.headerBytes;
      if (group.length === MAX_GROUP || groupHeaderBytes >= MAX_GROUP_HEADER_BYTES) await commitGroup();
    }
    if (group.length > 0) await commitGroup();
  } finally {
    await Promise.all(group.map(({ discard }) => discard())); // none, unless the request failed
    // Groups that are committed stay, acknowledged or not: they are recorded either way.
    if (touched.size > 0) await deps.trail.recordAll([...touched.values()].map((study) => eventOf(deps, asked, study)));
  }
  if (report.stored.length + report.failed.length === 0) throw errorOf('REQUEST_INVALID', 'The request has no parts.');
  return report;
}

async function receivePart(deps: DicomwebDeps, part: Part, study: string | null) {
  const type = part.headers.get('content-type');
  if (type === undefined || parseMediaType(type)?.type === 'application/dicom')
    return receiveInstance(deps, part.body, study);
  const reference = { studyInstanceUid: '', seriesInstanceUid: '', sopClassUid: '', sopInstanceUid: '' };
  return { reference, failure: FAILURES.mediaType };
}

const eventOf = (
  { archive, gate }: DicomwebDeps,
  asked: AuditRequest,
  { studyInstanceUid, patient, counts }: Touched,
) =>
  ({
    ...atDoor(gate, asked),
    action: 'create',
    patient,
    object: { kind: 'study', ref: archive.studyRef(studyInstanceUid) },
    outcome: counts.stored + counts.identical > 0 ? 'success' : 'failure',
    facts: counts,
    detail: { studyInstanceUid },
  }) as const;
