/** A chest-like radiograph that no patient stands behind: what `npm start` sends, and what tests score. */
import { buildDataset } from './build.ts';
import { deriveUid } from './uids.ts';
import { writePart10 } from './write.ts';

export interface PhantomOptions {
  studyInstanceUid: string;
  ageYears: number;
  now: Date;
}

const SIZE = 512;
const BITS_STORED = 12;
const CR_IMAGE_STORAGE = '1.2.840.10008.5.1.4.1.1.1';

/** A DICOM file. Quality Control Subject and Image say that it is a phantom; the same options give the same bytes. */
export function drawPhantom({ studyInstanceUid, ageYears, now }: PhantomOptions): Uint8Array {
  const [date, time] = now
    .toISOString()
    .replace(/[-:]|\..*/g, '')
    .split('T') as [string, string];
  const pixels = drawChest();
  return writePart10(
    buildDataset({
      SpecificCharacterSet: 'ISO_IR 192',
      ImageType: ['ORIGINAL', 'PRIMARY'],
      SOPClassUID: CR_IMAGE_STORAGE,
      SOPInstanceUID: deriveUid(studyInstanceUid, 'phantom', 'instance'),
      StudyDate: date,
      SeriesDate: date,
      ContentDate: date,
      StudyTime: time,
      SeriesTime: time,
      ContentTime: time,
      AccessionNumber: '',
      Modality: 'CR',
      Manufacturer: 'Abaton',
      ManufacturerModelName: 'Procedural chest phantom',
      ReferringPhysicianName: '',
      StudyDescription: 'Chest phantom',
      TimezoneOffsetFromUTC: '+0000',
      PatientName: 'PHANTOM^ABATON',
      PatientID: 'PHANTOM',
      IssuerOfPatientID: 'ABATON',
      PatientBirthDate: '',
      PatientSex: '',
      PatientAge: `${String(ageYears).padStart(3, '0')}Y`,
      QualityControlSubject: 'YES',
      BodyPartExamined: 'CHEST',
      ViewPosition: 'AP',
      StudyInstanceUID: studyInstanceUid,
      SeriesInstanceUID: deriveUid(studyInstanceUid, 'phantom', 'series'),
      StudyID: 'PHANTOM',
      SeriesNumber: '1',
      InstanceNumber: '1',
      PatientOrientation: ['L', 'F'],
      SamplesPerPixel: 1,
      PhotometricInterpretation: 'MONOCHROME2',
      Rows: SIZE,
      Columns: SIZE,
      BitsAllocated: 16,
      BitsStored: BITS_STORED,
      HighBit: BITS_STORED - 1,
      PixelRepresentation: 0,
      QualityControlImage: 'YES',
      BurnedInAnnotation: 'NO',
      PixelData: new Uint8Array(pixels.buffer),
    }),
  );
}

/** 0 outside, 1 inside, with an edge of `softness` (in units of the radius). */
const ellipse = (x: number, y: number, cx: number, cy: number, rx: number, ry: number, softness: number): number => {
  const r = Math.hypot((x - cx) / rx, (y - cy) / ry);
  const t = Math.min(1, Math.max(0, (1 + softness - r) / (2 * softness)));
  return t * t * (3 - 2 * t);
};
const bell = (distance: number, width: number): number => Math.exp(-((distance / width) ** 2));

/** Attenuation drawn as brightness: x from -1 (patient's right) to 1, y from -1 (head) to 1; anatomy by eye. */
function attenuation(x: number, y: number): number {
  const side = Math.abs(x);
  const trunk = Math.max(
    ellipse(x, y, 0, 0.35, 0.82, 1.3, 0.06),
    ellipse(x, y, 0, -0.62, 0.98, 0.34, 0.1), // shoulders
    ellipse(x, y, 0, -1, 0.24, 0.5, 0.12), // neck
  );
  const lung = ellipse(side, y, 0.41, -0.04, 0.3, 0.6, 0.09) * (1 - ellipse(side, y, 0.42, 0.72, 0.46, 0.28, 0.08));
  const heart = ellipse(x, y, 0.13, 0.26, 0.3, 0.34, 0.16) + 0.5 * ellipse(x, y, 0.02, -0.25, 0.13, 0.4, 0.4);
  const spine = bell(x, 0.085) * (0.75 + 0.25 * Math.cos(y * 42));
  // Posterior ribs fall away from the spine, ten of them between the clavicles and the diaphragm.
  const phase = ((y + 0.78 - 0.22 * Math.sqrt(side)) / 0.135) % 1;
  const thorax = ellipse(side, y, 0.43, 0, 0.36, 0.8, 0.12);
  const rib = thorax * bell(Math.abs(phase) - 0.5, 0.17);
  const clavicle = bell(y + 0.6 - 0.12 * Math.cos(side * 4.5), 0.028) * ellipse(side, y, 0.36, -0.6, 0.36, 0.3, 0.15);
  const vessels = lung * bell(side - 0.2, 0.16) * bell(y - 0.02, 0.3) * 0.14;
  return (
    trunk * (0.62 - 0.4 * lung * (1 - 0.55 * Math.min(1, heart)) + 0.2 * spine + 0.09 * rib + 0.1 * clavicle + vessels)
  );
}

function drawChest(): Uint16Array {
  const pixels = new Uint16Array(SIZE * SIZE);
  let noise = 1;
  for (let i = 0; i < pixels.length; i++) {
    // Quantum noise: a linear congruential generator (Numerical Recipes), so that every run draws the same.
    noise = (Math.imul(noise, 1664525) + 1013904223) >>> 0;
    const grain = (noise / 2 ** 32 - 0.5) * 0.02;
    const value =
      0.06 + attenuation((2 * ((i % SIZE) + 0.5)) / SIZE - 1, (2 * (Math.floor(i / SIZE) + 0.5)) / SIZE - 1);
    pixels[i] = Math.round(Math.min(1, Math.max(0, value + grain)) * (2 ** BITS_STORED - 1));
  }
  return pixels;
}
