/** Content items of a structured report (PS3.3 section C.17.3), as data sets. */
import { buildDataset } from './build.ts';
import type { Dataset } from './dataset.ts';

/** Code value, coding scheme designator, meaning. */
export type Code = readonly [value: string, scheme: string, meaning: string];

export type Relationship = 'CONTAINS' | 'HAS OBS CONTEXT' | 'HAS CONCEPT MOD' | 'INFERRED FROM';

export const codeItem = ([value, scheme, meaning]: Code): Dataset =>
  buildDataset({ CodeValue: value, CodingSchemeDesignator: scheme, CodeMeaning: meaning.slice(0, 64) });

export const container = (relationship: Relationship, concept: Code, children: Dataset[], template?: string): Dataset =>
  buildDataset({
    RelationshipType: relationship,
    ValueType: 'CONTAINER',
    ConceptNameCodeSequence: [codeItem(concept)],
    ContinuityOfContent: 'SEPARATE',
    ContentTemplateSequence: template === undefined ? undefined : templateId(template),
    ContentSequence: children,
  });

export const templateId = (template: string): Dataset[] => [
  buildDataset({ MappingResource: 'DCMR', TemplateIdentifier: template }),
];

export const code = (relationship: Relationship, concept: Code, value: Code, children?: Dataset[]): Dataset =>
  item(relationship, 'CODE', concept, { ConceptCodeSequence: [codeItem(value)], ContentSequence: children });

export const textItem = (relationship: Relationship, concept: Code, value: string): Dataset =>
  item(relationship, 'TEXT', concept, { TextValue: value });

export const uidItem = (relationship: Relationship, concept: Code, uid: string): Dataset =>
  item(relationship, 'UIDREF', concept, { UID: uid });

export const num = (concept: Code, value: number, unit: Code, children: Dataset[]): Dataset =>
  item('CONTAINS', 'NUM', concept, {
    MeasuredValueSequence: [
      buildDataset({ NumericValue: String(value).slice(0, 16), MeasurementUnitsCodeSequence: [codeItem(unit)] }),
    ],
    ContentSequence: children,
  });

export const image = (relationship: Relationship, concept: Code | null, reference: Dataset): Dataset =>
  item(relationship, 'IMAGE', concept, { ReferencedSOPSequence: [reference] });

function item(relationship: Relationship, valueType: string, concept: Code | null, values: object): Dataset {
  return buildDataset({
    RelationshipType: relationship,
    ValueType: valueType,
    ConceptNameCodeSequence: concept ? [codeItem(concept)] : undefined,
    ...values,
  });
}
