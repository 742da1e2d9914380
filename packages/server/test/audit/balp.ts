/**
 * The rules of IHE BALP 1.1 (https://profiles.ihe.net/ITI/BALP/) that FHIR's own structure does not hold: what PatientCreate,
 * PatientRead and PatientQuery fix, demand or forbid, one row each, from the profiles' tables.
 */
import assert from 'node:assert/strict';
import type { Agent, Entity, FhirAuditEvent } from '../../src/audit/audit-event.ts';

type Action = 'create' | 'read' | 'search';

const SOURCE = '110153';
const DESTINATION = '110152';
const REST = 'http://terminology.hl7.org/CodeSystem/audit-event-type';
const INTERACTION = 'http://hl7.org/fhir/restful-interaction';

const agentsOf = ({ agent }: FhirAuditEvent, code: string): Agent[] =>
  agent.filter(({ type }) => type.coding.some((coding) => coding.code === code));
const entitiesOf = ({ entity = [] }: FhirAuditEvent, code: string): Entity[] =>
  entity.filter(({ type }) => type.code === code);
const clientRole = (action: Action) => (action === 'read' ? DESTINATION : SOURCE);

const RULES: readonly [rule: string, holds: (event: FhirAuditEvent, action: Action) => boolean][] = [
  ['type is rest', ({ type }) => type.system === REST && type.code === 'rest'],
  [
    'subtype names the interaction',
    ({ subtype }, action) => subtype.some(({ system, code }) => system === INTERACTION && code === action),
  ],
  ['action is C, R or E', ({ action }, of) => action === { create: 'C', read: 'R', search: 'E' }[of]],
  ['recorded is an instant', ({ recorded }) => /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(recorded)],
  ['outcome is 0', ({ outcome }) => outcome === '0'],
  ['one client, in its role', (event, action) => agentsOf(event, clientRole(action)).length === 1],
  ['one server, in the other', (event, of) => agentsOf(event, of === 'read' ? SOURCE : DESTINATION).length === 1],
  ['each agent is named', ({ agent }) => agent.every(({ who }) => Boolean(who.identifier?.value))],
  ['client and server have a network', ({ agent }) => agent.every(({ network }) => Boolean(network?.address))],
  ['one agent is the requestor', ({ agent }) => agent.filter(({ requestor }) => requestor).length === 1],
  ['no media', ({ agent }) => agent.every((each) => !('media' in each))],
  ['the observer is named', ({ source }) => Boolean(source.observer.identifier?.value)],
  ['exactly one patient', (event) => entitiesOf(event, '1').length === 1],
  [
    'the patient is a reference to a Patient, in the role Patient',
    (event) => entitiesOf(event, '1').every(({ what, role }) => what?.type === 'Patient' && role?.code === '1'),
  ],
  ['exactly one data or query entity', (event) => entitiesOf(event, '2').length === 1],
  [
    'data: names what, in the role of a domain resource, report or job',
    (event, action) =>
      action === 'search' ||
      entitiesOf(event, '2').every(({ what, role }) => what && ['3', '4', '20'].includes(role?.code ?? '')),
  ],
  [
    'query: role 24, the query in base64, no what and no detail',
    (event, action) =>
      action !== 'search' ||
      entitiesOf(event, '2').every(
        (each) => each.role?.code === '24' && each.query && !('what' in each) && !('detail' in each),
      ),
  ],
  [
    'the request id, in the code of BALP',
    (event) =>
      entitiesOf(event, 'XrequestId').length === 1 &&
      entitiesOf(event, 'XrequestId').every(
        ({ what, type }) =>
          what?.identifier?.value &&
          type.system === 'https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType',
      ),
  ],
];

/** Throws when a rule does not hold, and names it. */
export function assertBalp(event: FhirAuditEvent, action: Action): void {
  for (const [rule, holds] of RULES) assert.ok(holds(event, action), `${action}: ${rule}: ${JSON.stringify(event)}`);
}
