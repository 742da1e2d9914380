/**
 * What leaves with an export of the whole log: patients as pseudonyms. Words that were searched for may name a patient, and
 * so may a signed order: of a query only the names of its parameters go out, of details only UIDs, ids and causes.
 */
import { canonicalize } from '@abaton/verify';
import { detailOf, EXTENSION, type Extension, type FhirAuditEvent } from './audit-event.ts';
import type { ReadEntry } from './audit-reader.ts';

const DETAIL_SHOWN = ['study', 'series', 'instance', 'studyInstanceUid', 'resultId', 'id', 'cause'];

export interface ExportedEvent extends FhirAuditEvent {
  id: string;
}

export function exportedEvent({ origin, index, frame, event, opened }: ReadEntry): ExportedEvent {
  const { resourceType, extension = [], entity, ...rest } = event;
  const detail = Object.fromEntries(Object.entries(detailOf(event)).filter(([name]) => DETAIL_SHOWN.includes(name)));
  const add: Extension[] = [
    { url: `${EXTENSION}log-origin`, valueString: origin },
    { url: `${EXTENSION}log-index`, valueInteger: index },
  ];
  if (Object.keys(frame.facts).length > 0)
    add.push({ url: `${EXTENSION}facts`, valueString: canonicalize(frame.facts) });
  if (Object.keys(detail).length > 0) add.push({ url: `${EXTENSION}detail`, valueString: canonicalize(detail) });
  if (!opened) add.push({ url: `${EXTENSION}detail-destroyed`, valueString: 'the accounting key was destroyed' });
  return {
    resourceType,
    id: `entry-${origin.split('/').at(-1)}-${index}`,
    extension: [...extension.filter(({ url }) => url !== `${EXTENSION}detail`), ...add],
    ...rest,
    ...(entity && {
      entity: entity.map((each) => (each.query === undefined ? each : { ...each, query: withoutValues(each.query) })),
    }),
  };
}

/** `?PatientName=Doe*&limit=5` → `?PatientName=&limit=`; what is no parameter goes too. base64 in and out. */
function withoutValues(query: string): string {
  const names = [...new URLSearchParams(Buffer.from(query, 'base64').toString()).keys()];
  // a name is free text too: only keywords, tags and FHIR parameters are shown
  const shown = names.map((name) => (/^[A-Za-z_][A-Za-z_.:-]{0,63}$|^[0-9A-Fa-f]{8}$/.test(name) ? name : 'other'));
  return Buffer.from(`?${shown.map((name) => `${name}=`).join('&')}`).toString('base64');
}
