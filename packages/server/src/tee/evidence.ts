/** Makes evidence for a nonce: one quote over everything that a verifier binds (docs/decisions/0006-binding.md). */
import {
  computeGpuEvidenceSha256,
  computeGpuNonce,
  computeReportData,
  type Evidence,
  type ReportDataPreimage,
} from '@abaton/verify';
import type { AuditLog } from '../audit/log.ts';
import { errorOf } from '../errors.ts';
import type { GuestAgent } from './agent-client.ts';
import type { CollateralSource } from './collateral.ts';
import type { GpuSource } from './gpu-source.ts';

/** What stays the same while the process runs. Digests are 64 hex digits. */
export interface EvidenceBinding {
  /** SHA-256 of the SubjectPublicKeyInfo (DER) of the listener's certificate. */
  tlsSpkiSha256: string;
  manifestSha256: string;
  /** Of the access policy and the destinations. */
  policySha256: string;
  modelRegistrySha256: string;
  /** What the manifest asks for. */
  requested: Evidence['requested'];
}

export interface EvidenceSource {
  /**
   * `nonce`: 64 hex digits. Neither logged nor kept: a stranger's nonce leaves no trace. Throws NONCE_INVALID, OVERLOADED,
   * AGENT_UNAVAILABLE, COLLATERAL_UNAVAILABLE or GPU_EVIDENCE_UNAVAILABLE.
   */
  evidenceFor(nonce: string, asker?: Asker): Promise<Evidence>;
}

/** Default: a stranger whose connection has no exporter. */
export interface Asker {
  /** Of the connection that asks. Null: it has none, or shares none with us. */
  tlsExporterSha256?: string | null;
  /** Our own proof: it goes first where strangers may have to wait, and with new collateral. */
  own?: boolean;
}

export interface EvidenceParts {
  agent: Pick<GuestAgent, 'getQuote' | 'info'>;
  collateral: CollateralSource;
  log: Pick<AuditLog, 'checkpoint' | 'vkeys'>;
  binding: EvidenceBinding;
  /** The keys to which requests may be sealed now (application/ohttp-keys, base64); they change. Null: none. */
  hpkePublicKey?: () => Promise<string | null>;
  /** The GPUs of this guest. Null: none are asked. */
  gpus?: GpuSource | null;
}

export function createEvidenceSource({
  agent,
  collateral,
  log,
  binding,
  hpkePublicKey = async () => null,
  gpus = null,
}: EvidenceParts): EvidenceSource {
  const { requested, ...digests } = binding;
  return {
    async evidenceFor(nonce, { tlsExporterSha256 = null, own = false } = {}) {
      if (!/^[0-9a-f]{64}$/.test(nonce)) throw errorOf('NONCE_INVALID', 'nonce must be 64 lower-case hex digits.');
      const gpu = (await gpus?.collect(computeGpuNonce(nonce, binding.tlsSpkiSha256), own)) ?? null;
      const reportData: ReportDataPreimage = {
        nonce,
        ...digests,
        tlsExporterSha256,
        hpkePublicKey: await hpkePublicKey(),
        auditLogVkeys: log.vkeys(),
        gpuEvidenceSha256: gpu && computeGpuEvidenceSha256(gpu.evidence),
        checkpoint: log.checkpoint(), // durable already, so the quote never runs ahead of the log
      };
      const { quote, eventLog } = await agent.getQuote(await computeReportData(reportData));
      const [{ appCompose }, attached] = await Promise.all([
        agent.info(),
        // what a stranger has fetched a moment ago may be older than a revocation: the door must close with the next proof (I1)
        collateral.collateralFor(quote, own),
      ]);
      return {
        version: 1,
        teeType: 'intel-tdx',
        quote: Buffer.from(quote).toString('hex'),
        eventLog,
        appCompose,
        reportData,
        collateral: attached,
        gpu,
        requested,
      };
    },
  };
}
