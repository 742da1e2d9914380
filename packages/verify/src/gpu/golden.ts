/** What a device measured against what NVIDIA says that its driver and its VBIOS measure. */
import { refuse } from '../errors.ts';
import { bytesToHex } from '../formats/bytes.ts';
import type { Rim } from './rim.ts';
import type { SpdmReport } from './spdm-report.ts';

/** Measurement of the decoder NVDEC0: without meaning while it is off (NVIDIA's SDK skips it). */
const NVDEC0 = 35;
const SHOWN = 4; // a wrong driver differs in dozens

/**
 * `rims`: driver and VBIOS of this device. Every measurement that one of them lists must have a listed value. Returns how
 * many were compared. Throws GPU_MEASUREMENT_MISMATCH, also when both list the same index.
 */
export function verifyGolden(
  { measurements, nvdec0Off }: Pick<SpdmReport, 'measurements' | 'nvdec0Off'>,
  rims: readonly Rim[],
): string {
  const golden = rims.flatMap(({ kind, golden }) => [...golden].map(([index, values]) => ({ kind, index, values })));
  const indices = golden.map(({ index }) => index);
  const twice = indices.find((index, at) => indices.indexOf(index) !== at);
  if (twice !== undefined) refuse('GPU_MEASUREMENT_MISMATCH', 'each measurement in one RIM', `${twice} in both`);
  const compared = golden.filter(({ index }) => !(nvdec0Off && index === NVDEC0));
  const wrong = compared
    .map((each) => ({ ...each, seen: bytesToHex(measurements.get(each.index) ?? new Uint8Array()) || 'none' }))
    .filter(({ values, seen }) => !values.includes(seen));
  if (wrong.length > 0) {
    const shown = wrong.slice(0, SHOWN);
    refuse(
      'GPU_MEASUREMENT_MISMATCH',
      shown.map(({ kind, index, values }) => `${kind} ${index} ${values.join(' or ')}`).join(', '),
      `${wrong.length} of ${compared.length} differ: ${shown.map(({ index, seen }) => `${index} ${seen}`).join(', ')}`,
    );
  }
  return `${compared.length} of ${compared.length} measurements`;
}
