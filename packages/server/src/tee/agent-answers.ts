/** Reads the guest agent's answers: fields that we use, exactly; fields that we do not, not at all. */
import { parseEventLog } from '@abaton/verify';
import { errorOf } from '../errors.ts';
import type { AgentInfo, AgentQuote, TlsKey } from './agent-client.ts';

type Fields = Record<string, unknown>;

const KEY_BYTES = 32; // dstack GetKey
const REGISTER_BYTES = 48; // MRTD, RTMR: SHA-384 (Intel TDX DCAP Quoting Library API, TD report)
const APP_ID_BYTES = 20; // dstack: the first 20 bytes of a compose hash

export function parseInfo(answer: unknown): AgentInfo {
  const info = fields(answer, 'Info');
  const tcb = fields(jsonText(info, 'tcb_info'), 'Info.tcb_info');
  const provider = fields(jsonText(info, 'key_provider_info'), 'Info.key_provider_info');
  const register = (name: string) => hex(tcb, name, REGISTER_BYTES);
  return {
    appId: hex(info, 'app_id', APP_ID_BYTES),
    instanceId: hex(info, 'instance_id'),
    composeHash: hex(tcb, 'compose_hash', 32),
    appCompose: text(tcb, 'app_compose'),
    keyProvider: { name: text(provider, 'name'), id: text(provider, 'id') },
    measurements: {
      mrtd: register('mrtd'),
      rtmr0: register('rtmr0'),
      rtmr1: register('rtmr1'),
      rtmr2: register('rtmr2'),
      rtmr3: register('rtmr3'),
    },
  };
}

export const parseKey = (answer: unknown): Uint8Array =>
  Buffer.from(hex(fields(answer, 'GetKey'), 'key', KEY_BYTES), 'hex');

export function parseTlsKey(answer: unknown): TlsKey {
  const { key, certificate_chain: chain } = fields(answer, 'GetTlsKey');
  const isPem = (value: unknown, label: string) =>
    typeof value === 'string' && value.startsWith(`-----BEGIN ${label}-----`);
  if (
    !isPem(key, 'PRIVATE KEY') ||
    !Array.isArray(chain) ||
    !chain.length ||
    !chain.every((c) => isPem(c, 'CERTIFICATE'))
  )
    throw malformed('GetTlsKey: key or certificate_chain');
  return { keyPem: key as string, chainPem: chain };
}

/** What it is a quote of, our own proof finds out as any verifier would: a lie must be told from an outage. */
export function parseQuote(answer: unknown): AgentQuote {
  const given = fields(answer, 'GetQuote');
  const quote = Buffer.from(hex(given, 'quote'), 'hex');
  try {
    return { quote, eventLog: parseEventLog(withoutPreimages(jsonText(given, 'event_log'))) };
  } catch {
    throw malformed('event_log');
  }
}

/** 0.6 adds to each event of its second kind what was hashed. Verifiers recompute it from name and payload. */
function withoutPreimages(log: unknown): unknown {
  if (!Array.isArray(log)) return log;
  return log.map((event) => {
    if (!isFields(event)) return event;
    const { preimage: _, ...rest } = event;
    return rest;
  });
}

export function parseVersion(answer: unknown): { version: string; rev: string } {
  const version = fields(answer, 'Version');
  return { version: text(version, 'version'), rev: text(version, 'rev') };
}

/** The one bundle of NVIDIA's among `name`, as text. Null: none. Other vendors are not read. */
export function parseGpuBundle(answer: unknown, name: 'bundles' | 'boottime_gpu_evidence'): string | null {
  const bundles = fields(answer, 'GPU evidence')[name] ?? []; // protobuf leaves out what is empty
  if (!Array.isArray(bundles)) throw malformed(name);
  const [found, ...more] = bundles
    .map((bundle) => fields(bundle, name))
    .filter((bundle) => text(bundle, 'vendor') === 'nvidia' && text(bundle, 'format') === GPU_FORMATS[name]);
  if (more.length > 0) throw malformed(`${name}: NVIDIA twice`);
  return found ? utf8(Buffer.from(hex(found, 'evidence'), 'hex'), name) : null;
}

/** dstack `agent_rpc_v1.proto`, GpuEvidenceBundle.format */
const GPU_FORMATS = {
  bundles: 'nvidia-nvattest-collect-evidence-json-v1',
  boottime_gpu_evidence: 'nvidia-nvattest-boottime-json-v1',
} as const;

/** Empty without a GPU. */
export const parseGpuRecord = (answer: unknown): string | null =>
  text(fields(answer, 'GpuInfo'), 'attestation') || null;

const malformed = (what: string) => errorOf('AGENT_UNAVAILABLE', `The guest agent's answer is malformed: ${what}.`);

const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function fields(value: unknown, what: string): Fields {
  if (!isFields(value)) throw malformed(what);
  return value;
}

function utf8(bytes: Uint8Array, what: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw malformed(what);
  }
}

function text(from: Fields, name: string): string {
  const value = from[name];
  if (typeof value !== 'string') throw malformed(name);
  return value;
}

function hex(from: Fields, name: string, bytes?: number): string {
  const value = text(from, name);
  if (!/^(?:[0-9a-f]{2})*$/.test(value) || (bytes !== undefined && value.length !== 2 * bytes)) throw malformed(name);
  return value;
}

/** dstack puts documents inside its JSON as text. */
function jsonText(from: Fields, name: string): unknown {
  try {
    return JSON.parse(text(from, name));
  } catch {
    throw malformed(name);
  }
}
