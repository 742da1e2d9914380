/** dstack's VersionedAttestation V0 (SCALE codec): what Attest returns and what RA-TLS certificates carry. */
import { RUNTIME_EVENT, type TdxEvent } from './event-log.ts';

const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};

/** SCALE compact integer, modes 0 to 2: below 2^30. */
function compact(value: number): Buffer {
  if (value < 1 << 6) return Buffer.from([value << 2]);
  if (value < 1 << 14) return u32((value << 2) | 1).subarray(0, 2);
  if (value >= 2 ** 30) throw new RangeError(`SCALE length of ${value}`);
  return u32(value * 4 + 2);
}

const bytes = (value: Buffer): Buffer => Buffer.concat([compact(value.length), value]);
const text = (value: string): Buffer => bytes(Buffer.from(value));
const vector = <T>(items: T[], encode: (item: T) => Buffer): Buffer =>
  Buffer.concat([compact(items.length), ...items.map(encode)]);

/**
 * `{ V0, DstackTdx { quote, event_log }, runtime_events, report_data, config }`. `stripped`, for certificates: only
 * RTMR3 events, and those without digest, since whoever reads them must recompute it.
 */
export function encodeAttestation(
  quote: Buffer,
  eventLog: TdxEvent[],
  reportData: Buffer,
  config: string,
  stripped: boolean,
): Buffer {
  const runtime = eventLog.filter((event) => event.event_type === RUNTIME_EVENT);
  return Buffer.concat([
    Buffer.from([0, 0]), // V0, DstackTdx
    bytes(quote),
    vector(stripped ? runtime : eventLog, (event) =>
      Buffer.concat([
        u32(event.imr),
        u32(event.event_type),
        bytes(Buffer.from(stripped ? '' : event.digest, 'hex')),
        text(event.event),
        bytes(Buffer.from(event.event_payload, 'hex')),
      ]),
    ),
    vector(runtime, (event) => Buffer.concat([text(event.event), bytes(Buffer.from(event.event_payload, 'hex'))])),
    reportData,
    text(config),
  ]);
}
