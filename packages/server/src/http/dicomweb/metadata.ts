/** A data set as DICOMweb gives it out: the DICOM JSON Model (PS3.18 Annex F), in UTF-8. */
import type { Dataset } from '../../imaging/dataset.ts';
import { type JsonDataset, toDicomJson } from '../../imaging/dicom-json.ts';

/** Specific Character Set says what the JSON is encoded in, not what the file was (PS3.18 section F.2). */
export function toMetadata(dataset: Dataset): JsonDataset {
  const json = toDicomJson(dataset);
  if ('00080005' in json) json['00080005'] = { vr: 'CS', Value: ['ISO_IR 192'] };
  return json;
}
