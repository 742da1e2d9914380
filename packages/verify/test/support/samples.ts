/**
 * The real samples of others, as files for `verifyFiles`, and the table of what is expected of each at a date: one row of
 * expected-results.json says which files, which time, and for every check what becomes of it.
 */
import { existsSync, readFileSync } from 'node:fs';
import { parseVersionedAttestation } from '../../src/dstack/versioned-attestation.ts';
import type { CheckId, EvidenceFiles, VerificationCode } from '../../src/index.ts';
import { root } from './shared-data.ts';

export const skip = existsSync(`${root}/gpu-attestation`) ? false : 'needs ABATON_TEST_DATA';

export interface ExpectedResult {
  /** Member of EvidenceFiles → path in the test data; several paths are joined (certificates, report and chain). */
  files: Partial<Record<keyof EvidenceFiles, string | string[]>>;
  now: string;
  tcbStatus?: string;
  advisories?: string[];
  /** `pass`, `not-run`, or the code of the failure. A check that is absent was not due. */
  checks: Partial<Record<CheckId, 'pass' | 'not-run' | VerificationCode>>;
}

export const expectedResults = (): ExpectedResult[] =>
  JSON.parse(readFileSync(new URL('../vectors/expected-results.json', import.meta.url), 'utf8'));

const read = (path: string): Buffer => readFileSync(`${root}/${path}`);
const text = (path: string): string => read(path).toString('utf8');
const json = (path: string) => JSON.parse(text(path));

/** Evidence in one of the forms in which the samples come. */
const READERS: { [M in keyof EvidenceFiles]-?: (paths: string[]) => EvidenceFiles[M] } = {
  quote: ([path]) => readQuote(path!),
  collateral: ([path]) => json(path!),
  eventLog: ([path]) => readEventLog(path!),
  appCompose: ([path]) => text(path!),
  snpReport: ([path]) => attestationOf(path!)?.report ?? read(path!),
  certificates: (paths) => paths.map((path) => `${text(path).trim()}\n`).join(''),
  crl: ([path]) => read(path!),
  mrConfig: ([path]) => attestationOf(path!)!.mrConfig,
  gpuEvidence: (paths) => (paths.length === 1 ? json(paths[0]!) : [readReport(paths[0]!, paths[1]!)]),
  gpuNonce: ([hex]) => hex!,
  rims: (paths) => paths.map(text),
  ocspResponses: (paths) => paths.map(read),
};

export function loadFiles(files: ExpectedResult['files']): EvidenceFiles {
  const loaded: Record<string, unknown> = {};
  for (const [member, paths] of Object.entries(files))
    loaded[member] = READERS[member as keyof EvidenceFiles]([paths].flat());
  return loaded as EvidenceFiles;
}

function readQuote(path: string): Uint8Array {
  if (path.endsWith('attestation.bin')) {
    const attestation = parseVersionedAttestation(read(path));
    if (attestation.teeType === 'intel-tdx') return attestation.quote;
  }
  if (!path.endsWith('.json')) return read(path);
  const document = json(path);
  return Array.isArray(document) ? Uint8Array.from(document) : Buffer.from(document.quote, 'hex');
}

function readEventLog(path: string): unknown {
  if (path.endsWith('attestation.bin')) {
    const attestation = parseVersionedAttestation(read(path));
    return attestation.teeType === 'intel-tdx' ? attestation.eventLog : null;
  }
  const { event_log } = json(path);
  return typeof event_log === 'string' ? JSON.parse(event_log) : event_log;
}

/** dstack's attestation of a SEV-SNP guest: binary, or in hex in a JSON fixture. */
function attestationOf(path: string) {
  if (path.endsWith('report.bin')) return null;
  const bytes = path.endsWith('.json') ? Buffer.from(json(path).attestation, 'hex') : read(path);
  const attestation = parseVersionedAttestation(bytes);
  return attestation.teeType === 'amd-sev-snp' ? attestation : null;
}

/** Report in hex and chain in PEM, as NVIDIA keeps its samples; the JSON form has them in base64. */
function readReport(report: string, chain: string) {
  const bytes = Buffer.from(text(report).replaceAll(/\s/g, ''), 'hex');
  return {
    arch: report.includes('switch') ? 'LS10' : 'HOPPER',
    nonce: bytes.subarray(4, 36).toString('hex'),
    evidence: bytes.toString('base64'),
    certificate: Buffer.from(`${text(chain).trim()}\n`).toString('base64'),
  };
}
