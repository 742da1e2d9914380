/**
 * dstack's event log: what was measured into RTMR0-3. Events of RTMR0-2 carry digests alone; events of RTMR3 carry
 * payloads, from which the digests are recomputed, so that no payload can be exchanged under a genuine digest.
 *
 *   RTMR := SHA-384(RTMR ‖ digest), from 48 zero bytes
 *   digest, version 1: SHA-384(LE32(0x08000001) ‖ ":" ‖ event ‖ ":" ‖ payload)
 *   digest, version 2: SHA-384(JCS({ name, payload as hex, type }))
 */
import { sha384 } from '@noble/hashes/sha2.js';
import { refuse } from '../errors.ts';
import type { TdxEvent } from '../evidence.ts';
import { bytesToHex, concatBytes, equalBytes, hexToBytes, utf8ToBytes } from '../formats/bytes.ts';
import { canonicalize } from '../formats/jcs.ts';
import type { TdReport } from '../tdx/tdx-quote.ts';

/** dstack's type of runtime events (cc-eventlog, DSTACK_RUNTIME_EVENT_TYPE). */
const RUNTIME_EVENT_TYPE = 0x08000001;
const RTMR3 = 3;

/** Events that say who the application is. dstack emits each of them once, before `system-ready`. */
const REQUIRED_ONCE = ['app-id', 'compose-hash', 'instance-id', 'key-provider', 'system-ready'];
/** Emitted only where a KMS hands out keys. A claim of the KMS, never used: the OS is identified by MRTD and RTMR0-2. */
const AT_MOST_ONCE = ['os-image-hash'];

export interface AppIdentity {
  /** Hex, as measured by the guest before it started the application. */
  composeHash: string;
}

/** Throws EVENT_LOG_MISMATCH. */
export function verifyEventLog(events: readonly TdxEvent[], report: TdReport): AppIdentity {
  for (const [index, field] of (['rtmr0', 'rtmr1', 'rtmr2', 'rtmr3'] as const).entries()) {
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

function identityOf(events: readonly TdxEvent[]): AppIdentity {
  for (const each of events) {
    const { event, event_type, digest } = each;
    if (event_type !== RUNTIME_EVENT_TYPE)
      refuse('EVENT_LOG_MISMATCH', 'runtime events in RTMR3', `type ${event_type}`);
    if (digest !== '' && digest !== bytesToHex(digestOf(each)))
      refuse('EVENT_LOG_MISMATCH', `event ${event} with the digest of its payload`, 'another digest');
    // The preimage "compose-hash:…" could otherwise be cut at a later colon into another name and payload. Code that runs
    // before system-ready could hide its own compose-hash event so, and measure that of the code it wants to pass for.
    if (event.includes(':')) refuse('EVENT_LOG_MISMATCH', 'event names without a colon', event);
  }
  const names = events.map(({ event }) => event);
  for (const name of [...REQUIRED_ONCE, ...AT_MOST_ONCE]) {
    const count = names.filter((each) => each === name).length;
    if (count > 1 || (count === 0 && REQUIRED_ONCE.includes(name)))
      refuse('EVENT_LOG_MISMATCH', `event ${name} once`, `${count} times`);
    if (names.indexOf(name) > names.indexOf('system-ready'))
      refuse('EVENT_LOG_MISMATCH', `event ${name} before system-ready`, 'after it');
  }
  return { composeHash: events.find(({ event }) => event === 'compose-hash')!.event_payload };
}
