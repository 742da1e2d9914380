/** What the simulated TD measures, and the log of it (dstack cc-eventlog; Intel TDX Module specification, RTMR). */
import { createHash } from 'node:crypto';
import { SIMULATED } from './pki.ts';

/** As dstack's guest agent lists it. */
export interface TdxEvent {
  imr: number;
  event_type: number;
  /** 48 bytes, hex */
  digest: string;
  event: string;
  /** hex; empty for RTMR0-2, where dstack strips it */
  event_payload: string;
}

/** DSTACK_RUNTIME_EVENT_TYPE in dstack. */
export const RUNTIME_EVENT = 0x08000001;

export const hash = (
  algorithm: 'sha256' | 'sha384' | 'sha512',
  ...parts: (Uint8Array | string)[]
): Buffer<ArrayBuffer> => {
  const state = createHash(algorithm);
  for (const part of parts) state.update(part);
  return state.digest();
};

/** A stand-in for something measured: no firmware or kernel has this digest. */
export const measurementOf = (what: string): Buffer => hash('sha384', `${SIMULATED}: ${what}`);

/** [register, event type (TCG PC Client Platform Firmware Profile 10.4.1), what], in the order of a real boot. */
const BOOT_EVENTS: [imr: number, eventType: number, what: string][] = [
  [0, 0x8000000b, 'TD handoff block'],
  [0, 0x8000000a, 'configuration firmware volume'],
  [0, 0x80000001, 'SecureBoot'],
  [0, 0x80000001, 'PK'],
  [0, 0x80000001, 'KEK'],
  [0, 0x80000001, 'db'],
  [0, 0x80000001, 'dbx'],
  [0, 4, 'separator'],
  [0, 10, 'ACPI tables of 2 vCPU and 2 GiB'],
  [1, 0x80000003, 'kernel'],
  [1, 0x80000007, 'Calling EFI Application from Boot Option'],
  [1, 4, 'separator'],
  [2, 6, 'kernel command line'],
  [2, 6, 'initrd'],
  [1, 0x80000007, 'Exit Boot Services Invocation'],
  [1, 0x80000007, 'Exit Boot Services Returned with Success'],
];

export const bootEvents = (kernelCommandLine: string): TdxEvent[] =>
  BOOT_EVENTS.map(([imr, eventType, what]) => ({
    imr,
    event_type: eventType,
    digest: measurementOf(what === 'kernel command line' ? `${what} ${kernelCommandLine}` : what).toString('hex'),
    event: '',
    event_payload: '',
  }));

/** RTMR3 events with V1 digests: SHA384(LE32(type) ‖ ":" ‖ event ‖ ":" ‖ payload). */
export const runtimeEvents = (events: [event: string, payload: Buffer][]): TdxEvent[] =>
  events.map(([event, payload]) => {
    const type = Buffer.alloc(4);
    type.writeUInt32LE(RUNTIME_EVENT);
    return {
      imr: 3,
      event_type: RUNTIME_EVENT,
      digest: hash('sha384', type, ':', event, ':', payload).toString('hex'),
      event,
      event_payload: payload.toString('hex'),
    };
  });

/** The four registers that the hardware ends up with: RTMR = SHA384(RTMR ‖ digest), from zero. */
export function extendRtmrs(events: TdxEvent[]): Buffer[] {
  const rtmrs = [0, 1, 2, 3].map(() => Buffer.alloc(48));
  for (const { imr, digest } of events) rtmrs[imr] = hash('sha384', rtmrs[imr]!, Buffer.from(digest, 'hex'));
  return rtmrs;
}
