/**
 * dstack's VersionedAttestation (dstack-attest, attestation.rs and v1.rs): what it puts into certificates, and answers to
 * `Attest`. Version 0 is SCALE and opens with a zero byte; version 1 is a MessagePack map, which never does.
 */
import { reading } from '../errors.ts';
import { parseEventLog, type TdxEvent } from '../evidence.ts';
import { bytesToHex, malformed } from '../formats/bytes.ts';
import { parseMsgpack } from '../formats/msgpack.ts';
import { ScaleReader } from '../formats/scale.ts';

export type VersionedAttestation =
  | { teeType: 'intel-tdx'; quote: Uint8Array; eventLog: TdxEvent[] }
  | {
      teeType: 'amd-sev-snp';
      report: Uint8Array /** DER; often empty. */;
      certificates: Uint8Array[];
      mrConfig: string;
    };

const SCALE_V0 = 0; // first byte
// Variants of AttestationQuote in version 0; the others are TPMs and Nitro.
const KIND_TDX = 0;
const KIND_SEV_SNP = 3;

/** Throws EVIDENCE_MALFORMED. What repeats the signed report (report data, runtime events) or is a claim of the host is skipped. */
export const parseVersionedAttestation = (bytes: Uint8Array): VersionedAttestation =>
  reading('EVIDENCE_MALFORMED', 'VersionedAttestation', () =>
    bytes[0] === SCALE_V0 ? parseScale(new ScaleReader(bytes)) : parseMap(parseMsgpack(bytes)),
  );

function parseScale(reader: ScaleReader): VersionedAttestation {
  reader.uint(1);
  const attestation = parseScaleQuote(reader);
  reader.vector(() => [reader.string(), reader.bytes()]); // runtime events again
  reader.take(64); // report_data: the quote's own counts
  reader.string(); // VM configuration: a claim of the host
  reader.end();
  return attestation;
}

function parseScaleQuote(reader: ScaleReader): VersionedAttestation {
  const kind = reader.uint(1);
  if (kind === KIND_SEV_SNP) {
    const report = reader.bytes();
    const certificates = reader.vector(() => reader.bytes());
    return { teeType: 'amd-sev-snp', report, certificates, mrConfig: reader.string() };
  }
  if (kind !== KIND_TDX) malformed(`attestation is of kind ${kind}, neither TDX nor SEV-SNP`);
  const quote = reader.bytes();
  const eventLog = reader.vector(() => ({
    imr: reader.uint(4),
    event_type: reader.uint(4),
    digest: bytesToHex(reader.bytes()),
    event: reader.string(),
    event_payload: bytesToHex(reader.bytes()),
  }));
  return { teeType: 'intel-tdx', quote, eventLog: parseEventLog(eventLog) };
}

/** Named fields throughout, as rmp-serde writes them with `to_vec_named`. */
function parseMap(value: unknown): VersionedAttestation {
  const attestation = new Fields(value, 'attestation');
  if (attestation.value('version') !== 1) malformed('attestation is not version 0 or 1');
  const platform = new Fields(attestation.value('platform'), 'platform');
  const data = new Fields(platform.value('data'), 'platform.data');
  const kind = platform.value('kind');
  if (kind === 'sev-snp')
    return {
      teeType: 'amd-sev-snp',
      report: data.bytes('report'),
      certificates: data.list('cert_chain', asBytes),
      mrConfig: data.text('mr_config'),
    };
  if (kind !== 'tdx') malformed('attestation is neither of TDX nor of SEV-SNP');
  const events = data.list('event_log', (item, path) => {
    const event = new Fields(item, path);
    return {
      imr: event.value('imr'),
      event_type: event.value('event_type'),
      digest: event.hex('digest'),
      event: event.text('event'),
      event_payload: event.hex('event_payload'),
      ...(event.has('version') && { version: event.value('version') }),
    };
  });
  return { teeType: 'intel-tdx', quote: data.bytes('quote'), eventLog: parseEventLog(events) };
}

/** serde writes `Vec<u8>` as an array of numbers, and as binary where the field asks for it. Both say the same. */
function asBytes(value: unknown, path: string): Uint8Array {
  if (value instanceof Uint8Array) return value;
  if (Array.isArray(value) && value.every((each) => Number.isInteger(each) && each <= 0xff))
    return Uint8Array.from(value as number[]);
  return malformed(`${path} must be bytes`);
}

class Fields {
  readonly #map: Map<unknown, unknown>;
  readonly #path: string;

  constructor(value: unknown, path: string) {
    this.#map = value instanceof Map ? value : malformed(`${path} must be a map`);
    this.#path = path;
  }

  has(name: string): boolean {
    return this.#map.has(name);
  }

  value(name: string): unknown {
    return this.has(name) ? this.#map.get(name) : malformed(`${this.#path} has no ${name}`);
  }

  bytes(name: string): Uint8Array {
    return asBytes(this.value(name), `${this.#path}.${name}`);
  }

  /** Bytes, or text that is hex already: dstack's events are written either way. */
  hex(name: string): string {
    const value = this.value(name);
    return typeof value === 'string' ? value : bytesToHex(this.bytes(name));
  }

  text(name: string): string {
    const value = this.value(name);
    return typeof value === 'string' ? value : malformed(`${this.#path}.${name} must be text`);
  }

  list<T>(name: string, item: (value: unknown, path: string) => T): T[] {
    const value = this.value(name);
    if (!Array.isArray(value)) return malformed(`${this.#path}.${name} must be a list`);
    return value.map((each, index) => item(each, `${this.#path}.${name}[${index}]`));
  }
}
