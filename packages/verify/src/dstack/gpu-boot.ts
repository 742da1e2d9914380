/**
 * What dstack measured of the GPUs when the guest booted (dstack-util, system_setup.rs): it asks NVML whether each GPU is
 * in confidential mode, which no GPU report says, and extends RTMR3 with the answer before it fetches any key.
 */
import { reading, refuse } from '../errors.ts';
import { malformed } from '../formats/bytes.ts';
import { boolean, hex, integer, object, oneOf, optional, parseJson, text } from '../formats/schema.ts';
import type { MeasuredApp } from './event-log.ts';

const event = object(
  {
    version: integer(1, 1000),
    provider: oneOf('nvidia'),
    devices: integer(0, 64),
    cc_mode: text(20),
    devtools: boolean,
    // Stated from version 3 on; before it, dstack did not go on booting unless they were as demanded here.
    dbgstat: optional(text(20), 'disabled'),
    secboot: optional(boolean, true),
    evidence_sha256: hex(32),
  },
  { open: true },
);
const STATES_DEBUG_AND_BOOT = 3;

/** Throws GPU_BOOT_REFUSED unless `gpuCount` GPUs were measured, all in confidential mode and none open to a debugger. */
export function verifyGpuBoot({ gpuAttestation, gpuPolicyHash }: MeasuredApp, gpuCount: number): string {
  if (gpuAttestation === null || gpuPolicyHash === null)
    return refuse('GPU_BOOT_REFUSED', 'events gpu-policy-hash and gpu-attestation before system-ready', 'none');
  const seen = reading('GPU_BOOT_REFUSED', 'event gpu-attestation', () => {
    const json = parseJson(gpuAttestation);
    const parsed = event(json, 'gpu-attestation');
    for (const name of ['dbgstat', 'secboot'])
      if (parsed.version >= STATES_DEBUG_AND_BOOT && !Object.hasOwn(json as object, name))
        malformed(`gpu-attestation.${name} is absent`);
    return parsed;
  });
  const { devices, cc_mode, devtools, dbgstat, secboot } = seen;
  const text = `${devices} devices, cc_mode ${cc_mode}, devtools ${devtools}, dbgstat ${dbgstat}, secboot ${secboot}`;
  const expected = `${gpuCount} devices, cc_mode on, devtools false, dbgstat disabled, secboot true`;
  return text === expected ? text : refuse('GPU_BOOT_REFUSED', expected, text);
}
