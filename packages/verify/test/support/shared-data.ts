/** Real quotes and collateral of others (see SOURCES.md beside them): found, never copied. */
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { parseVersionedAttestation } from '../../src/dstack/versioned-attestation.ts';
import type { TdxCollateral, TdxEvent, TdxEvidence } from '../../src/index.ts';

export const root =
  process.env.ABATON_TEST_DATA ?? fileURLToPath(new URL('../../../../../shared/data', import.meta.url));
export const skip = existsSync(`${root}/attestation`) ? false : 'needs ABATON_TEST_DATA';

export const read = (path: string): Buffer => readFileSync(`${root}/attestation/${path}`);
export const readJson = (path: string) => JSON.parse(read(path).toString('utf8'));

/** CommonJS, so loaded as such. */
export const qvl: typeof import('@phala/dcap-qvl') = createRequire(import.meta.url)('@phala/dcap-qvl');

export const NEAR_MS = Date.parse('2026-08-20T12:00:00Z');
export const DCAP_MS = Date.parse('2025-06-25T00:00:00Z');

export interface TcbInfoDocument {
  mrtd: string;
  rtmr0: string;
  rtmr1: string;
  rtmr2: string;
  compose_hash: string;
  app_compose: string;
  event_log: TdxEvent[];
}

export const nearTcbInfo = (): TcbInfoDocument => readJson('near-mpc/tcb_info.json');
/** dstack's own fixture, VersionedAttestation V0 of a TDX guest. */
export function simulatorAttestation() {
  const attestation = parseVersionedAttestation(read('dstack/simulator/attestation.bin'));
  if (attestation.teeType !== 'intel-tdx') throw new Error('dstack/simulator/attestation.bin is of TDX');
  return attestation;
}
export const nearQuote = (): Buffer => Buffer.from(readJson('near-mpc/quote.json'));
/** Of a guest with a GPU, on another platform family. */
export const gpuVmQuote = (): Buffer =>
  Buffer.from(readJson('dstack/verifier-fixtures/quote-report.json').quote, 'hex');
export const dcapQuote = (): Buffer => read('dcap-qvl/tdx_quote');

/** The nine members of the collateral; some sets carry the PCK chain as well, which stands in the quote. */
export function collateralOf(path: string): TdxCollateral {
  const { pck_certificate_chain: _, ...collateral } = readJson(path);
  return collateral;
}
export const nearCollateral = () => collateralOf('near-mpc/collateral.json');
export const dcapCollateral = () => collateralOf('dcap-qvl/tdx_quote_collateral.json');

const ZEROS = '00'.repeat(32);

/** TdxEvidence around a quote that was not made for Abaton: everything can be checked but the report_data preimage. */
export const wrap = (
  quote: Uint8Array,
  collateral: TdxCollateral | null,
  app: Pick<TcbInfoDocument, 'event_log' | 'app_compose'> = { event_log: [], app_compose: '' },
): TdxEvidence => ({
  version: 1,
  teeType: 'intel-tdx',
  gpu: null,
  quote: Buffer.from(quote).toString('hex'),
  eventLog: app.event_log,
  appCompose: app.app_compose,
  reportData: {
    nonce: ZEROS,
    tlsSpkiSha256: ZEROS,
    tlsExporterSha256: null,
    hpkePublicKey: null,
    auditLogVkeys: [],
    gpuEvidenceSha256: null,
    manifestSha256: ZEROS,
    policySha256: ZEROS,
    modelRegistrySha256: ZEROS,
    checkpoint: '',
  },
  collateral,
  requested: { hipaa: true, baaSigned: false, attestationPublic: true },
});
