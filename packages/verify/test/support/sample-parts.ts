/** One real sample of each kind that holds, and the parts of it whose every byte counts. */
import { decodeGpuEvidence, parseGpuEvidence } from '../../src/gpu/gpu-evidence.ts';
import type { EvidenceFiles } from '../../src/index.ts';
import type { ExpectedResult } from './samples.ts';
import type { RANGES } from './sweep.ts';

const A = 'attestation';
const G = 'gpu-attestation';
export const SAMPLES = {
  tdx: {
    now: '2026-08-20T12:00:00Z',
    files: {
      quote: `${A}/near-mpc/quote.json`,
      collateral: `${A}/near-mpc/collateral.json`,
      eventLog: `${A}/near-mpc/tcb_info.json`,
      appCompose: `${A}/near-mpc/app_compose.json`,
    },
  },
  snp: {
    now: '2026-08-20T12:00:00Z',
    files: {
      snpReport: `${A}/dstack/sev-snp/report.bin`,
      certificates: [
        'dstack/sev-snp/sev_snp_vcek.pem',
        'dstack/sev-snp/sev_snp_ask.pem',
        'roots/amd-ark-milan.pem',
      ].map((path) => `${A}/${path}`),
    },
  },
  gpu: {
    now: '2026-08-20T12:00:00Z',
    files: {
      gpuEvidence: `${G}/attestation-sdk/evidence/hopper_evidence.json`,
      gpuNonce: 'e97b23a1718095a0e9e35edca810768c70a6a5a389b705e753b197912bc11576',
    },
  },
  nvswitch: {
    now: '2026-08-20T12:00:00Z',
    files: {
      gpuEvidence: `${G}/attestation-sdk/evidence/switch_evidence_ls10.json`,
      rims: [`${G}/attestation-sdk/rims/switchVBIOSRim_NV_SWITCH_BIOS_5612_0002_890_9610550001.xml`],
    },
  },
  driverRim: {
    now: '2025-03-01T00:00:00Z',
    files: { rims: [`${G}/attestation-sdk/rims/NV_GPU_DRIVER_GH100_550.144.03.xml`] },
  },
  vbiosRim: {
    now: '2025-03-01T00:00:00Z',
    files: { rims: [`${G}/nvtrust/rims/1010_0205_862_9600740020_PROD.swidtag`] },
  },
} satisfies Record<string, Pick<ExpectedResult, 'files' | 'now'>>;

type Kind = keyof typeof RANGES;
export type Part = [name: string, kind: Kind, bytes: Buffer, put: (bytes: Buffer) => Partial<EvidenceFiles>];

/** The parts of a sample whose every byte counts, and how a changed one is put back. */
export function* partsOf(files: EvidenceFiles): Generator<Part> {
  if (files.quote) yield ['quote', 'quote', Buffer.from(files.quote), (quote) => ({ quote })];
  for (const [member, value] of Object.entries((files.collateral ?? {}) as Record<string, string>)) {
    const encoding = /crl$|signature$/.test(member) ? 'hex' : 'utf8';
    if (member === 'pck_certificate_chain') continue; // stands in the quote
    const kind = member.endsWith('crl') ? 'crl' : member.endsWith('chain') ? 'chain' : 'json';
    const put = (bytes: Buffer) => ({
      collateral: { ...(files.collateral as object), [member]: bytes.toString(encoding) },
    });
    yield [member, kind, Buffer.from(value, encoding), put];
  }
  if (files.appCompose)
    yield ['app_compose', 'json', Buffer.from(files.appCompose), (bytes) => ({ appCompose: bytes.toString() })];
  if (files.snpReport) yield ['SEV-SNP report', 'report', Buffer.from(files.snpReport), (snpReport) => ({ snpReport })];
  if (files.certificates)
    yield [
      'certificates',
      'chain',
      Buffer.from(files.certificates),
      (bytes) => ({ certificates: bytes.toString('latin1') }),
    ];
  for (const [index, xml] of (files.rims ?? []).entries())
    yield ['RIM', 'rim', Buffer.from(xml), (bytes) => ({ rims: files.rims!.with(index, bytes.toString('latin1')) })];
  if (!files.gpuEvidence) return;
  const [device] = parseGpuEvidence(files.gpuEvidence);
  const { report, chain } = decodeGpuEvidence(device!);
  const withDevice = (change: object) => ({ gpuEvidence: [{ ...device, ...change }] });
  yield ['GPU report', 'report', Buffer.from(report), (bytes) => withDevice({ evidence: bytes.toString('base64') })];
  yield [
    'GPU certificates',
    'chain',
    Buffer.from(chain),
    (bytes) => withDevice({ certificate: bytes.toString('base64') }),
  ];
  yield ['nonce of the list', 'json', Buffer.from(device!.nonce), (bytes) => withDevice({ nonce: bytes.toString() })];
}
