/** The operating system inside, known by what the platform measured of it. */
import { refuse } from '../errors.ts';
import { bytesToHex } from '../formats/bytes.ts';
import type { OsMeasurement } from '../policy.ts';
import type { TdReport } from '../tdx/tdx-quote.ts';

/** Returns the name of the listed image that was measured. Throws OS_MEASUREMENT_UNLISTED. */
export function verifyTdxOs(td: TdReport, allowed: readonly OsMeasurement[]): string {
  const [mrtd, rtmr0, rtmr1, rtmr2] = [td.mrtd, td.rtmr0, td.rtmr1, td.rtmr2].map(bytesToHex);
  const image = allowed.find(
    (each) =>
      'mrtd' in each && each.mrtd === mrtd && each.rtmr0 === rtmr0 && each.rtmr1 === rtmr1 && each.rtmr2 === rtmr2,
  );
  return image?.name ?? unlisted(allowed, `MRTD ${mrtd}, RTMR0 ${rtmr0}, RTMR1 ${rtmr1}, RTMR2 ${rtmr2}`);
}

/** The same for SEV-SNP, whose firmware, kernel and command line are in one launch measurement. */
export function verifySnpOs(measurement: Uint8Array, allowed: readonly OsMeasurement[]): string {
  const seen = bytesToHex(measurement);
  const image = allowed.find((each) => 'launchMeasurement' in each && each.launchMeasurement === seen);
  return image?.name ?? unlisted(allowed, `launch measurement ${seen}`);
}

const unlisted = (allowed: readonly OsMeasurement[], seen: string): never =>
  refuse('OS_MEASUREMENT_UNLISTED', allowed.map(({ name }) => name).join(' or '), seen);
