/**
 * An entry as DICOM audit message (PS3.15 A.5, schema in A.5.1.1), without an XML declaration and on one line: so the same
 * bytes are a syslog message (RFC 5425) or an element of a file.
 */
import { ACTION_CODES, type Coding, SYSTEMS } from './audit-codes.ts';
import type { Agent, Entity } from './audit-event.ts';
import type { ReadEntry } from './audit-reader.ts';
import { exportedEvent } from './export-event.ts';

/** Reading the log has an event of its own there (A.5.3.2); other orders change or destroy. */
const AUDIT_LOG_USED: Coding = { system: SYSTEMS.dicom, code: '110101', display: 'Audit Log Used' };
const READING_ORDERS = ['account', 'audit-export'];
/** CID 404 of PS3.16, and RFC 3881 as CID 404 includes it. */
const STUDY_UID: Coding = { system: SYSTEMS.dicom, code: '110180', display: 'Study Instance UID' };
const PATIENT_NUMBER: Coding = { system: 'RFC-3881', code: '2', display: 'Patient Number' };
const URI: Coding = { system: 'RFC-3881', code: '12', display: 'URI' };
const OTHER: Coding = { system: 'urn:abaton', code: 'object', display: 'Object' };

/** A DICOM consumer knows coding schemes by these names (PS3.16, section 8). */
const SCHEMES: Readonly<Record<string, string>> = { [SYSTEMS.dicom]: 'DCM', [SYSTEMS.participation]: 'HL7V3' };

export function dicomMessage(entry: ReadEntry): string {
  const { frame } = entry;
  const event = exportedEvent(entry);
  const reading = frame.action === 'order' && READING_ORDERS.includes(String(frame.facts.do));
  const codes = ACTION_CODES[frame.action];
  const { event: eventId, action } = reading ? ({ event: AUDIT_LOG_USED, action: 'R' } as const) : codes.dicom;
  const types = event.type.system === SYSTEMS.dicom ? event.subtype : [];
  return element('AuditMessage', {}, [
    element(
      'EventIdentification',
      { EventActionCode: action, EventDateTime: event.recorded, EventOutcomeIndicator: event.outcome },
      [
        coded('EventID', eventId),
        ...types.filter(() => !reading).map((type) => coded('EventTypeCode', type)),
        ...(event.outcomeDesc ? [element('EventOutcomeDescription', {}, [escapeXml(event.outcomeDesc)])] : []),
      ],
    ),
    ...event.agent.map(participant),
    element('AuditSourceIdentification', { AuditSourceID: event.source.observer.identifier?.value ?? 'abaton' }, [
      element('AuditSourceTypeCode', { 'csd-code': '4' }), // application server
    ]),
    ...(event.entity ?? []).filter(({ type }) => type.system === SYSTEMS.entityType).map((each) => objectOf(each)),
  ]);
}

function participant({ type, who, requestor, network }: Agent): string {
  const attributes = {
    UserID: who.identifier?.value ?? 'unknown',
    UserIsRequestor: String(requestor),
    ...(network && { NetworkAccessPointID: network.address, NetworkAccessPointTypeCode: network.type }),
  };
  return element(
    'ActiveParticipant',
    attributes,
    type.coding.map((code) => coded('RoleIDCode', code)),
  );
}

function objectOf({ what, type, role, query }: Entity): string {
  const { system, value = 'query' } = what?.identifier ?? {};
  const isStudy = system === 'urn:dicom:uid';
  const isPatient = type.code === '1';
  const idType = isPatient ? PATIENT_NUMBER : isStudy ? STUDY_UID : query === undefined ? OTHER : URI;
  const attributes = {
    ParticipantObjectID: isStudy ? value.replace(/^urn:oid:/, '') : value,
    ParticipantObjectTypeCode: type.code,
    ...(role && { ParticipantObjectTypeCodeRole: role.code }),
  };
  return element('ParticipantObjectIdentification', attributes, [
    coded('ParticipantObjectIDTypeCode', idType),
    query === undefined
      ? element('ParticipantObjectName', {}, [escapeXml(isPatient ? 'pseudonym' : idType.display)]) // a name or a query must be there
      : element('ParticipantObjectQuery', {}, [query]),
  ]);
}

const coded = (name: string, { system, code, display }: Coding): string =>
  element(name, {
    'csd-code': code,
    codeSystemName: SCHEMES[system] ?? system,
    displayName: display,
    originalText: display,
  });

function element(name: string, attributes: Readonly<Record<string, string>>, children: readonly string[] = []): string {
  const text = Object.entries(attributes)
    .map(([attribute, value]) => ` ${attribute}="${escapeXml(value)}"`)
    .join('');
  return children.length > 0 ? `<${name}${text}>${children.join('')}</${name}>` : `<${name}${text}/>`;
}

/** XML 1.0: five characters have names; what is no Char (section 2.2) cannot be written, and becomes a question mark. */
const escapeXml = (text: string): string =>
  text
    .toWellFormed()
    // biome-ignore lint/suspicious/noControlCharactersInRegex: XML 1.0 forbids exactly these
    .replace(/[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/g, '?')
    .replace(/[<>&"'\t\n\r\u0085\u2028\u2029]/g, (character) => `&#${character.charCodeAt(0)};`);
