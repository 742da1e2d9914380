/**
 * One flipped bit in the real samples of others: quote, collateral, event log, SEV-SNP report and certificates, GPU report
 * and certificates, reference measurements. SLOW=1 flips one seeded bit of every byte; otherwise a seeded sample.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { decodeGpuEvidence, parseGpuEvidence } from '../src/gpu/gpu-evidence.ts';
import { type EvidenceFiles, parsePolicy, type TdxEvent, VerifiedCache, verifyFiles } from '../src/index.ts';
import { type ExpectedResult, loadFiles, skip } from './support/samples.ts';
import { meaning, outside, RANGES, random, sample, seed, sweep } from './support/sweep.ts';

const A = 'attestation';
const G = 'gpu-attestation';
const SAMPLES = {
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

const policy = parsePolicy({ version: 1 });
const judgeAt =
  (now: string, cache = new VerifiedCache()) =>
  (files: EvidenceFiles) =>
    verifyFiles(files, { policy, nowMs: Date.parse(now), cache });

type Kind = keyof typeof RANGES;
type Part = [name: string, kind: Kind, bytes: Buffer, put: (bytes: Buffer) => Partial<EvidenceFiles>];

/** The parts of a sample whose every byte counts, and how a changed one is put back. */
function* partsOf(files: EvidenceFiles): Generator<Part> {
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

for (const [name, { files, now }] of Object.entries(SAMPLES))
  test(`bytes of ${name} (seed ${seed})`, { skip }, async (t) => {
    const loaded = loadFiles(files);
    const judge = judgeAt(now);
    assert.equal((await judge(loaded)).valid, true);
    for (const [part, kind, bytes, put] of partsOf(loaded))
      await t.test(`${part}, ${bytes.length} bytes`, async () => {
        const build = (flipped: Buffer): EvidenceFiles => ({ ...loaded, ...put(flipped) });
        const accepted = await sweep(bytes, sample(bytes, 250), build, judge, { everyBit: false });
        assert.deepEqual(outside(accepted, RANGES[kind]), []);
      });
  });

interface Member {
  pattern: string;
  imr: number[];
  reason: string;
}
const { members } = JSON.parse(readFileSync(new URL('vectors/flip-ranges.json', import.meta.url), 'utf8')) as {
  members: Member[];
};

test(`characters of a real event log (seed ${seed})`, { skip }, async () => {
  const { files, now } = SAMPLES.tdx;
  const loaded = loadFiles(files);
  const judge = judgeAt(now);
  const baseline = meaning(await judge(loaded));
  const log = loaded.eventLog as TdxEvent[];
  for (const [index, event] of log.entries())
    for (const member of ['digest', 'event', 'event_payload', 'event_type', 'imr'] as const) {
      const path = `${index}.${member}`;
      const text = String(event[member]);
      const at = random(text.length);
      const flipped =
        text.slice(0, at) + String.fromCharCode(text.charCodeAt(at) ^ (1 << random(7))) + text.slice(at + 1);
      const value = typeof event[member] === 'number' ? Number(flipped) : flipped;
      if (text === '' || value === event[member]) continue;
      const verdict = await judge({ ...loaded, eventLog: log.with(index, { ...event, [member]: value }) });
      const listed = members.some(({ pattern, imr }) => new RegExp(pattern).test(path) && imr.includes(event.imr));
      if (meaning(verdict) === baseline) assert.ok(listed, `${path} may change unseen`);
      else assert.equal(verdict.valid, false, path);
    }
});
