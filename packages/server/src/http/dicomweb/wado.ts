/**
 * WADO-RS (PS3.18 section 10.4): what is stored goes out as it was stored, never transcoded, and every part names its
 * transfer syntax. Nothing is held: a chunk is opened when the client has taken the one before.
 */
import type { AuditRequest } from '../../audit/events.ts';
import { errorOf } from '../../errors.ts';
import type { StoredInstance } from '../../imaging/archive.ts';
import type { Gate } from '../../tee/gate.ts';
import { bodyWhileOpen, permitDisclosure } from '../disclosure.ts';
import type { DicomwebDeps } from './deps.ts';
import { frameReader } from './frames.ts';
import { parseAccept, requireAccepted } from './media-types.ts';
import { toMetadata } from './metadata.ts';
import { newBoundary, type OutgoingPart, writeMultipart } from './multipart.ts';

export interface Target {
  study: string;
  series?: string;
  instance?: string;
}

/** What is needed to send an instance; its header is not kept for a whole study. */
type Sendable = Omit<StoredInstance, 'dataset'>;

/** Answers `/studies/{}`, `/studies/{}/series/{}` and `/studies/{}/series/{}/instances/{}`. */
export async function retrieve(
  deps: DicomwebDeps,
  request: Request,
  target: Target,
  asked: AuditRequest,
): Promise<Response> {
  deps.gate.requireOpen();
  const instances = await list(deps, target);
  const format = negotiate(request, 'application/dicom', instances, target.instance !== undefined);
  await permitDisclosure(deps, readEvent(deps, asked, target, instances, { as: 'instances' }));
  const typeOf = ({ transferSyntaxUid }: Sendable) => `application/dicom; transfer-syntax=${transferSyntaxUid}`;
  const open = ({ patient, object }: Sendable) => deps.vault.openObject(patient, object);
  if (format === 'single') {
    const [instance] = instances as [Sendable];
    const headers = { 'Content-Type': typeOf(instance), 'Content-Length': `${instance.object.plaintextBytes}` };
    return new Response(bodyWhileOpen(deps.gate, open(instance)), { headers });
  }
  async function* parts(): AsyncGenerator<OutgoingPart> {
    for (const instance of instances) yield { headers: { 'Content-Type': typeOf(instance) }, body: open(instance) };
  }
  return multipartResponse(deps.gate, 'application/dicom', '', parts());
}

/** Answers `…/metadata` at each level: the data sets without their pixel data, in the DICOM JSON Model. */
export async function retrieveMetadata(
  deps: DicomwebDeps,
  request: Request,
  target: Target,
  asked: AuditRequest,
): Promise<Response> {
  deps.gate.requireOpen();
  requireAccepted(request.headers.get('accept') ?? undefined, 'application/dicom+json', 'application/json');
  const instances = await list(deps, target);
  await permitDisclosure(deps, readEvent(deps, asked, target, instances, { as: 'metadata' }));
  async function* body(): AsyncGenerator<Uint8Array> {
    let separator = '[';
    for (const { studyInstanceUid, seriesInstanceUid, sopInstanceUid } of instances) {
      const found = await deps.archive.findInstance(studyInstanceUid, seriesInstanceUid, sopInstanceUid);
      if (!found) continue; // erased since it was listed
      yield Buffer.from(separator + JSON.stringify(toMetadata(found.dataset)));
      separator = ',';
    }
    yield Buffer.from(separator === '[' ? '[]' : ']');
  }
  const headers = { 'Content-Type': 'application/dicom+json' };
  return new Response(bodyWhileOpen(deps.gate, body()), { headers });
}

