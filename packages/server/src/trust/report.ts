/**
 * One of the server's own proofs as a public report: canonical JSON (RFC 8785) in a C2SP signed note, signed by the key
 * of the audit log, which the evidence in it binds. Whoever has that verifier key can check a report years later, with
 * nothing of this server.
 */
import { createHash } from 'node:crypto';
import type { NoteSigner } from '@abaton/client';
import { canonicalize, type Evidence, parseVkey, type TrustLabel, type Verdict, verifyNote } from '@abaton/verify';
import { errorOf } from '../errors.ts';
import type { SelfAttestation } from '../tee/self-attestation.ts';

export interface Report {
  /** The log key signs other texts too: a checkpoint is no JSON, and other JSON is of another kind. */
  kind: 'attestation-report';
  version: 1;
  /** SHA-256 of the quote, hex; where there was none, of this report with null in place of its id. */
  id: string;
  /** ISO 8601, UTC: when the proof was begun, by the clock of the server. */
  at: string;
  state: 'verified' | 'failed';
  trust: TrustLabel;
  codeHash: string | null;
  codes: string[];
  tcbStatus: string | null;
  /**
   * What the server found in its own evidence. Without `valid` and `send`: its policy pins what it saw of itself at
   * boot; what may be sent is for the reader's policy to say.
   */
  verdict: Pick<Verdict, 'teeType' | 'trustRootSha256' | 'advisories' | 'gpus' | 'checks'> | null;
  /**
   * Whole, so that anybody can judge it again; null when none could be made, or when it exceeds what a note may hold.
   */
  evidence: Evidence | null;
  /** Id of the report before; null for the first. A report that was taken away leaves a gap in this chain. */
  previous: string | null;
}

/**
 * A note is read up to 512,000 characters (verify, tlog/note.ts); this leaves room for text around it. A quote with its
 * collateral takes 40 kB.
 */
const MAX_EVIDENCE_CHARS = 400_000;

export function makeReport(proof: SelfAttestation, previous: string | null): Report {
  const { at, state, trust, codeHash, codes, verdict, evidence } = proof;
  const fits = evidence !== null && canonicalize(evidence).length <= MAX_EVIDENCE_CHARS;
  const body: Omit<Report, 'id'> = {
    ...{ kind: 'attestation-report', version: 1, at, state, trust, codeHash, codes, previous },
    tcbStatus: verdict?.tcbStatus ?? null,
    verdict: verdict && {
      teeType: verdict.teeType,
      trustRootSha256: verdict.trustRootSha256,
      advisories: verdict.advisories,
      gpus: verdict.gpus,
      checks: verdict.checks,
    },
    evidence: fits ? evidence : null,
  };
  return { ...body, id: proof.id ?? sha256(canonicalize({ ...body, id: null })) };
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

/** The note: one line of JSON, a blank line, one signature line. */
export function signReport(report: Report, signer: Pick<NoteSigner, 'sign'>): string {
  const text = `${canonicalize(report)}\n`;
  return `${text}\n${signer.sign(text)}`;
}

/**
 * The report in a note that one of these verifier keys has signed. Throws CHECKPOINT_MALFORMED, CHECKPOINT_UNSIGNED,
 * CHECKPOINT_SIGNATURE_INVALID, VKEY_INVALID, and LOG_CORRUPT when what was signed is no report.
 */
export function openReport(note: string, vkeys: readonly string[]): Report {
  const { text } = verifyNote(note, vkeys.map(parseVkey));
  if (!text.startsWith('{'))
    throw errorOf('LOG_CORRUPT', 'The note that was to be a report is another text of the log.');
  const report = JSON.parse(text) as Report;
  if (report.kind !== 'attestation-report' || report.version !== 1)
    throw errorOf('LOG_CORRUPT', 'The note that was to be a report is of another kind or version.');
  return report;
}
