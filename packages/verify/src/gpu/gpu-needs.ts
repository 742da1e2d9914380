/**
 * What NVIDIA's services are to be asked for so that devices can be verified, for whoever fetches it. Nothing is verified
 * but what has to be read: chains and RIMs that are not well signed have nothing to be asked for.
 */
import { buildOcspRequest } from '../pki/ocsp-cert-id.ts';
import type { Certificate } from '../pki/x509.ts';
import { authenticateDeviceChain } from './device-chain.ts';
import { decodeGpuEvidence, type GpuEvidence } from './gpu-evidence.ts';
import { authenticateRim } from './rim.ts';
import { parseSpdmReport } from './spdm-report.ts';

export const gpuNeeds = {
  /** Ids of the RIMs of drivers and VBIOSes, each once. Throws GPU_EVIDENCE_MALFORMED or GPU_EVIDENCE_UNSUPPORTED. */
  rimIds(devices: readonly GpuEvidence[]): string[] {
    const reports = devices.map((device) => parseSpdmReport(decodeGpuEvidence(device).report, device.arch));
    return [...new Set(reports.flatMap(({ driverRimId, vbiosRimId }) => [driverRimId ?? [], vbiosRimId].flat()))];
  },
  /**
   * OCSP requests (DER) for the certificates of the devices and of the RIMs (XML), but not for leaves of devices, which
   * verifyOcsp leaves out too. Throws a VerificationError.
   */
  async ocspRequests(devices: readonly GpuEvidence[], rims: readonly string[]): Promise<Uint8Array[]> {
    const chains = await Promise.all(devices.map((device) => authenticateDeviceChain(decodeGpuEvidence(device).chain)));
    const ofRims = await Promise.all(rims.map(authenticateRim));
    return [...chains.map(({ certificates }) => certificates.slice(1)), ...ofRims.map(({ chain }) => chain)].flatMap(
      requestsFor,
    );
  },
};

const requestsFor = (chain: readonly Certificate[]): Uint8Array[] =>
  chain.slice(0, -1).map((certificate, index) => buildOcspRequest(certificate, chain[index + 1]!));
