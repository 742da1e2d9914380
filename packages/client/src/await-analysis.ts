/** Waits for the analysis of a study, and checks that what it says is what the audit log recorded. */
import { createHash } from 'node:crypto';
import { canonicalize, type LogProof, RejectedError, UnavailableError, verifyLogProof } from '@abaton/verify';
import type { AnalysisResult } from './analysis-result.ts';
import type { ClientCode } from './codes.ts';
import type { VerifiedConnection } from './connect-verified.ts';
import { refusal } from './send-study.ts';

export interface ProvenResult {
  result: AnalysisResult;
  proof: LogProof;
  /** Size of the tree in which the entry was proven to be. */
  logSize: number;
  logOrigin: string;
}

export interface Analysis {
  state: 'complete' | 'failed';
  results: ProvenResult[];
}

const POLL_WAIT_MS = 20_000; // the server holds the question open for at most 30 s
const DEFAULT_TIMEOUT_MS = 10 * 60_000; // a queue of studies before ours; a single one takes seconds

/**
 * Returns when the study is analysed. Each result was checked: its log entry is in the log whose key the evidence
 * binds, and the entry names this very result, model, code and evidence. Throws PROOF_INVALID when that fails,
 * ANALYSIS_TIMEOUT when it takes longer than `timeoutMs`.
 */
export async function awaitAnalysis(
  connection: VerifiedConnection,
  studyInstanceUid: string,
  timeoutMs = DEFAULT_TIMEOUT_MS,
): Promise<Analysis> {
  const deadlineMs = performance.now() + timeoutMs;
  for (;;) {
    const response = await connection.request({
      method: 'GET',
      path: `/api/v1/studies/${studyInstanceUid}/analysis?waitMs=${POLL_WAIT_MS}`,
    });
    const answer = await response.json();
    if (response.status !== 200) throw refusal(response.status, answer);
    const { state, results } = answer as { state: string; results: { result: AnalysisResult; proof: LogProof }[] };
    if (state === 'complete' || state === 'failed')
      return { state, results: results.map(({ result, proof }) => verifyResult(connection, result, proof)) };
    if (performance.now() > deadlineMs)
      throw new UnavailableError<ClientCode>(
        'ANALYSIS_TIMEOUT',
        'The study is stored but not analysed yet. Ask again later.',
      );
  }
}

function verifyResult(connection: VerifiedConnection, result: AnalysisResult, proof: LogProof): ProvenResult {
  const { evidence, verdict } = connection;
  const { size, origin } = verifyLogProof(proof, evidence.reportData.auditLogVkeys);
  const { facts } = JSON.parse(proof.entry) as { facts?: Record<string, unknown> };
  const expected = {
    resultDigest: digestResult(result),
    modelDigest: result.model?.digest ?? null,
    codeHash: verdict.codeHash,
    evidenceId: result.evidenceId,
  };
  for (const [name, value] of Object.entries(expected)) {
    if (facts?.[name] !== value)
      throw new RejectedError<ClientCode>(
        'PROOF_INVALID',
        `The log entry ${proof.index} speaks of another ${name} than the result.`,
      );
  }
  return { result, proof, logSize: size, logOrigin: origin };
}

/** What the log holds of a result: SHA-256(salt ‖ JCS of the result), hex. */
export function digestResult(result: AnalysisResult): string {
  return createHash('sha256').update(Buffer.from(result.logSalt, 'hex')).update(canonicalize(result)).digest('hex');
}
