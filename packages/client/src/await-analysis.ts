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
 * Returns when the study is analysed. Each result was checked: it is of this study, its log entry is in the log whose key
 * the evidence binds, and the entry names this very result, model, code and evidence. Throws PROOF_INVALID or a LogCode
 * when that fails, ANSWER_INVALID, the server's refusal, and ANALYSIS_TIMEOUT when it takes longer than `timeoutMs`.
 */
export async function awaitAnalysis(
  connection: VerifiedConnection,
  studyInstanceUid: string,
  timeoutMs = DEFAULT_TIMEOUT_MS,
): Promise<Analysis> {
  const deadlineMs = performance.now() + timeoutMs;
  for (;;) {
    const waitMs = Math.round(Math.min(POLL_WAIT_MS, Math.max(0, deadlineMs - performance.now())));
    const response = await connection.request({
      method: 'GET',
      path: `/api/v1/studies/${studyInstanceUid}/analysis?waitMs=${waitMs}`,
    });
    const answer = await response.json();
    if (response.status !== 200) throw refusal(response.status, answer);
    const { state, results } = parseAnswer(answer);
    if (state === 'complete' || state === 'failed')
      return { state, results: results.map((pair) => verifyResult(connection, studyInstanceUid, pair)) };
    if (performance.now() >= deadlineMs)
      throw new UnavailableError<ClientCode>(
        'ANALYSIS_TIMEOUT',
        'The study is stored but not analysed yet. Ask again later.',
      );
  }
}

interface ResultAndProof {
  result: AnalysisResult;
  proof: LogProof;
}

/** Only what the proof is checked with: the digest in the log then vouches for the rest. Throws ANSWER_INVALID. */
function parseAnswer(answer: unknown): { state: string; results: ResultAndProof[] } {
  const { state, results } = (answer ?? {}) as { state?: unknown; results?: unknown };
  const isPair = (pair: Partial<ResultAndProof> | null): pair is ResultAndProof =>
    typeof pair?.result?.logSalt === 'string' && typeof pair.proof === 'object' && pair.proof !== null;
  if (typeof state !== 'string' || !Array.isArray(results) || !results.every(isPair))
    throw new UnavailableError<ClientCode>(
      'ANSWER_INVALID',
      'The answer is not a state with results and their proofs.',
    );
  return { state, results };
}

function verifyResult(
  { evidence }: VerifiedConnection,
  studyInstanceUid: string,
  { result, proof }: ResultAndProof,
): ProvenResult {
  const { size, origin } = verifyLogProof(proof, evidence.reportData.auditLogVkeys);
  const invalid = (what: string) =>
    new RejectedError<ClientCode>('PROOF_INVALID', `The log entry ${proof.index} speaks of another ${what}.`);
  const facts = factsOf(proof.entry);
  const expected = {
    resultDigest: digestResult(result),
    modelDigest: result.model?.digest ?? null,
    codeHash: result.codeHash, // the code that ran then: an approved upgrade makes no earlier result false
    evidenceId: result.evidenceId,
  };
  for (const [name, value] of Object.entries(expected)) if (facts[name] !== value) throw invalid(name);
  if (result.studyInstanceUid !== studyInstanceUid) throw invalid('study');
  return { result, proof, logSize: size, logOrigin: origin };
}

/** Of an audit entry; none of an entry of another kind. */
function factsOf(entry: string): Record<string, unknown> {
  try {
    return JSON.parse(entry)?.facts ?? {};
  } catch {
    return {};
  }
}

/** What the log holds of a result: SHA-256(salt ‖ JCS of the result), hex. */
export function digestResult(result: AnalysisResult): string {
  return createHash('sha256').update(Buffer.from(result.logSalt, 'hex')).update(canonicalize(result)).digest('hex');
}
