/**
 * One instance on its way in: scanned and sealed from the same chunks, so that it is never held, and sealing begins
 * before it is known whose it is.
 */
import type { NewInstance } from '../../imaging/archive.ts';
import { DicomError } from '../../imaging/dicom-failures.ts';
import { createScanner } from '../../imaging/scan.ts';
import type { DicomwebDeps } from './deps.ts';
import { FAILURES, type Refused } from './store-response.ts';

export interface Received {
  instance: NewInstance;
  /** Removes the blob again. Only before the rows that need it are committed. */
  discard(): Promise<void>;
}

/**
 * Reads one Part 10 instance to its end, or up to the error that refuses it. `study`: the only study that is taken, or
 * null. Throws what is not the instance's fault; nothing is left behind then, nor after a refusal.
 */
export async function receiveInstance(
  deps: Pick<DicomwebDeps, 'vault' | 'tenant' | 'maxInstanceBytes' | 'maxHeaderBytes'>,
  body: AsyncIterable<Uint8Array>,
  study: string | null,
): Promise<Received | Refused> {
  const { vault, tenant, maxInstanceBytes, maxHeaderBytes } = deps;
  const scanner = createScanner({ maxInstanceBytes, maxHeaderBytes });
  const writer = vault.createObject();
  try {
    for await (const chunk of body) {
      scanner.push(chunk);
      await writer.write(chunk);
    }
    const header = scanner.end();
    if (study !== null && header.studyInstanceUid !== study) {
      await writer.abort();
      return { reference: scanner.reference(), failure: FAILURES.studyMismatch };
    }
    const patient = header.patientId
      ? vault.patientRef(tenant, header.issuerOfPatientId, header.patientId)
      : vault.studyPatientRef(tenant, header.studyInstanceUid);
    const object = await writer.finish(patient);
    return { instance: { header, patient, object }, discard: () => writer.abort() };
  } catch (error) {
    await writer.abort();
    if (!(error instanceof DicomError)) throw error;
    return { reference: scanner.reference(), failure: { reason: error.failureReason, code: error.code } };
  }
}
