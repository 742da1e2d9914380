/** What an analysis says: the body of `GET /api/v1/studies/{uid}/analysis`, of a stored result, and the source of SR and FHIR. */

export interface AnalysisResult {
  version: 1;
  /** Hex digest of (input digest, model digest): the same input and model give the same result id. */
  id: string;
  studyInstanceUid: string;
  /** They look different everywhere, and none but 'scored' carries a score (I8, I10). */
  outcome: 'scored' | 'out-of-scope' | 'no-model' | 'failed';
  /** The subject is a phantom or other quality control subject, (0010,0200): nothing is asserted about anybody. */
  demonstration: boolean;
  /** For people: 'demonstration, not a finding' for a QC subject (0010,0200), else 'reference model, not for clinical use'. */
  label: string;
  model: { id: string; title: string; modelVersion: string; manufacturer: string; digest: string } | null;
  finding: {
    code: string;
    scheme: string;
    display: string;
    /** Uncalibrated, 0..1: a score, not a probability. */
    score: number;
    operatingPoint: number;
    aboveOperatingPoint: boolean;
  } | null;
  /** Why there is no score; empty for 'scored'. */
  reasons: string[];
  /** The image that was scored, or that the reasons speak of. */
  source: { seriesInstanceUid: string; sopInstanceUid: string; sopClassUid: string } | null;
  inputDigest: string;
  codeHash: string;
  evidenceId: string;
  /** ISO 8601, UTC */
  createdAt: string;
  sr: { seriesInstanceUid: string; sopInstanceUid: string; sopClassUid: string } | null;
  diagnosticReportId: string;
  /**
   * 32 random bytes, hex. The log entry of this analysis holds SHA-256(salt ‖ JCS of this result): whoever has the
   * result can check the entry, and the entry alone says nothing about the patient once the result is erased.
   */
  logSalt: string;
}
