/** What a verifier demands. One readable JSON document, version 1; kept outside the measured image. */

/** Measurements of one OS image in one VM shape (RTMR0 changes with vCPU and RAM). 96 hex digits each. */
export interface OsMeasurement {
  /** For people: image and shape. */
  name: string;
  mrtd: string;
  rtmr0: string;
  rtmr1: string;
  rtmr2: string;
}

export interface Policy {
  version: 1;
  /** Allowed code hashes: SHA-256 of the raw app_compose, `sha256:` and 64 hex digits. */
  codeHashes: string[];
  /** Allowed OS images. Empty: the check does not run, and what did not run is not a pass. */
  osMeasurements: OsMeasurement[];
  /** Allowed digests of abaton.yaml, of the access policy and of the model registry. Null: not pinned. */
  manifestSha256: string[] | null;
  policySha256: string[] | null;
  modelRegistrySha256: string[] | null;
  /** Allowed TCB statuses. Default: UpToDate alone. */
  tcbStatuses: string[];
  /** Allowed advisories, e.g. INTEL-SA-01192. Default: none. */
  advisories: string[];
  /** Lowest tcbEvaluationDataNumber that is accepted. */
  minTcbEvaluationDataNumber: number;
  gpuRequired: boolean;
}
