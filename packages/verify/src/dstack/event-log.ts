/**
 * dstack's event log: what was measured into RTMR0-3. Events of RTMR0-2 carry digests alone; events of RTMR3 carry
 * payloads, from which the digests are recomputed, so that no payload can be exchanged under a genuine digest.
 *
 *   RTMR := SHA-384(RTMR ‖ digest), from 48 zero bytes
 *   digest, version 1: SHA-384(LE32(0x08000001) ‖ ":" ‖ event ‖ ":" ‖ payload)
 *   digest, version 2: SHA-384(JCS({ name, payload as hex, type }))
 */
import { sha384 } from '@noble/hashes/sha2.js';
import { reading, refuse } from '../errors.ts';
import type { TdxEvent } from '../evidence.ts';
import { bytesToHex, concatBytes, decodeUtf8, equalBytes, hexToBytes, utf8ToBytes } from '../formats/bytes.ts';
import { canonicalize } from '../formats/jcs.ts';
import { hex, object, parseJson, text } from '../formats/schema.ts';
import type { TdReport } from '../tdx/tdx-quote.ts';
import type { AppIdentity } from './mr-config.ts';

/** dstack's type of runtime events (cc-eventlog, DSTACK_RUNTIME_EVENT_TYPE). */
const RUNTIME_EVENT_TYPE = 0x08000001;
const RTMR3 = 3;

/** Events that say who the application is. dstack emits each of them once, before `system-ready`. */
const REQUIRED_ONCE = ['app-id', 'compose-hash', 'instance-id', 'key-provider'];
/**
 * `os-image-hash` is emitted where a KMS hands out keys: a claim of the KMS, never used, for the OS is identified by MRTD
 * and RTMR0-2. The others where the guest has GPUs (since dstack 0.6).
 */
const AT_MOST_ONCE = ['os-image-hash', 'gpu-policy-hash', 'gpu-attestation'];
/** What follows is the application's own, and says nothing about who it is. */
const END_OF_BOOT = 'system-ready';

/** dstack strips logs to the runtime events and these three of RTMR0 (cc-eventlog, strip_tdx_lite_event_log): "ACPI DATA". */
const ACPI_DATA = '414350492044415441';

/** What the guest measured before it started the application. */
export interface MeasuredApp extends AppIdentity {
  /** Payload of `gpu-attestation`, as text; null where the guest has measured no GPU. */
  gpuAttestation: string | null;
  /** Payload of `gpu-policy-hash`, hex. */
  gpuPolicyHash: string | null;
}

/**
 * Throws EVENT_LOG_MISMATCH. RTMR0-2 are replayed when the log has their events; they identify the OS by their values,
 * not by their log (measurements.ts).
 */
export function verifyEventLog(events: readonly TdxEvent[], report: TdReport): MeasuredApp {
  const stripped = events.every(({ imr, event_payload }) => imr === RTMR3 || event_payload === ACPI_DATA);
  for (const [index, field] of (['rtmr0', 'rtmr1', 'rtmr2', 'rtmr3'] as const).entries()) {
    if (stripped && index !== RTMR3) continue;
    const replayed = replayRtmr(events, index);
    if (!equalBytes(replayed, report[field]))
      refuse('EVENT_LOG_MISMATCH', `RTMR${index} ${bytesToHex(report[field])}`, `${bytesToHex(replayed)} by replay`);
  }
  return identityOf(events.filter(({ imr }) => imr === RTMR3));
}

function replayRtmr(events: readonly TdxEvent[], index: number): Uint8Array {
  let register: Uint8Array = new Uint8Array(48);
  for (const event of events) if (event.imr === index) register = sha384(concatBytes(register, digestOf(event)));
  return register;
}

function digestOf(event: TdxEvent): Uint8Array {
  if (event.imr !== RTMR3) return hexToBytes(event.digest);
  const { event: name, event_payload: payload } = event;
  if (event.version === 2) return sha384(utf8ToBytes(canonicalize({ name, payload, type: RUNTIME_EVENT_TYPE })));
  return sha384(concatBytes(Uint8Array.of(1, 0, 0, 8), utf8ToBytes(`:${name}:`), hexToBytes(payload)));
}

function identityOf(runtime: readonly TdxEvent[]): MeasuredApp {
  for (const each of runtime) {
    const { event, event_type, digest } = each;
    if (event_type !== RUNTIME_EVENT_TYPE)
      refuse('EVENT_LOG_MISMATCH', 'runtime events in RTMR3', `type ${event_type}`);
    if (digest !== '' && digest !== bytesToHex(digestOf(each)))
      refuse('EVENT_LOG_MISMATCH', `event ${event} with the digest of its payload`, 'another digest');
  }
  const end = runtime.findIndex(({ event }) => event === END_OF_BOOT);
  if (end < 0) refuse('EVENT_LOG_MISMATCH', `event ${END_OF_BOOT}`, 'none');
  const boot = runtime.slice(0, end);
  // The preimage "compose-hash:…" could otherwise be cut at a later colon into another name and payload. Code that runs
  // before system-ready could hide its own compose-hash event so, and measure that of the code it wants to pass for.
  for (const { event } of boot)
    if (event.includes(':')) refuse('EVENT_LOG_MISMATCH', 'event names without a colon', event);
  const payloads = new Map(
    [...REQUIRED_ONCE, ...AT_MOST_ONCE].map((name) => [name, payloadOf(boot, name, REQUIRED_ONCE.includes(name))]),
  );
  const textOf = (name: string): string => decodeUtf8(hexToBytes(payloads.get(name) ?? ''));
  return reading('EVENT_LOG_MISMATCH', 'payload of an identity event', () => ({
    composeHash: hex(32)(payloads.get('compose-hash'), 'compose-hash'),
    appId: hex(20)(payloads.get('app-id'), 'app-id'),
    keyProvider: keyProvider(parseJson(textOf('key-provider')), 'key-provider'),
    gpuAttestation: payloads.get('gpu-attestation') == null ? null : textOf('gpu-attestation'),
    gpuPolicyHash: payloads.get('gpu-policy-hash') ?? null,
  }));
}

const keyProvider = object({ name: text(20), id: text(1024) });

/** Hex; null when it may be absent and is. */
function payloadOf(boot: readonly TdxEvent[], name: string, required: boolean): string | null {
  const [first, ...more] = boot.filter(({ event }) => event === name);
  if (more.length > 0 || (required && !first))
    refuse('EVENT_LOG_MISMATCH', `event ${name} once before ${END_OF_BOOT}`, `${first ? more.length + 1 : 0} times`);
  return first?.event_payload ?? null;
}
