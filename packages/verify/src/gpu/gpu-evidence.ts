/**
 * NVIDIA's evidence list, as its attestation SDK and `nvattest` write it, and its digests. Also the form of its older
 * tools and of its attestation service, with one nonce for all, which is read as if it had been written today.
 */
import { reading, refuse } from '../errors.ts';
import { decodeBase64, decodeUtf8, encodeBase64, hexToBytes, malformed, utf8ToBytes } from '../formats/bytes.ts';
import { canonicalize } from '../formats/jcs.ts';
import { hex, list, object, oneOf, type Parse, text } from '../formats/schema.ts';
import { GPU_ARCHITECTURES, type GpuArchitecture } from '../policy.ts';
import { fingerprint } from '../roots.ts';

export interface GpuEvidence {
  arch: GpuArchitecture;
  /** 32 bytes, hex. */
  nonce: string;
  /** The report (spdm-report.ts), base64. */
  evidence: string;
  /** The certificate chain, leaf first, base64 of PEM. */
  certificate: string;
}

const DEVICES = 24; // 8 GPUs and 4 switches in one HGX system, twice over
const REPORT_CHARS = 32 * 1024; // [12 kB as base64 of hex]
const CHAIN_CHARS = 32 * 1024; // [6.4 kB]
const open = { open: true }; // NVIDIA adds members, such as `version`

/** Text that `decode` takes. */
const encoded =
  (maxLength: number, decode: (text: string) => unknown): Parse<string> =>
  (value, path) => {
    const parsed = text(maxLength)(value, path);
    decode(parsed);
    return parsed;
  };
const decodeText = (base64: string): string => decodeUtf8(decodeBase64(base64));

const item = object<GpuEvidence>(
  {
    arch: oneOf(...GPU_ARCHITECTURES),
    nonce: hex(32),
    evidence: encoded(REPORT_CHARS, decodeBase64),
    certificate: encoded(CHAIN_CHARS, decodeText),
  },
  open,
);
const today = list(item, DEVICES);

const before = object(
  {
    arch: text(20),
    nonce: text(64),
    evidence_list: list(
      object({ evidence: encoded(REPORT_CHARS, decodeBase64), certificate: text(CHAIN_CHARS) }, open),
      DEVICES,
    ),
  },
  open,
);

/** Throws GPU_EVIDENCE_MALFORMED, or GPU_EVIDENCE_UNSUPPORTED for another architecture. */
export const parseGpuEvidence = (json: unknown): GpuEvidence[] =>
  reading('GPU_EVIDENCE_MALFORMED', 'GPU evidence', () => {
    const items = Array.isArray(json) ? json : modernize(json);
    for (const each of items) refuseOtherArchitecture(each);
    const parsed = today(items, 'gpuEvidence');
    return parsed.length > 0 ? parsed : malformed('GPU evidence lists no device');
  });

function refuseOtherArchitecture(value: unknown): void {
  const arch = (value as { arch?: unknown } | null)?.arch;
  if (typeof arch === 'string' && !GPU_ARCHITECTURES.some((known) => known === arch))
    refuse('GPU_EVIDENCE_UNSUPPORTED', GPU_ARCHITECTURES.join(' or '), arch.slice(0, 20));
}

function modernize(json: unknown): unknown[] {
  const { arch, nonce, evidence_list } = before(json, 'gpuEvidence');
  return evidence_list.map(({ evidence, certificate }) => ({
    ...{ arch, nonce, certificate },
    evidence: encodeBase64(reportOf(decodeBase64(evidence))),
  }));
}

/** Until 2024 the report was written as hex before it was written as base64. No report consists of hex digits: it begins with 11. */
function reportOf(bytes: Uint8Array): Uint8Array {
  const isHex = bytes.every((byte) => (byte >= 0x30 && byte <= 0x39) || (byte >= 0x61 && byte <= 0x66)); // 0-9, a-f
  if (!isHex) return bytes;
  return bytes.length % 2 === 0 ? hexToBytes(decodeUtf8(bytes)) : malformed('report is half a byte too long');
}

/** What report_data names: SHA-256 over the canonical JSON of the list, hex. Members that others add do not count. */
export const computeGpuEvidenceSha256 = (devices: readonly GpuEvidence[]): string =>
  fingerprint(
    utf8ToBytes(
      canonicalize(devices.map(({ arch, nonce, evidence, certificate }) => ({ arch, nonce, evidence, certificate }))),
    ),
  );

/**
 * The nonce for which the GPUs are asked: `SHA-256("abaton-gpu-v1:" ‖ JCS({ nonce, tlsSpkiSha256 }))`, hex. A report of a
 * GPU then belongs to this nonce of the verifier and to this TLS key, before any quote names it.
 */
export const computeGpuNonce = (nonce: string, tlsSpkiSha256: string): string =>
  fingerprint(utf8ToBytes(`abaton-gpu-v1:${canonicalize({ nonce, tlsSpkiSha256 })}`));

/** Report and certificate chain of one device, decoded. */
export const decodeGpuEvidence = ({ evidence, certificate }: GpuEvidence): { report: Uint8Array; chain: string } => ({
  report: decodeBase64(evidence),
  chain: decodeText(certificate),
});
