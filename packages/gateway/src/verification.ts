/** One question to the service, and what follows from the answer: verified, refused, or nobody there to judge. */
import { randomBytes } from 'node:crypto';
import { connectVerified, NotVerifiedError, type VerifiedConnection, type VerifyOptions } from '@abaton/client';
import { AbatonError, kindOfFailedCheck, UnavailableError, type Verdict, verifyEvidence } from '@abaton/verify';

export type Outcome =
  | { kind: 'verified'; verdict: Verdict; connection: VerifiedConnection }
  /** Evidence was judged and does not hold. `integrity`: for another reason than that something is late. */
  | { kind: 'refused'; verdict: Verdict; codes: string[]; integrity: boolean }
  /** There was nothing to judge: no network, no TLS 1.3, no evidence. */
  | { kind: 'unavailable'; code: string };

const EVIDENCE_TIMEOUT_MS = 30_000; // as the client's own
const MAX_EVIDENCE_BYTES = 4 * 2 ** 20; // as the client's own

/** Opens a new connection and verifies it. Rejects only on a programming error, or URL_INVALID. */
export async function verifyNew(options: VerifyOptions): Promise<Outcome> {
  try {
    const connection = await connectVerified(options);
    return { kind: 'verified', connection, verdict: connection.verdict };
  } catch (error) {
    return outcomeOf(error);
  }
}

/**
 * Verifies fresh evidence for a connection that was verified before, whose requests outlive an interval. The channel
 * was bound then; the new evidence must name the same key.
 */
export async function verifyAgain(connection: VerifiedConnection, options: VerifyOptions): Promise<Outcome> {
  const nonce = randomBytes(32).toString('hex');
  const signal = AbortSignal.timeout(EVIDENCE_TIMEOUT_MS);
  try {
    const response = await connection.request({ method: 'GET', path: `/attestation?nonce=${nonce}`, signal });
    if (response.status !== 200) return { kind: 'unavailable', code: 'EVIDENCE_UNAVAILABLE' };
    const verdict = await verifyEvidence({
      evidence: await response.json(MAX_EVIDENCE_BYTES),
      policy: options.policy,
      nowMs: Date.now(),
      expect: { nonce, tlsSpkiSha256: connection.evidence.reportData.tlsSpkiSha256 },
      ...(options.acceptedRootsSha256 ? { acceptedRootsSha256: options.acceptedRootsSha256 } : {}),
    });
    return verdict.valid && verdict.send !== 'nothing' ? { kind: 'verified', verdict, connection } : refused(verdict);
  } catch (error) {
    return outcomeOf(error);
  }
}

function outcomeOf(error: unknown): Outcome {
  if (error instanceof NotVerifiedError) return refused(error.verdict);
  if (error instanceof UnavailableError) return { kind: 'unavailable', code: error.code };
  if (error instanceof AbatonError) throw error;
  return { kind: 'unavailable', code: 'INTERNAL' }; // a defect: nothing was established, so nothing is opened
}

function refused(verdict: Verdict): Outcome {
  const failed = verdict.checks.flatMap(({ code }) => (code ? [code] : []));
  // a check that the verdict requires and that did not run has no code: it is named, as the server names it
  const missing = verdict.checks.filter(({ status }) => status === 'not-run').map(({ id }) => `not-run:${id}`);
  const codes = failed.length > 0 ? failed : missing;
  // what nothing accounts for is not known to be harmless
  const integrity = codes.length === 0 || codes.some((code) => kindOfFailedCheck(code) !== 'transient');
  return { kind: 'refused', verdict, codes, integrity };
}
