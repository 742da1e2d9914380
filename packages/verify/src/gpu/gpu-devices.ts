/** Which devices there are, against what the policy demands. */
import { refuse } from '../errors.ts';
import type { GpuArchitecture, GpuPolicy } from '../policy.ts';
import type { DeviceChain } from './device-chain.ts';
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

/**
 * A device shown twice would let one GPU stand for two. It is known by the key that was burnt into it: started again with
 * other firmware, it has another leaf and another ueid. Throws GPU_DEVICES_REFUSED.
 */
export function verifyDistinct(chains: readonly Pick<DeviceChain, 'deviceKeySha256' | 'ueid'>[]): void {
  const keys = chains.map(({ deviceKeySha256 }) => deviceKeySha256);
  if (new Set(keys).size < keys.length)
    refuse('GPU_DEVICES_REFUSED', 'every device once', chains.map(({ ueid }) => ueid).join(', '));
}

/** Throws GPU_DEVICES_REFUSED. */
export function verifyDevices(devices: readonly GpuDevice[], demand: GpuPolicy | null): string {
  const refused = (expected: string, seen: string): never => refuse('GPU_DEVICES_REFUSED', expected, seen);
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
