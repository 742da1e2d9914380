/** What the DICOMweb door works with: interfaces only, chosen in main.ts. */
import type { AuditTrail } from '../../audit/events.ts';
import type { StudyArchive } from '../../imaging/archive.ts';
import type { Metrics } from '../../metrics.ts';
import type { Gate } from '../../tee/gate.ts';
import type { Vault } from '../../vault/vault.ts';

export interface DicomwebDeps {
  gate: Gate;
  vault: Vault;
  archive: StudyArchive;
  trail: AuditTrail;
  metrics: Metrics;
  tenant: string;
  maxInstanceBytes: number;
  maxHeaderBytes: number;
  maxConcurrentUploads: number;
}
