/** Store Instances Response Module (PS3.18 Annex I, Table I.1-1) in the DICOM JSON Model (Annex F). */
import type { InstanceHeader } from '../../imaging/dataset.ts';
import { DICOM_FAILURES } from '../../imaging/dicom-failures.ts';

/** Failure Reason (0008,1197), and the name that tells people more. */
export interface Failure {
  reason: number;
  code: string;
}

/** What the door itself finds; the scanner finds the rest of imaging/dicom-failures.ts. */
export const FAILURES = {
  studyMismatch: { reason: DICOM_FAILURES.STUDY_MISMATCH.reason, code: 'STUDY_MISMATCH' },
  duplicate: { reason: DICOM_FAILURES.DUPLICATE_INSTANCE.reason, code: 'DUPLICATE_INSTANCE' },
  /** Cxxx: a part with another media type. */
  mediaType: { reason: DICOM_FAILURES.DICOM_NOT.reason, code: 'DICOM_NOT' },
} as const satisfies Record<string, Failure>;

/** As far as they could be read: '' where not, and as the instance has them, which may be anything. */
export type InstanceReference = Pick<
  InstanceHeader,
  'studyInstanceUid' | 'seriesInstanceUid' | 'sopClassUid' | 'sopInstanceUid'
>;

export interface Refused {
  reference: InstanceReference;
  failure: Failure;
}

export interface StoreReport {
  stored: InstanceReference[];
  failed: Refused[];
}

/** PS3.5 section 9.1 */
const UID = /^[0-9.]{1,64}$/;

type JsonElement = { vr: string; Value?: unknown[] };
type JsonDataset = Record<string, JsonElement>;

/** `base` is the URL of the service, without a slash at its end. */
export function storeResponse({ stored, failed }: StoreReport, base: string): JsonDataset {
  const studies = new Set(stored.map(({ studyInstanceUid }) => studyInstanceUid));
  const [study] = studies;
  const module: JsonDataset = {
    // Type 2: there is no such URL when nothing was stored, or more than one study.
    '00081190': { vr: 'UR', ...(studies.size === 1 ? { Value: [`${base}/studies/${study}`] } : {}) },
  };
  const isNamed = ({ reference }: Refused) => UID.test(reference.sopClassUid) && UID.test(reference.sopInstanceUid);
  addSequence(module, '00081198', failed.filter(isNamed), ({ reference, failure }) => ({
    ...failureElements(failure),
    ...referencedSop(reference),
  }));
  addSequence(module, '00081199', stored, (reference) => ({
    ...referencedSop(reference),
    '00081190': { vr: 'UR', Value: [instanceUrl(reference, base)] },
  }));
  const unnamed = failed.filter((refused) => !isNamed(refused));
  addSequence(module, '0008119A', unnamed, ({ failure }) => failureElements(failure));
  return module;
}

/** PS3.18 Table 10.5.3-1 */
export function storeStatus({ stored, failed }: StoreReport): 200 | 202 | 409 {
  if (failed.length === 0) return 200;
  return stored.length > 0 ? 202 : 409;
}

/** Type 1C: present exactly when it has items. */
function addSequence<T>(module: JsonDataset, tag: string, of: readonly T[], item: (of: T) => JsonDataset): void {
  if (of.length > 0) module[tag] = { vr: 'SQ', Value: of.map(item) };
}

/** PS3.3 Table 10-11, SOP Instance Reference Macro. */
const referencedSop = ({ sopClassUid, sopInstanceUid }: InstanceReference): JsonDataset => ({
  '00081150': { vr: 'UI', Value: [sopClassUid] },
  '00081155': { vr: 'UI', Value: [sopInstanceUid] },
});

/** With Error Comment (0000,0902), which Table I.1-1 doesn't have and Google's and our client read. */
const failureElements = ({ reason, code }: Failure): JsonDataset => ({
  '00000902': { vr: 'LO', Value: [code] },
  '00081197': { vr: 'US', Value: [reason] },
});

const instanceUrl = ({ studyInstanceUid, seriesInstanceUid, sopInstanceUid }: InstanceReference, base: string) =>
  `${base}/studies/${studyInstanceUid}/series/${seriesInstanceUid}/instances/${sopInstanceUid}`;