/** Answers `…/frames/{list}`: `list` holds numbers from 1, separated by commas. */
export async function retrieveFrames(
  deps: DicomwebDeps,
  request: Request,
  target: Required<Target>,
  list: string,
  asked: AuditRequest,
): Promise<Response> {
  deps.gate.requireOpen();
  const instance = await deps.archive.findInstance(target.study, target.series, target.instance);
  if (!instance) throw notFound();
  const numbers = parseFrameList(list);
  const reader = frameReader(deps, instance);
  const format = negotiate(request, 'application/octet-stream', [{ ...instance, ...reader }], numbers.length === 1);
  const frames = await reader.locate(numbers);
  await permitDisclosure(deps, readEvent(deps, asked, target, [instance], { as: 'frames', frames: numbers.length }));
  const type = `application/octet-stream; transfer-syntax=${reader.transferSyntaxUid}`;
  if (format === 'single') {
    const [frame] = frames;
    const headers = { 'Content-Type': type, 'Content-Length': `${frame!.length}` };
    return new Response(bodyWhileOpen(deps.gate, frame!.open()), { headers });
  }
  async function* parts(): AsyncGenerator<OutgoingPart> {
    for (const { open } of frames) yield { headers: { 'Content-Type': type }, body: open() };
  }
  return multipartResponse(
    deps.gate,
    'application/octet-stream',
    `; transfer-syntax=${reader.transferSyntaxUid}`,
    parts(),
  );
}

async function list({ archive }: DicomwebDeps, { study, series, instance }: Target): Promise<Sendable[]> {
  const found: Sendable[] = [];
  if (series !== undefined && instance !== undefined) {
    const one = await archive.findInstance(study, series, instance);
    if (one) found.push(one);
  } else for await (const { dataset: _, ...rest } of archive.listInstances(study, series)) found.push(rest);
  if (found.length === 0) throw notFound();
  return found;
}

const notFound = () => errorOf('NOT_FOUND', 'There is no such study, series or instance.');

/**
 * Whether the client takes `type` by itself (possible for one object only) or as multipart, and in the transfer syntax
 * that there is. Throws NOT_ACCEPTABLE. Without a transfer-syntax parameter PS3.18 section 8.7.3 has explicit VR little
 * endian as the default; what is stored otherwise is sent all the same, and says what it is.
 */
function negotiate(
  request: Request,
  type: string,
  instances: readonly { transferSyntaxUid: string }[],
  alone: boolean,
): 'single' | 'multipart' {
  for (const accepted of parseAccept(request.headers.get('accept') ?? undefined)) {
    const syntax = accepted.parameters.get('transfer-syntax') ?? '*';
    if (syntax !== '*' && instances.some(({ transferSyntaxUid }) => transferSyntaxUid !== syntax)) continue;
    if (alone && accepted.type === type) return 'single';
    const inner = accepted.parameters.get('type')?.toLowerCase() ?? type;
    if (['*/*', 'multipart/*'].includes(accepted.type) || (accepted.type === 'multipart/related' && inner === type))
      return 'multipart';
  }
  throw errorOf(
    'NOT_ACCEPTABLE',
    `It is available as multipart/related; type="${type}", in the transfer syntax stored.`,
  );
}

function multipartResponse(gate: Gate, type: string, parameters: string, parts: AsyncIterable<OutgoingPart>): Response {
  const boundary = newBoundary();
  const contentType = `multipart/related; type="${type}"${parameters}; boundary=${boundary}`;
  const body = bodyWhileOpen(gate, writeMultipart(parts, boundary));
  return new Response(body, { headers: { 'Content-Type': contentType } });
}

function parseFrameList(list: string): number[] {
  const numbers = list.split(',').map((text) => (/^[1-9]\d{0,8}$/.test(text) ? Number(text) : 0));
  if (numbers.includes(0)) throw errorOf('REQUEST_INVALID', 'Frames are named by numbers from 1, separated by commas.');
  return numbers;
}

const readEvent = (
  { archive }: DicomwebDeps,
  request: AuditRequest,
  target: Target,
  instances: readonly Sendable[],
  facts: { as: string; frames?: number },
) => ({
  action: 'read' as const,
  request,
  patients: instances.map(({ patient }) => patient),
  object: { kind: 'study', ref: archive.studyRef(target.study) },
  facts: { ...facts, instances: instances.length },
  detail: { ...target },
});
