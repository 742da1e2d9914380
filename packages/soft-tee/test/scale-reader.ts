/** Reader of VersionedAttestation V0, written from dstack's type definitions; proven on dstack's own file by its test. */
import type { TdxEvent } from '../src/event-log.ts';

export interface DecodedAttestation {
  quote: Buffer;
  eventLog: TdxEvent[];
  runtimeEvents: { event: string; payload: string }[];
  /** hex */
  reportData: string;
  config: string;
  /** Bytes that follow. */
  rest: number;
}

export function decodeAttestation(bytes: Buffer): DecodedAttestation {
  let at = 0;
  const take = (length: number) => {
    if (at + length > bytes.length) throw new RangeError(`ends at ${bytes.length}`);
    at += length;
    return bytes.subarray(at - length, at);
  };
  const u32 = () => take(4).readUInt32LE(0);
  const compact = (): number => {
    const mode = bytes[at]! & 3;
    if (mode === 0) return take(1)[0]! >> 2;
    if (mode === 1) return take(2).readUInt16LE(0) >> 2;
    if (mode === 2) return u32() >>> 2;
    throw new RangeError('big integer mode');
  };
  const octets = () => take(compact());
  const list = <T>(read: () => T): T[] => Array.from({ length: compact() }, read);
  if (take(2).readUInt16LE(0) !== 0) throw new TypeError('not V0 of a DstackTdx');
  return {
    quote: octets(),
    eventLog: list(() => ({
      imr: u32(),
      event_type: u32(),
      digest: octets().toString('hex'),
      event: octets().toString(),
      event_payload: octets().toString('hex'),
    })),
    runtimeEvents: list(() => ({ event: octets().toString(), payload: octets().toString('hex') })),
    reportData: take(64).toString('hex'),
    config: octets().toString(),
    rest: bytes.length - at,
  };
}
