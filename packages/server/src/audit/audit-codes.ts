/**
 * How each of our actions is called in FHIR R4 AuditEvent (IHE BALP 1.1), and in the DICOM audit message (PS3.15 A.5).
 * Where neither has a code of its own, the nearest stands first and ours beside it.
 */
import type { AuditAction } from './events.ts';

export interface Coding {
  system: string;
  code: string;
  display: string;
}

export const SYSTEMS = {
  dicom: 'http://dicom.nema.org/resources/ontology/DCM',
  eventType: 'http://terminology.hl7.org/CodeSystem/audit-event-type',
  interaction: 'http://hl7.org/fhir/restful-interaction',
  participation: 'http://terminology.hl7.org/CodeSystem/v3-ParticipationType',
  purpose: 'http://terminology.hl7.org/CodeSystem/v3-ActReason',
  sourceType: 'http://terminology.hl7.org/CodeSystem/security-source-type',
  entityType: 'http://terminology.hl7.org/CodeSystem/audit-entity-type',
  entityRole: 'http://terminology.hl7.org/CodeSystem/object-role',
  transaction: 'https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType',
  action: 'urn:abaton:fhir:audit-action',
} as const;

export const coding = (system: keyof typeof SYSTEMS, code: string, display: string): Coding => ({
  system: SYSTEMS[system],
  code,
  display,
});

const dcm = (code: string, display: string) => coding('dicom', code, display);
const REST = coding('eventType', 'rest', 'RESTful Operation');
const ALERT = dcm('110113', 'Security Alert');
const interaction = (code: string) => [coding('interaction', code, code)];
const own = (action: AuditAction) => coding('action', action, action);

export interface ActionCodes {
  type: Coding;
  subtype: readonly Coding[];
  /** CRUDE. */
  action: 'C' | 'R' | 'U' | 'D' | 'E';
  /** The EventID of PS3.15 Tables A.5.3.1-1 to A.5.3.16-1, and the action that its table allows there. */
  dicom: { event: Coding; action: 'C' | 'R' | 'U' | 'D' | 'E' };
}

export const ACTION_CODES: Readonly<Record<AuditAction, ActionCodes>> = {
  create: {
    type: REST,
    subtype: interaction('create'),
    action: 'C',
    dicom: { event: dcm('110104', 'DICOM Instances Transferred'), action: 'C' },
  },
  read: {
    type: REST,
    subtype: interaction('read'),
    action: 'R',
    dicom: { event: dcm('110104', 'DICOM Instances Transferred'), action: 'R' },
  },
  search: {
    type: REST,
    subtype: interaction('search'),
    action: 'E',
    dicom: { event: dcm('110112', 'Query'), action: 'E' },
  },
  execute: {
    type: REST,
    subtype: [...interaction('operation'), own('execute')],
    action: 'E',
    dicom: { event: dcm('110103', 'DICOM Instances Accessed'), action: 'R' },
  },
  erase: {
    type: REST,
    subtype: interaction('delete'),
    action: 'D',
    dicom: { event: dcm('110105', 'DICOM Study Deleted'), action: 'D' },
  },
  boot: {
    type: dcm('110100', 'Application Activity'),
    subtype: [dcm('110120', 'Application Start')],
    action: 'E',
    dicom: { event: dcm('110100', 'Application Activity'), action: 'E' },
  },
  'log-begin': alert('log-begin', dcm('110129', 'Security Configuration')),
  keyholder: alert('keyholder', dcm('110129', 'Security Configuration')),
  attest: alert('attest', dcm('110126', 'Node Authentication')),
  gate: alert('gate', dcm('110129', 'Security Configuration')),
  denied: alert('denied', dcm('110132', 'Use of Restricted Function')),
  incident: alert('incident', dcm('110131', 'Software Configuration')),
  'incident-resolved': alert('incident-resolved', dcm('110129', 'Security Configuration')),
  alert: alert('alert', dcm('110129', 'Security Configuration')),
  order: alert('order', dcm('110129', 'Security Configuration')),
};

function alert(action: AuditAction, what: Coding): ActionCodes {
  return { type: ALERT, subtype: [what, own(action)], action: 'E', dicom: { event: ALERT, action: 'E' } };
}
