/** What a device measured against what NVIDIA says that its driver and its VBIOS measure. */
import { refuse, VerificationError } from '../errors.ts';
import { bytesToHex } from '../formats/bytes.ts';
import type { GpuArchitecture } from '../policy.ts';
import type { Rim } from './rim.ts';
import type { SpdmReport } from './spdm-report.ts';

/** Measurement of the decoder NVDEC0: without meaning while it is off (NVIDIA's SDK skips it). */
const NVDEC0 = 35;
/** How the products of RIMs begin. Drivers of several chips share a version; no RIM of Blackwell is public to be more exact. */
const PRODUCTS: Record<GpuArchitecture, string> = { HOPPER: 'GH', BLACKWELL: 'GB', LS10: 'LS' };
const SHOWN = 4; // a wrong driver differs in dozens

/**
 * The measurements of a device against its own driver and VBIOS among `rims`. NVIDIA revises reference measurements under
 * the same version: one of each has to fit. Throws GPU_MEASUREMENT_MISMATCH, or RIM_MISSING, naming the id under which
 * NVIDIA keeps what is missing, after what is there was compared.
 */
export function verifyMeasurements(report: SpdmReport, rims: readonly Rim[]): string {
  const { arch, driverVersion, driverRimId, vbiosVersion, vbiosRimId } = report;
  const find = (kind: Rim['kind'], version: string) =>
    rims.filter(
      (rim) =>
        rim.kind === kind &&
        rim.product.startsWith(PRODUCTS[arch]) &&
        rim.version.toUpperCase() === version.toUpperCase(),
    );
  const vbioses = find('vbios', vbiosVersion);
  const drivers = driverVersion === null ? [] : find('driver', driverVersion);
  const missing = [
    ...(vbioses.length > 0 ? [] : [vbiosRimId]),
    ...(drivers.length > 0 || driverRimId === null ? [] : [driverRimId]),
  ];
  const choices = [drivers, vbioses].reduce<Rim[][]>(
    (before, some) => (some.length > 0 ? before.flatMap((chosen) => some.map((rim) => [...chosen, rim])) : before),
    [[]],
  );
  const compared = verifyOneOf(choices, (chosen) => verifyGolden(report, chosen));
  if (missing.length > 0)
    refuse(
      'RIM_MISSING',
      missing.join(', '),
      `given ${rims.map((rim) => `${rim.product} ${rim.kind} ${rim.version}`).join(', ')}; compared ${compared}`,
    );
  return compared;
}

/** The first choice that holds; when none does, why the last does not. */
function verifyOneOf<T>(choices: readonly T[], verify: (choice: T) => string): string {
  for (const choice of choices.slice(0, -1))
    try {
      return verify(choice);
    } catch (error) {
      if (!(error instanceof VerificationError)) throw error; // another revision may fit
    }
  return verify(choices.at(-1)!);
}

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
