/**
 * An entry as FHIR R4 AuditEvent (http://hl7.org/fhir/R4/auditevent.html) in the shape of IHE BALP 1.1: create, read and
 * search keep to PatientCreate, PatientRead and PatientQuery; refusals are DCM 110113. The patient stands as a pseudonym.
 * What BALP has no place for is in extensions `urn:abaton:fhir:…`.
 */
import { canonicalize } from '@abaton/verify';
import { ACTION_CODES, type Coding, coding } from './audit-codes.ts';
import type { AuditFrame } from './audit-trail.ts';
import type { AuditEvent } from './events.ts';

export const EXTENSION = 'urn:abaton:fhir:';

export interface Extension {
  url: string;
  valueString?: string;
  valueInteger?: number;
}

interface CodeableConcept {
  coding: readonly Coding[];
}

interface Reference {
  type?: string;
  identifier?: { system?: string; value: string };
  display?: string;
}

export interface Agent {
  type: CodeableConcept;
  who: Reference;
  requestor: boolean;
  policy?: readonly string[];
  /** type 1: a name; 2: an IP address (network-type). */
  network?: { address: string; type: '1' | '2' };
  purposeOfUse?: readonly CodeableConcept[];
}

export interface Entity {
  what?: Reference;
  type: Coding;
  role?: Coding;
  /** base64 */
  query?: string;
}

export interface FhirAuditEvent {
  resourceType: 'AuditEvent';
  extension?: readonly Extension[];
  type: Coding;
  subtype: readonly Coding[];
  action: string;
  recorded: string;
  /** 0 success, 4 minor failure, 8 serious failure. */
  outcome: '0' | '4' | '8';
  outcomeDesc?: string;
  agent: readonly Agent[];
  source: { observer: Reference; type: readonly Coding[] };
  entity?: readonly Entity[];
}

/** What the frame does not hold. */
export type SealedParts = Pick<AuditEvent, 'detail' | 'request' | 'purposeOfUse' | 'policies' | 'breakGlass'> & {
  /** Names this server: the origin of its log. */
  server: string;
};

const SOURCE_ROLE = coding('dicom', '110153', 'Source Role ID');
const DESTINATION_ROLE = coding('dicom', '110152', 'Destination Role ID');
const APPLICATION = coding('dicom', '110150', 'Application');
const RECIPIENT = coding('participation', 'IRCP', 'information recipient');
const PERSON = coding('entityType', '1', 'Person');
const SYSTEM_OBJECT = coding('entityType', '2', 'System Object');
const PATIENT = coding('entityRole', '1', 'Patient');
const REPORT = coding('entityRole', '3', 'Report');
const DOMAIN_RESOURCE = coding('entityRole', '4', 'Domain Resource');
const QUERY = coding('entityRole', '24', 'Query');
const REQUEST_ID = coding('transaction', 'XrequestId', 'X-Request-Id');

/** Facts of the frame that have an extension of their own, also where only the resource is read. */
const FACT_EXTENSIONS: Readonly<Record<string, string>> = {
  modelDigest: 'model-digest',
  codeHash: 'code-hash',
  evidenceId: 'evidence-id',
  results: 'record-count',
  instances: 'record-count',
};

/** Pure: the same frame and parts give the same resource. */
export function buildAuditEvent(frame: AuditFrame, parts: SealedParts): FhirAuditEvent {
  const { type, subtype, action } = ACTION_CODES[frame.action];
  const { code } = frame.facts;
  const extension = extensionsOf(frame, parts);
  const entity = entitiesOf(frame, parts);
  return {
    resourceType: 'AuditEvent',
    ...(extension.length > 0 && { extension }), // FHIR JSON has no empty arrays
    type,
    subtype,
    action,
    recorded: frame.time,
    outcome: frame.outcome === 'success' ? '0' : frame.action === 'denied' ? '4' : '8',
    ...(typeof code === 'string' && { outcomeDesc: code }),
    agent: agentsOf(frame, parts),
    source: { observer: serverReference(parts.server), type: [coding('sourceType', '4', 'Application Server')] },
    ...(entity.length > 0 && { entity }),
  };
}

/** What the event's `detail` said, apart from the query of a search. */
export function detailOf({ extension = [] }: Pick<FhirAuditEvent, 'extension'>): Record<string, unknown> {
  const text = extension.find(({ url }) => url === `${EXTENSION}detail`)?.valueString;
  return text === undefined ? {} : JSON.parse(text);
}

