/**
 * NVIDIA GPUs in confidential mode, one named step per line; each covers all devices, and a failure names the device.
 * The steps are those of NVIDIA's attestation SDK. What a report does not say, whether confidential mode is on, is
 * measured by the guest (dstack/gpu-boot.ts); that the GPU is in this very machine, nothing proves (docs/guide/verify.md).
 */
import { askedFor, type Checklist, NotAsked } from '../checklist.ts';
import type { VerifyContext } from '../context.ts';
import { reading } from '../errors.ts';
import { bytesToHex } from '../formats/bytes.ts';
import { type OcspResponse, parseOcspResponse, verifyOcsp } from '../pki/ocsp.ts';
import { type Certificate, verifyDates } from '../pki/x509.ts';
import { verifyListed } from '../policy.ts';
import { NVIDIA_DEVICE_ROOT_SHA256, NVIDIA_RIM_ROOT_SHA256, verifyRoot } from '../roots.ts';
import { authenticateDeviceChain, verifyArchitecture, verifyReportSignature } from './device-chain.ts';
import { each, eachInTurn } from './each-device.ts';
import { verifyFirmwareId } from './firmware-id.ts';
import { verifyMeasurements } from './golden.ts';
import { type GpuDevice, verifyDevices, verifyDistinct } from './gpu-devices.ts';
import { decodeGpuEvidence, type GpuEvidence, parseGpuEvidence } from './gpu-evidence.ts';
import { authenticateRim, type Rim, verifyRimDates } from './rim.ts';
import { parseSpdmReport, type SpdmReport } from './spdm-report.ts';

export interface VerifiedGpus {
  /** The evidence as it was read, and what it shows; null when a report could not be trusted. */
  shown: { list: GpuEvidence[]; devices: GpuDevice[] } | null;
  /** A root, of a device or of reference measurements, was not NVIDIA's. */
  simulated: boolean;
}

interface GpuGiven {
  evidence: { json: unknown } | NotAsked;
  /** The nonce that the GPUs were asked for, hex. */
  nonce: string | NotAsked | null;
  /** XML. */
  rims: readonly string[];
  /** DER. */
  ocspResponses: readonly Uint8Array[];
}

export async function verifyGpu(
  checklist: Checklist,
  given: GpuGiven,
  { policy, nowMs, acceptedRootsSha256, cache }: VerifyContext,
): Promise<VerifiedGpus> {
  const step = checklist.step.bind(checklist);
  const read = await step('gpu', [given.evidence], ({ json }) => {
    const list = parseGpuEvidence(json);
    const reports = each(list, (device) => {
      const report = parseSpdmReport(decodeGpuEvidence(device).report, device.arch);
      verifyListed('GPU_EVIDENCE_MALFORMED', bytesToHex(report.nonce), [device.nonce]); // what the list says of it
      return report;
    });
    return { list, reports };
  });

  // Who says it: devices, up to NVIDIA's root
  const chains = await step('gpu-certificates', [read], async ({ list }) => {
    const chains = await eachInTurn(list, (device) => {
      const pem = decodeGpuEvidence(device).chain;
      return cache.once('device chain', [pem], () => authenticateDeviceChain(pem));
    });
    each(chains, (chain, index) => {
      verifyDates(chain.certificates, nowMs);
      verifyArchitecture(chain, list[index]!.arch);
    });
    return chains;
  });
  const rooted = await step('gpu-root', [chains], (chains) => {
    each(chains, ({ rootSha256 }) => verifyRoot(rootSha256, [NVIDIA_DEVICE_ROOT_SHA256], acceptedRootsSha256));
    return chains;
  });
  const signed = await step('gpu-signature', [read, chains], async ({ list, reports }, chains) => {
    await eachInTurn(reports, (report, index) => verifyReportSignature(report, chains[index]!.leaf));
    return {
      list,
      reports,
      devices: reports.map((report, index) => describe(list[index]!, report, chains[index]!.ueid)),
    };
  });
  await step('gpu-firmware', [signed, chains], ({ reports, devices }, chains) => {
    const said = each(reports, (report, index) => verifyFirmwareId(report, chains[index]!.leaf));
    const silent = devices.find(({ driverVersion }, index) => driverVersion !== null && !said[index]);
    if (silent) return new NotAsked(`driver ${silent.driverVersion} does not say`);
    return said.includes(true) ? true : new NotAsked('switches do not say');
  });
  await step('gpu-nonce', [signed, given.nonce], ({ reports }, nonce) =>
    each(reports, (report) => verifyListed('NONCE_MISMATCH', bytesToHex(report.nonce), [nonce])),
  );

  // What runs on them, and what the policy demands
  const rims = await step(
    'gpu-rims',
    [askedFor(given.rims.length > 0 ? given.rims : null, 'none given')],
    async (xmls) => {
      const verifyRim = async (xml: string): Promise<Rim> => {
        const rim = await cache.once('RIM', [xml], () => authenticateRim(xml));
        verifyRoot(rim.rootSha256, [NVIDIA_RIM_ROOT_SHA256], acceptedRootsSha256);
        verifyRimDates(rim, nowMs);
        return rim;
      };
      return eachInTurn(xmls, verifyRim, 'RIM');
    },
  );
  const responses = askedFor(given.ocspResponses.length > 0 ? given.ocspResponses : null, 'no OCSP response given');
  await step('gpu-revocation', [rooted, responses], async (chains, ders) => {
    const authentic = new Map<OcspResponse, Certificate[]>();
    const parsed = ders.map((der) => reading('OCSP_INVALID', 'OCSP response', () => parseOcspResponse(der)));
    // Not the leaf: the device itself has certified it, and nobody keeps a record of it (NVIDIA's SDK leaves it out too).
    await eachInTurn(chains, ({ certificates }) => verifyOcsp(parsed, certificates.slice(1), nowMs, authentic));
    await eachInTurn(rims ?? [], ({ chain }) => verifyOcsp(parsed, chain, nowMs, authentic), 'RIM');
  });
  await step(
    'gpu-measurements',
    [signed, given.rims.length > 0 ? rims : askedFor(rims, 'no RIM given')],
    ({ reports }, rims) => each(reports, (report) => verifyMeasurements(report, rims)).join('; '),
  );
  await step('gpu-devices', [signed, chains], ({ devices }, chains) => {
    verifyDistinct(chains);
    return verifyDevices(devices, policy.gpu);
  });

  const roots = [...(chains ?? []), ...(rims ?? [])].map(({ rootSha256 }) => rootSha256);
  const simulated = roots.some((root) => root !== NVIDIA_DEVICE_ROOT_SHA256 && root !== NVIDIA_RIM_ROOT_SHA256);
  return { shown: signed && { list: signed.list, devices: signed.devices }, simulated };
}

const describe = ({ arch }: GpuEvidence, { driverVersion, vbiosVersion }: SpdmReport, ueid: string): GpuDevice => ({
  ...{ arch, ueid, driverVersion, vbiosVersion },
});
