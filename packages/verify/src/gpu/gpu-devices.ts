/** Which devices there are, against what the policy demands. */
import { refuse } from '../errors.ts';
import type { GpuArchitecture, GpuPolicy } from '../policy.ts';
import { each } from './each-device.ts';

export interface GpuDevice {
  arch: GpuArchitecture;
  /** How NVIDIA's tokens name the device. */
  ueid: string;
  /** Null: a switch. */
  driverVersion: string | null;
  vbiosVersion: string;
}

/** Switches are attested like GPUs, and are none. */
export const gpusOf = (devices: readonly GpuDevice[]): GpuDevice[] => devices.filter(({ arch }) => arch !== 'LS10');

/** Throws GPU_DEVICES_REFUSED. A device shown twice would let one GPU stand for two. */
export function verifyDevices(devices: readonly GpuDevice[], demand: GpuPolicy | null): string {
  const refused = (expected: string, seen: string): never => refuse('GPU_DEVICES_REFUSED', expected, seen);
  const ueids = devices.map(({ ueid }) => ueid);
  if (new Set(ueids).size < ueids.length) refused('every device once', `${ueids.join(', ')}`);
  const gpus = gpusOf(devices);
  const seen = `${gpus.length} GPUs, ${devices.length - gpus.length} switches`;
  if (!demand) return seen;
  const { count, architectures, driverVersions, vbiosVersions } = demand;
  if (count === null ? gpus.length === 0 : gpus.length !== count) refused(`${count ?? 'at least one'} GPU`, seen);
  each(devices, ({ arch, driverVersion, vbiosVersion }) => {
    if (!architectures.includes(arch)) refused(architectures.join(' or ') || 'no architecture', arch);
    if (driverVersions && driverVersion && !driverVersions.includes(driverVersion))
      refused(`driver ${driverVersions.join(' or ')}`, driverVersion);
    if (vbiosVersions && !vbiosVersions.includes(vbiosVersion))
      refused(`VBIOS ${vbiosVersions.join(' or ')}`, vbiosVersion);
  });
  return seen;
}