function extensionsOf({ action, facts }: AuditFrame, { detail = {}, breakGlass }: SealedParts): Extension[] {
  const { query, ...others } = detail;
  const rest = action === 'search' ? others : detail; // of a search, it is in the entity of its own
  const extensions = Object.entries(FACT_EXTENSIONS).flatMap(([fact, name]): Extension[] => {
    const value = facts[fact];
    if (typeof value === 'number') return [{ url: EXTENSION + name, valueInteger: value }];
    return typeof value === 'string' && value !== '' ? [{ url: EXTENSION + name, valueString: value }] : [];
  });
  if (breakGlass) extensions.push({ url: `${EXTENSION}break-glass`, valueString: breakGlass });
  if (Object.keys(rest).length > 0) extensions.push({ url: `${EXTENSION}detail`, valueString: canonicalize(rest) });
  return extensions;
}

/** Client and server as BALP has them; an officer beside them; of what the server does by itself, the server alone. */
function agentsOf(frame: AuditFrame, { server, request, purposeOfUse, policies = [] }: SealedParts): Agent[] {
  const { action, actor, facts } = frame;
  const byOfficer = actor === 'officer';
  const asked = {
    ...(policies.length > 0 && { policy: policies.map((id) => `urn:abaton:policy:${id}`) }),
    ...(purposeOfUse && { purposeOfUse: [concept(coding('purpose', purposeOfUse, purposeOfUse))] }),
  };
  // A read flows from the server to the client; of a query and of what is created BALP says the client is the source.
  const clientRole = action === 'read' || action === 'denied' ? DESTINATION_ROLE : SOURCE_ROLE;
  const serverRole = clientRole === SOURCE_ROLE ? DESTINATION_ROLE : SOURCE_ROLE;
  const agents: Agent[] = [];
  if (byOfficer)
    agents.push({
      type: concept(RECIPIENT),
      who: { identifier: { system: 'urn:abaton:officer', value: String(facts.officer ?? 'unknown') } },
      requestor: true,
      ...asked,
    });
  if (request)
    agents.push({
      type: concept(clientRole),
      who: { identifier: { system: 'urn:abaton:actor', value: actor } },
      requestor: !byOfficer,
      network: { address: request.address || 'unknown', type: request.address ? '2' : '1' },
      ...(!byOfficer && asked),
    });
  agents.push({
    type: concept(request ? serverRole : APPLICATION),
    who: serverReference(server),
    requestor: agents.length === 0,
    network: { address: server, type: '1' },
    ...(agents.length === 0 && asked),
  });
  return agents;
}

function entitiesOf({ action, object, pid, pidEpoch }: AuditFrame, { detail = {}, request }: SealedParts): Entity[] {
  const entities: Entity[] = [];
  if (pid !== null)
    entities.push({
      what: { type: 'Patient', identifier: { system: `urn:abaton:pid:${pidEpoch}`, value: pid } },
      type: PERSON,
      role: PATIENT,
    });
  if (action === 'search')
    entities.push({ type: SYSTEM_OBJECT, role: QUERY, query: Buffer.from(queryOf(detail)).toString('base64') });
  else if (object !== null)
    entities.push({
      what: { identifier: identifierOf(object, detail) },
      type: SYSTEM_OBJECT,
      role: object.kind === 'result' ? REPORT : DOMAIN_RESOURCE,
    });
  if (request) entities.push({ what: { identifier: { value: request.id } }, type: REQUEST_ID });
  return entities;
}

/** As DICOM UIDs are named in FHIR (http://hl7.org/fhir/R4/imagingstudy.html); else by our opaque reference. */
function identifierOf(object: NonNullable<AuditFrame['object']>, detail: Readonly<Record<string, unknown>>) {
  const uid = detail.studyInstanceUid ?? detail.study;
  return typeof uid === 'string' && uid !== ''
    ? { system: 'urn:dicom:uid', value: `urn:oid:${uid}` }
    : { system: `urn:abaton:${object.kind}`, value: object.ref };
}

/** FHIR has no empty base64: a search without a query is recorded as the question mark that begins one. */
const queryOf = ({ query, identifier }: Readonly<Record<string, unknown>>): string =>
  (typeof query === 'string' && query) || (typeof identifier === 'string' && `?identifier=${identifier}`) || '?';

const serverReference = (server: string): Reference => ({ identifier: { system: 'urn:abaton:log', value: server } });
const concept = (code: Coding): CodeableConcept => ({ coding: [code] });
