/** Which model an image is for, by what its header declares. Pixels are not touched, and nothing is guessed. */
import type { Dataset } from '../imaging/dataset.ts';
import { ageInYears, number, numbers, onlyText, text } from '../imaging/values.ts';
import type { LoadedModel, Route } from './model.ts';

/** The first model whose routing names the image's Modality and Body Part Examined; then its scope decides. */
export function createRouter(models: readonly LoadedModel[]): Route {
  return (header) => {
    const modality = onlyText(header, 'Modality') ?? '';
    const bodyPart = onlyText(header, 'BodyPartExamined') ?? '';
    const model = models.find(
      ({ manifest: { routing } }) => routing.modalities.includes(modality) && routing.bodyParts.includes(bodyPart),
    );
    if (!model) return { kind: 'no-model' };
    const reasons = [...ageReasons(header, model), ...imageReasons(header, model)];
    return reasons.length > 0 ? { kind: 'out-of-scope', model, reasons } : { kind: 'run', model };
  };
}

/** Nothing of the header but the age in years is repeated in a reason. */
function ageReasons(header: Dataset, { manifest }: LoadedModel): string[] {
  const { min, max } = manifest.scope.ageYears;
  const age = ageInYears(header);
  if (age === null) {
    return text(header, 'PatientAge') === ''
      ? ['patient age is not stated']
      : ['patient age is unreadable, or contradicts the birth date'];
  }
  const years = Math.floor(age);
  if (years >= min && years <= max) return [];
  // An age over 89 helps to identify a person: 45 CFR 164.514(b)(2)(i)(C).
  return [`patient age ${years > 89 ? 'over 89' : years} years is outside ${min}–${max} years`];
}

/** What no model here was trained on, whatever its population. */
function imageReasons(header: Dataset, { manifest }: LoadedModel): string[] {
  const reasons = [];
  const { width, height } = manifest.input;
  if ((number(header, 'Columns') ?? 0) < width || (number(header, 'Rows') ?? 0) < height)
    reasons.push(`the image is smaller than ${width} × ${height} pixels`); // never seen in training
  // View Position of CR (PS3.3 C.8.1.1) and DX (C.8.11.5) is often left empty, which is taken as frontal.
  if (!['', 'AP', 'PA'].includes(text(header, 'ViewPosition'))) reasons.push('the view is not frontal');
  if (numbers(header, 'NumberOfFrames').some((frames) => frames !== 1))
    reasons.push('the image has more than one frame');
  if (text(header, 'PresentationIntentType') === 'FOR PROCESSING')
    // PS3.3 C.8.11.1
    reasons.push('the image is raw detector data, not for presentation');
  return reasons;
}
