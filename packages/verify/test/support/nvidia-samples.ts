/** NVIDIA's own reports and certificates (SOURCES.md beside them): found, never copied. */
import { readFileSync } from 'node:fs';
import { decodeGpuEvidence, parseGpuEvidence } from '../../src/gpu/gpu-evidence.ts';
import { type VerificationCode, VerificationError } from '../../src/index.ts';
import { root } from './shared-data.ts';

export const SDK = 'attestation-sdk/evidence';
export const text = (path: string) => readFileSync(`${root}/gpu-attestation/${path}`, 'utf8');
export const json = (path: string) => JSON.parse(text(path));
export const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
export const report = (path: string) => Buffer.from(text(path).trim(), 'hex');

/** Report and chain: of two files (the chain as it is, beside the report), or of a list of evidence. */
export function load(file: string, chain: string): [report: Uint8Array, chain: string][] {
  if (chain) return [[report(file), text(file.replace(/[^/]*$/, `${chain}.txt`))]];
  return parseGpuEvidence(json(file)).map((one) => {
    const decoded = decodeGpuEvidence(one);
    return [decoded.report, decoded.chain];
  });
}

/** For assert.throws and assert.rejects. */
export const refused =
  (code: VerificationCode, seen = /./) =>
  (error: unknown) =>
    error instanceof VerificationError && error.code === code && seen.test(error.seen);
